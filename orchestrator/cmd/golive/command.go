package main

import (
	"io"
	"os"
	"os/user"
	"regexp"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/orchestrator/report"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay"
)

// options are the flags that every command has.
type options struct {
	nats    string
	creds   string
	context string // of the nats command line
	domain  string // of JetStream
	inbox   string // prefix of inboxes
	env     string // of the manifest
	output  string
	paint   string
	verbose bool

	given map[string]bool // flags about the bus that were given
}

// command is one run of the command line: what all commands need. Each command is handed it.
type command struct {
	terminal.Streams
	options
	keys *terminal.Keyboard // nil: nobody is there to be asked

	reports  string            // folder that reports are written into; empty: as the manifest says
	manifest *release.Manifest // that was deployed; nil: none was
}

// print writes an answer in the form that was asked for; table writes it as text.
func (c *command) print(answer any, table func(io.Writer)) error {
	return terminal.Print(c.Out, c.output, answer, table)
}

// talk is what is said on the terminal of the command. Where lines for programs are printed,
// nothing is drawn: they may come to the same terminal, through a pipe.
func (c *command) talk() *terminal.Talk { return c.Talk(c.output != "jsonl") }

// narrator tells rollouts on the terminal of the command.
func (c *command) narrator() *narrator { return &narrator{Talk: c.talk(), story: report.NewStory()} }

// follower follows a rollout, and tells how an approval can be answered.
func (c *command) follower(r *relay.Relay) *follower {
	f := &follower{nc: r.Conn(), story: c.narrator(), lines: c.lines()}
	f.story.commands(true)
	return f
}

// lines prints what happens while a command follows a rollout, if that was asked for.
func (c *command) lines() func(any) error {
	if c.output != "jsonl" {
		return nil
	}
	return func(line any) error { return c.print(line, nil) }
}

// prompter is nil where nobody can be asked.
func (c *command) prompter() *terminal.Prompter {
	if c.keys == nil {
		return nil
	}
	return c.Prompter(c.keys)
}

// here is a text whose commands mean the same environment as this one, if a flag names it.
func (c *command) here(text string) string {
	for _, flag := range []struct{ name, value string }{{"env", c.env}, {"context", c.context}} {
		if c.given[flag.name] {
			text = pastable.ReplaceAllString(text, "${0} --"+flag.name+" "+flag.value)
		}
	}
	return text
}

// pastable are commands that hints tell.
var pastable = regexp.MustCompile(`\bgolive (up|serve|deploy|plan|watch|approve|reject|retry|abort|pause|resume|pace|backward|status|history|show|report|routes|ledger|snapshot (?:take|list|show|check|drop))\b`)

// reasonUsage describes the flag that all commands have which change something.
const reasonUsage = "why, for the journal"

// about is a request of the person at this terminal about a rollout.
func about(id, reason string) api.RolloutRequest {
	return api.RolloutRequest{Rollout: id, By: me(), Reason: reason}
}

// me is who is recorded to have asked for something.
func me() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		return name + "@" + host
	}
	return name
}

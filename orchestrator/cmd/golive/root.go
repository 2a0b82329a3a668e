package main

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay"
)

// Version is golive's own; a release build sets it with -ldflags "-X main.Version=…".
var Version = "0.1.0-dev"

// run executes args and gives the exit code.
func run(ctx context.Context, s terminal.Streams, args []string) int {
	c := &command{Streams: s}
	if s.In != nil {
		c.keys = terminal.NewKeyboard(s.In)
	}
	root := rootCommand(c)
	root.SetArgs(args)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	f := explain(err)
	if !f.told {
		if c.output == "" || c.output == "table" {
			c.output = outputIn(args) // what comes before it may be what cannot be understood
		}
		c.report(f)
	}
	return f.exit
}

// outputIn is the output that args ask for, table if none or one that there is not.
func outputIn(args []string) string {
	for i, arg := range args {
		for _, flag := range []string{"--output", "-o"} {
			value, found := strings.CutPrefix(arg, flag)
			if found && value == "" && i+1 < len(args) {
				value = args[i+1]
			}
			if value = strings.TrimPrefix(value, "="); found && isOutput(value) {
				return value
			}
		}
	}
	return "table"
}

// isOutput reports whether there is such a way to answer.
func isOutput(name string) bool {
	return name == "table" || name == "json" || name == "yaml" || name == "jsonl"
}

// rootCommand is golive with all its commands.
func rootCommand(c *command) *cobra.Command {
	root := &cobra.Command{
		Use:   "golive",
		Short: "Brings a new version of a message-driven app live, together with work on its data",
		Long: `golive brings a new version of a message-driven app live: it announces the
version, runs what has to run before it may get traffic, opens the traffic
gate, runs what is left while it serves, and remembers what has run.`,
		Example: `  golive up examples/todo       run an app on this machine
  golive deploy                 roll the release in this folder out
  golive status                 what is online`,
		SilenceErrors: true, SilenceUsage: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return checkFlags(c, cmd) },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return misused(cmd, parsing.ReplaceAllString(err.Error(), ""))
	})
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages", ".FlagUsagesWrapped 80"))
	flags := root.PersistentFlags()
	flags.StringVar(&c.nats, "nats", "", "URL of the bus (environment: GOLIVE_NATS_URL)")
	flags.StringVar(&c.creds, "creds", "", "NATS credentials file (environment: GOLIVE_NATS_CREDS)")
	flags.StringVar(&c.context, "context", "", "context of the nats command line, or its file, in place of --nats and --creds (environment: GOLIVE_NATS_CONTEXT)")
	flags.StringVar(&c.domain, "js-domain", "", "JetStream domain of the environment, where the bus has several (environment: GOLIVE_JS_DOMAIN)")
	flags.StringVar(&c.inbox, "inbox-prefix", "", "prefix of inboxes, where each user may hear its own alone (environment: GOLIVE_INBOX_PREFIX)")
	flags.StringVar(&c.env, "env", "", "environment of the manifest: where its bus is, and what is different there (environment: GOLIVE_ENV)")
	flags.StringVarP(&c.output, "output", "o", "table", "how to answer: table, json, yaml or jsonl")
	flags.StringVar(&c.paint, "color", "auto", "auto, always or never")
	flags.BoolVarP(&c.verbose, "verbose", "v", false, "log what the orchestrator and the relay do")
	root.AddCommand(upCommand(c), serveCommand(c), deployCommand(c), planCommand(c), rehearseCommand(c), testCommand(c), watchCommand(c), statusCommand(c), historyCommand(c),
		showCommand(c), reportCommand(c), routesCommand(c), ledgerCommand(c), approveCommand(c), rejectCommand(c), retryCommand(c),
		abortCommand(c), pauseCommand(c), resumeCommand(c), paceCommand(c), backwardCommand(c), restoreCommand(c), agentCommand(c),
		snapshotCommand(c), busCommand(c), configCommand(c), versionCommand(c))
	return root
}

// parsing is what package strconv says of itself when a flag is no number.
var parsing = regexp.MustCompile(`strconv\.\w+: parsing ".*": `)

// checkFlags looks at the flags that every command has.
func checkFlags(c *command, cmd *cobra.Command) error {
	if !isOutput(c.output) {
		given := c.output
		c.output = "table"
		return misused(cmd, fmt.Sprintf("unknown output %q: valid are table, json, yaml, jsonl", given))
	}
	switch c.paint {
	case "auto":
	case "always":
		c.Color = true
	case "never":
		c.Color = false
	default:
		return misused(cmd, fmt.Sprintf("unknown color %q: valid are auto, always, never", c.paint))
	}
	c.given = make(map[string]bool)
	for _, flag := range []string{"nats", "creds", "context", "env", "js-domain", "inbox-prefix"} {
		c.given[flag] = cmd.Flags().Changed(flag)
	}
	if c.nats == "" && c.context == "" {
		c.nats = c.Getenv("GOLIVE_NATS_URL")
	}
	if c.creds == "" {
		c.creds = c.Getenv("GOLIVE_NATS_CREDS")
	}
	if c.context == "" && c.nats == "" {
		c.context = c.Getenv("GOLIVE_NATS_CONTEXT")
	}
	if c.domain == "" {
		c.domain = c.Getenv("GOLIVE_JS_DOMAIN")
	}
	if c.inbox == "" {
		c.inbox = c.Getenv(relay.EnvInbox)
	}
	if err := relay.CheckInbox(c.inbox); c.inbox != "" && err != nil {
		return misused(cmd, "--inbox-prefix: "+err.Error())
	}
	if c.env == "" {
		c.env = c.Getenv("GOLIVE_ENV")
	}
	if strings.ContainsRune(c.context, filepath.Separator) { // a file; else the name of one of the user's
		c.context = c.absolute(c.context)
	}
	if c.context != "" && c.nats != "" {
		return misused(cmd, "--context and --nats exclude each other: both say where the bus is")
	}
	if err := relay.CheckURL(c.nats); err != nil && c.given["nats"] { // from elsewhere, it is refused when it is needed
		return misused(cmd, "--nats: "+err.Error())
	}
	return nil
}

// arguments takes up to most arguments, at least least.
func arguments(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return misused(cmd, cmd.CommandPath()+" needs "+what)
		case len(args) > most:
			return misused(cmd, fmt.Sprintf("%s takes %s, not %d arguments", cmd.CommandPath(), what, len(args)))
		}
		return nil
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"os/user"
	"regexp"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/orchestrator/report"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay/embedded"
	"github.com/golive-dev/golive/relay/protocol"
)

// Version is golive's own; a release build sets it with -ldflags "-X main.Version=…".
var Version = "0.1.0-dev"

// Exit codes, as README.md defines them.
const (
	exitDone    = 0
	exitFailed  = 1 // failed or aborted
	exitMisused = 2
	exitPending = 3 // changes are pending
	exitGaveUp  = 4 // gave up waiting, the rollout goes on
	exitPerson  = 5 // a person has to approve, and nobody is there to be asked
)

// Codes of errors that the command line itself gives; those of the API stand in
// package orchestrator.
const (
	codeMisused  = "misused"
	codeFailed   = report.CodeFailed
	codeManifest = "manifest"
	codeNoBus    = report.CodeNoBus
	codeGaveUp   = report.CodeGaveUp
	codePerson   = "waits_for_person"
)

// failure is an error as a person sees it.
type failure struct {
	code    string
	message string
	hint    string
	exit    int
	told    bool // it has been reported already
}

func (f *failure) Error() string { return f.message }

// told is a failure that is not to be reported a second time.
func told(err error) error {
	if err == nil {
		return nil
	}
	f := *explain(err)
	f.told = true
	return &f
}

// options are the flags that every command has.
type options struct {
	nats    string
	creds   string
	context string // of the nats command line
	env     string // of the manifest
	output  string
	paint   string
	verbose bool

	given map[string]bool // flags about the bus that were given
}

// command is one run of the command line.
type command struct {
	terminal.Streams
	options
	keys *terminal.Keyboard // nil: nobody is there to be asked
}

// run executes args and gives the exit code.
func run(ctx context.Context, s terminal.Streams, args []string) int {
	c := &command{Streams: s}
	if s.In != nil {
		c.keys = terminal.NewKeyboard(s.In)
	}
	root := c.root()
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

func (c *command) root() *cobra.Command {
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
		PersistentPreRunE: c.check,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return misused(cmd, parsing.ReplaceAllString(err.Error(), ""))
	})
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages", ".FlagUsagesWrapped 80"))
	flags := root.PersistentFlags()
	flags.StringVar(&c.nats, "nats", "", "URL of the bus (environment: GOLIVE_NATS_URL)")
	flags.StringVar(&c.creds, "creds", "", "NATS credentials file (environment: GOLIVE_NATS_CREDS)")
	flags.StringVar(&c.context, "context", "", "context of the nats command line, in place of --nats and --creds (environment: GOLIVE_NATS_CONTEXT)")
	flags.StringVar(&c.env, "env", "", "environment of the manifest: where its bus is, and what is different there (environment: GOLIVE_ENV)")
	flags.StringVarP(&c.output, "output", "o", "table", "how to answer: table, json, yaml or jsonl")
	flags.StringVar(&c.paint, "color", "auto", "auto, always or never")
	flags.BoolVarP(&c.verbose, "verbose", "v", false, "log what the orchestrator and the relay do")
	root.AddCommand(c.upCommand(), c.serveCommand(), c.deployCommand(), c.planCommand(), c.watchCommand(), c.statusCommand(), c.historyCommand(),
		c.showCommand(), c.routesCommand(), c.ledgerCommand(), c.approveCommand(), c.rejectCommand(), c.retryCommand(),
		c.abortCommand(), c.pauseCommand(), c.resumeCommand(), c.paceCommand(), c.backwardCommand(), c.agentCommand(),
		c.configCommand(), c.versionCommand())
	return root
}

// parsing is what package strconv says of itself when a flag is no number.
var parsing = regexp.MustCompile(`strconv\.\w+: parsing ".*": `)

// check looks at the flags that every command has.
func (c *command) check(cmd *cobra.Command, _ []string) error {
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
	for _, flag := range []string{"nats", "creds", "context", "env"} {
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
	if c.env == "" {
		c.env = c.Getenv("GOLIVE_ENV")
	}
	if c.context != "" && c.nats != "" {
		return misused(cmd, "--context and --nats exclude each other: both say where the bus is")
	}
	return nil
}

func misused(cmd *cobra.Command, message string) error {
	return &failure{code: codeMisused, message: message, hint: "see " + cmd.CommandPath() + " --help", exit: exitMisused}
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

// explain makes what a person sees of an error.
func explain(err error) *failure {
	f := &failure{code: codeFailed, message: err.Error(), exit: exitFailed}
	var given *failure
	var refused *protocol.ServiceError
	var manifest release.Errors
	var told *report.Failure
	switch {
	case errors.As(err, &given):
		return given
	case errors.As(err, &told):
		f.code, f.message, f.hint = told.Code, told.Message, told.Hint
	case errors.As(err, &refused):
		f.code, f.hint = refused.Code, refused.Hint
		f.message = strings.TrimPrefix(f.message, "stale: ") // which is said to programs
	case errors.As(err, &manifest):
		f.code, f.exit = codeManifest, exitMisused
		f.hint = hints(manifest)
	case errors.Is(err, api.ErrNoOrchestrator):
		f.code = codeNoBus
		f.hint = "start one: golive serve, or golive up in the folder of an app"
	case errors.Is(err, embedded.ErrDataInUse):
		f.hint = "is golive up running there already? stop it, or choose another folder with --data"
	case strings.HasPrefix(err.Error(), "unknown command"):
		f.code, f.exit, f.hint = codeMisused, exitMisused, "see golive --help"
		f.message, _, _ = strings.Cut(f.message, "\n")
	}
	return f
}

// print writes an answer in the form that was asked for; table writes it as text.
func (c *command) print(answer any, table func(io.Writer)) error {
	return terminal.Print(c.Out, c.output, answer, table)
}

func hints(problems release.Errors) string {
	var all []string
	for _, p := range problems {
		if p.Hint != "" {
			all = append(all, fmt.Sprintf("line %d: %s", p.Line, p.Hint))
		}
	}
	return strings.Join(all, "\n")
}

// report prints a failure: as text on stderr, or as the answer.
func (c *command) report(f *failure) {
	if c.output == "json" || c.output == "yaml" || c.output == "jsonl" {
		e := protocol.ServiceError{Code: f.code, Message: f.message, Hint: f.hint}
		if c.print(map[string]any{"error": e}, nil) == nil {
			return
		}
	}
	for line := range strings.Lines(f.message) {
		fmt.Fprintf(c.Err, "golive: error: %s\n", strings.TrimRight(line, "\n"))
	}
	for line := range strings.Lines(c.here(f.hint)) {
		fmt.Fprintf(c.Err, "golive: hint: %s\n", strings.TrimRight(line, "\n"))
	}
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
var pastable = regexp.MustCompile(`\bgolive (up|serve|deploy|plan|watch|approve|reject|retry|abort|pause|resume|pace|backward|status|history|show|routes|ledger)\b`)

// untilInterrupted is a context that ends with the first SIGINT or SIGTERM; a second
// one ends what is then still being stopped (see atOnce).
func untilInterrupted() (context.Context, context.CancelFunc) {
	hard, kill := context.WithCancel(context.Background())
	soft, cancel := context.WithCancel(context.WithValue(context.Background(), atOnceKey{}, hard))
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() { // ends with the process
		<-signals
		cancel()
		<-signals
		kill()
	}()
	return soft, func() { signal.Stop(signals); cancel(); kill() }
}

type atOnceKey struct{}

// atOnce is a context for stopping things in: it ends when a person wants everything
// to end at once.
func atOnce(ctx context.Context) context.Context {
	if hard, ok := ctx.Value(atOnceKey{}).(context.Context); ok {
		return hard
	}
	return context.WithoutCancel(ctx)
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

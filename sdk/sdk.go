// Package sdk is for authors of setup services: programs that do the work around the
// release of a new version.
//
// An author fills in a [SetupService] with one function for each phase there is work in and
// calls [Main], or [SetupService.Run] inside a bigger program:
//
//	func main() {
//		os.Exit(sdk.Main(sdk.SetupService{
//			Service: "todo-search", Version: "0.0.1",
//			Online: func(ctx context.Context, run *sdk.Run) error {
//				return run.Request(ctx, "todo-search.reindex", nil, nil)
//			},
//		}))
//	}
//
// The package does the rest of the wire protocol: it listens in a queue group, so any
// number of instances can run and one gets each start; it tells an orchestrator who asks
// which scripts it has; it claims an attempt durably before it runs it, so a repeated start
// is never run again, also after a restart; it sends signs of life while a script runs; it
// repeats the answer until an orchestrator has acknowledged it, and keeps it durably when
// that takes longer than a moment. Errors and panics become "failed" answers.
//
// A script's context ends when its deadline passes, when the orchestrator cancels it,
// when the program is told to stop, and when the bus has not answered for nineteen seconds: the
// next attempt, or the new version in production, may begin a second later. [context.Cause]
// tells which it was. A script has to stop changing anything then. An orchestrator can also pause a script. Nothing holds
// it up by force: a script that can wait calls [Run.AwaitResume] between two pieces of
// work, or asks [Run.Paused]. While it is paused its deadline stands still. The resume
// brings a new deadline. A script that is paused before it has begun begins with the resume.
//
// It never runs one attempt of a step twice. A script that was cut off by a crash is
// run again from its start, as the next attempt, so a script must bear that. One that has
// much to do keeps how far it has come with [Run.SaveCheckpoint], and begins with
// [Run.LoadCheckpoint]. An attempt that was taken for dead while it was only slow cannot
// overwrite the checkpoints of a later one: it gets [ErrSuperseded]. Nothing else of what
// it does is prevented.
//
// # Backfills
//
// Work that goes through many records is a [Backfill]: the author gives a [Source] and a
// function for a record or a batch, and its Run is the script.
//
//	Online: sdk.Backfill[Todo]{
//		Source: sdk.FromStream[Todo]("todos.list", nil),
//		Batch: func(ctx context.Context, run *sdk.Run, b sdk.Batch[Todo]) error {
//			todos := make([]Todo, len(b.Records))
//			for i, r := range b.Records {
//				todos[i] = r.Value
//			}
//			return run.Request(ctx, "todo-search.add", todos, nil, relay.MessageID(b.ID))
//		},
//	}.Run,
//
// It deals with several batches at a time and keeps after each, as a checkpoint, how far it
// has come. The next attempt goes on from there, in whichever process: at most the batches
// that were in flight come again, cut as before and with the same IDs, by which their
// receiver can recognise them. A receiver that does not look at the IDs must bear that.
//
// What fails is tried again. Then the script fails, or with PutAside goes on without the
// record: it is kept where people can look at it and have it tried again. Checks before and
// after are part of the result. The orchestrator can pause a backfill, and change its rate
// and the number of its batches in flight while it runs; a Throttle of the author's holds it
// while something else needs the room. Its progress tells the rate, the average, the limit
// and what holds it.
//
// Instances of one build of a setup service split a source that has partitions when the
// backfill is among [SetupService]'s Shared. The leader runs the script and writes the
// checkpoint. The helpers ask it for partitions, and tell it of each batch. The partition of
// a helper that has been silent for five seconds is given to another instance, and the helper has
// stopped before that. When the leader is gone, the helpers stop, and the next attempt goes on.
//
// # Permissions
//
// On a bus with users, [protocol.SetupRights] are what the setup services of a service, or of an
// app, need, for its versions with some major numbers: golive bus config gives them. Its scripts
// reach the services that are named there, in production and at their private addresses. It
// passes a start on when it is told to stop, hence that it may publish one.
//
// # Without this package
//
// What a setup service says and hears, for one in any language, stands in the contract:
// relay/protocol/README.md.
package sdk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
)

// Script does the work of one phase. A nil error means done. It must return soon
// after ctx has ended, whose deadline is moved when the orchestrator pauses the script.
type Script func(ctx context.Context, run *Run) error

// SetupService is a setup service: the scripts of one version of a service, or of an app.
type SetupService struct {
	Service string // the service whose scripts these are; or
	App     string // the app, for the script of its own setup phase
	Version string // of the service, or of the app; required, but see [Main]

	Before  Script // before anything changes; the previous version serves
	Offline Script // the new version runs but gets no production traffic
	Online  Script // the new version serves production traffic
	Setup   Script // of an App only: when all services of its new version serve

	RevertBefore, RevertOffline, RevertOnline, RevertSetup Script // undo what the phase did

	// Shared are the backfills of these scripts that other instances may help with. Each has
	// a Name of its own. The instance that runs the script leads. Others of the same build
	// that have nothing to do ask it for partitions of the source. They run the backfill's
	// Source.Records and Partitions, Each and Batch, and nothing else of the script.
	Shared []Shareable

	Logger *zap.Logger // of the service itself; nil means silence

	rememberAfter time.Duration // of tests; 0 is the usual
}

// Main runs s as a whole program: it connects as GOLIVE_NATS_URL and
// GOLIVE_NATS_CREDS say, works until SIGINT, SIGTERM or the end of a supervising
// parent, and returns the exit code for os.Exit. An empty s.Version is taken from
// GOLIVE_VERSION; with another one than that, it refuses to start. Logs go to stderr.
func Main(s SetupService) int {
	ctx, stop := relay.UntilStopped(context.Background())
	defer stop()
	if s.Logger == nil {
		s.Logger = relay.StderrLogger()
	}
	if err := s.main(ctx); err != nil && ctx.Err() == nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		return 1
	}
	return 0
}

func (s SetupService) main(ctx context.Context) error {
	if told := os.Getenv(relay.EnvVersion); s.Version == "" {
		s.Version = told
	} else if told != "" && told != s.Version {
		return fmt.Errorf("setup service of %s: its Version is %s, but %s is %s: let them be the same, or leave Version empty", s.name(), s.Version, relay.EnvVersion, told)
	}
	if err := s.check(); err != nil {
		return err
	}
	c := relay.FromEnvironment()
	c.Name, c.Logger = "setup of "+s.name()+" "+s.Version, s.Logger
	r, err := relay.Connect(ctx, c)
	if err != nil {
		return err
	}
	defer r.Close()
	return s.Run(ctx, r)
}

// Run answers the starts of s until ctx ends. It then passes on the starts that still
// come, ends the scripts that run, waits for them and returns nil; their attempts are
// left to the orchestrator. An error means that s is not complete or could not listen. Run
// may be called for several on one relay.
func (s SetupService) Run(ctx context.Context, r *relay.Relay) error {
	if err := s.check(); err != nil {
		return err
	}
	log := s.Logger
	if log == nil {
		log = zap.NewNop()
	}
	w, err := newWorker(r, log)
	if err != nil {
		return err
	}
	if w.shared, err = sharedBackfills(s.Shared); err != nil {
		return err
	}
	w.rememberAfter = cmp.Or(s.rememberAfter, w.rememberAfter)
	return w.run(ctx, s.jobs())
}

func (s SetupService) name() string {
	if s.App != "" {
		return s.App
	}
	return s.Service
}

// job is a script in one direction, and the messages that concern it.
type job struct {
	script protocol.Script
	revert bool
	do     Script
}

func (s SetupService) jobs() []job {
	all := []job{
		{s.script(protocol.Before), false, s.Before}, {s.script(protocol.Before), true, s.RevertBefore},
		{s.script(protocol.Offline), false, s.Offline}, {s.script(protocol.Offline), true, s.RevertOffline},
		{s.script(protocol.Online), false, s.Online}, {s.script(protocol.Online), true, s.RevertOnline},
		{s.script(protocol.Setup), false, s.Setup}, {s.script(protocol.Setup), true, s.RevertSetup},
	}
	var given []job
	for _, j := range all {
		if j.do != nil {
			given = append(given, j)
		}
	}
	return given
}

func (s SetupService) script(p protocol.Phase) protocol.Script {
	return protocol.Script{Name: s.name(), Version: s.Version, Phase: p}
}

func (s SetupService) check() error {
	if (s.Service == "") == (s.App == "") {
		return errors.New("setup service: give either Service or App")
	}
	if err := s.script(protocol.Setup).Validate(); err != nil {
		return fmt.Errorf("setup service: %w", err)
	}
	jobs := s.jobs()
	if len(jobs) == 0 {
		return fmt.Errorf("setup service of %s %s has no script: give a function for a phase", s.name(), s.Version)
	}
	for _, j := range jobs {
		if (j.script.Phase == protocol.Setup) != (s.App != "") {
			return fmt.Errorf("setup service of %s %s: Setup is the script of an App, and its only one; Before, Offline and Online are those of a Service", s.name(), s.Version)
		}
	}
	_, err := sharedBackfills(s.Shared)
	return err
}

// Permanent marks an error as one that trying again will not mend: neither does a [Backfill]
// try again what has failed with it, nor the orchestrator the script. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

type permanentError struct{ error }

func (e *permanentError) Unwrap() error { return e.error }

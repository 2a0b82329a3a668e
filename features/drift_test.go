package features

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/cucumber/godog"
	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/embedded"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/sdk"
	"github.com/golive-dev/golive/sdk/spec"
)

// drift compares a setup service under its specification with the same one in a real
// rollout. The setup service runs in this process.
type drift struct {
	scripts []protocol.Script // that it has
	fails   protocol.Phase    // whose script fails in its first attempt
	setup   func(context.Context, *relay.Relay) error

	own       *bus // of the specification
	specified *spec.Recording
	real      *spec.Recording
	stops     []func() error // end what runs in this process, in reverse order
}

func (s *scenario) driftSteps(sc *godog.ScenarioContext) {
	sc.Step(`^a setup service that (.+), whose (\w+) script fails at first, has these scripts:$`, s.describeSetup)
	sc.Step(`^its scripts run in its specification$`, s.runSpecification)
	sc.Step(`^its scripts run in a rollout of shop 1\.0\.0$`, s.runRollout)
	sc.Step(`^they have heard and said the same$`, s.sameHeard)
}

func (d *drift) stop() error {
	if d == nil {
		return nil
	}
	var errs []error
	for _, stop := range slices.Backward(d.stops) {
		errs = append(errs, stop())
	}
	return errors.Join(append(errs, d.own.stop())...)
}

func (s *scenario) describeSetup(kind, fails string, scripts *godog.Table) error {
	d := &drift{fails: protocol.Phase(fails)}
	for _, row := range scripts.Rows {
		fields := strings.Fields(row.Cells[0].Value)
		if len(fields) != 3 {
			return fmt.Errorf("%q is no script", row.Cells[0].Value)
		}
		d.scripts = append(d.scripts, protocol.Script{Name: fields[0], Version: fields[1], Phase: protocol.Phase(fields[2])})
	}
	switch kind {
	case "uses the SDK":
		d.setup = d.withSDK
	case "knows only NATS and replies":
		d.setup = d.withReplies
	default:
		return fmt.Errorf("there is no setup service that %s", kind)
	}
	s.drift = d
	return nil
}

// errNoRoom is why a script fails. Nothing of it may get lost on its way.
var errNoRoom = errors.New("no room <here>")

func (d *drift) withSDK(ctx context.Context, r *relay.Relay) error {
	setup := sdk.SetupService{Version: d.scripts[0].Version}
	for _, script := range d.scripts {
		do := func(_ context.Context, run *sdk.Run) error {
			if script.Phase == d.fails && run.Start.Attempt == 1 {
				return sdk.Permanent(errNoRoom)
			}
			run.Progress(7, 7, "created the index")
			return nil
		}
		switch script.Phase {
		case protocol.Offline:
			setup.Service, setup.Offline = script.Name, do
		case protocol.Online:
			setup.Service, setup.Online = script.Name, do
		case protocol.Setup:
			setup.App, setup.Setup = script.Name, do
		}
	}
	return setup.Run(ctx, r)
}

func (d *drift) withReplies(ctx context.Context, r *relay.Relay) error {
	var failed atomic.Bool
	for _, script := range d.scripts {
		start := script.Subject(protocol.Start)
		_, err := r.Conn().QueueSubscribe(start, start, func(m *nats.Msg) {
			answer := "created the index\n" + script.Subject(protocol.Done)
			if script.Phase == d.fails && !failed.Swap(true) {
				answer = errNoRoom.Error() + "\n"
			}
			_ = m.Respond([]byte(answer)) // unheard, it fails the scenario
		})
		if err != nil {
			return err
		}
	}
	<-ctx.Done()
	return nil
}

// run connects to a bus and keeps f at work there until the scenario ends.
func (d *drift) run(ctx context.Context, url string, f func(context.Context, *relay.Relay) error) error {
	r, err := relay.Connect(ctx, relay.Config{URL: url, Name: "setup service"})
	if err != nil {
		return err
	}
	working, end := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- f(working, r) }()
	d.stops = append(d.stops, func() error {
		end()
		defer r.Close()
		return <-ended
	})
	return nil
}

// connect gives a connection that is closed when the scenario ends.
func (d *drift) connect(ctx context.Context, url string) (*relay.Relay, error) {
	r, err := relay.Connect(ctx, relay.Config{URL: url, Name: "drift"})
	if err == nil {
		d.stops = append(d.stops, func() error { r.Close(); return nil })
	}
	return r, err
}

func (s *scenario) runSpecification(ctx context.Context) error {
	ctx, cancel := withPatience(ctx)
	defer cancel()
	d := s.drift
	server, err := embedded.Start(embedded.Config{Data: filepath.Join(s.folder, "specification"), Unsynced: true})
	if err != nil {
		return err
	}
	d.own = &bus{server, server.URL()}
	r, err := d.connect(ctx, d.own.url)
	if err != nil {
		return err
	}
	if err := d.run(ctx, d.own.url, d.setup); err != nil {
		return err
	}
	d.specified = &spec.Recording{}
	rollout := &spec.Rollout{Relay: r, Recording: d.specified, Start: protocol.StartMessage{
		App: "shop", AppVersion: "1.0.0", Services: map[string]string{"search": "1.0.0"},
	}}
	for _, script := range d.scripts {
		rollout.Phases = append(rollout.Phases, script.Phase)
		if script.Phase != protocol.Setup {
			rollout.Start.Service, rollout.Start.Version = script.Name, script.Version
		}
	}
	var failed *protocol.ScriptError
	if err := rollout.Run(ctx); !errors.As(err, &failed) {
		return fmt.Errorf("the %s script was to fail in its first attempt: %w", d.fails, err)
	}
	return rollout.Phase(ctx, d.fails)
}

// runRollout deploys, and retries what has failed.
func (s *scenario) runRollout(ctx context.Context) error {
	d := s.drift
	if err := d.run(ctx, s.bus.url, d.setup); err != nil {
		return err
	}
	r, err := d.connect(ctx, s.bus.url)
	if err != nil {
		return err
	}
	patient, cancel := withPatience(ctx)
	defer cancel()
	completed, err := r.Conn().SubscribeSync(protocol.CompletedSubject("shop", "1.0.0"))
	if err != nil {
		return err
	}
	if d.real, err = spec.Listen(patient, r.Conn(), d.scripts...); err != nil {
		return err
	}
	for _, command := range []struct {
		line string
		code int
	}{{"golive deploy shop", 1}, {"golive retry ROLLOUT", 0}} {
		if err := s.run(ctx, command.line); err != nil {
			return err
		}
		if err := s.endsWith(ctx, command.code); err != nil {
			return err
		}
	}
	for sequence := ""; sequence == ""; { // the last message of a rollout says that it is complete
		m, err := completed.NextMsgWithContext(patient)
		if err != nil {
			return fmt.Errorf("wait for the completion event: %w", err)
		}
		sequence = m.Header.Get(protocol.HeaderSequence)
	}
	return d.real.Stop(patient)
}

func (s *scenario) sameHeard() error {
	want, got := s.drift.specified.String(), tracing.ReplaceAllString(s.drift.real.String(), "")
	if want == got {
		return nil
	}
	var b strings.Builder
	was, is := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(was), len(is)) {
		w, g := at(was, i), at(is, i)
		if w == g {
			fmt.Fprintf(&b, "  %s\n", w)
			continue
		}
		fmt.Fprintf(&b, "- %s\n+ %s\n", w, g)
	}
	return fmt.Errorf("the specification (-) and the rollout (+) differ:\n%s", b.String())
}

// tracing is how the orchestrator has the server tell who got a start. It is nothing that
// a setup service has to know of.
var tracing = regexp.MustCompile(`(?m)^ *Nats-Trace-Dest: .*\n`)

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return ""
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator"
	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/embedded"
	"github.com/golive-dev/golive/relay/protocol"
)

type upOptions struct {
	once   bool
	data   string
	listen string
}

func (c *command) upCommand() *cobra.Command {
	var o upOptions
	cmd := &cobra.Command{
		Use:   "up [DIR]",
		Short: "Run the app in DIR on this machine and bring its version live",
		Long: `up runs the app whose manifest, golive.yaml, is in DIR (default: this folder):
a bus, its services, its setup services and the rollout of its version. It
stays up until Ctrl-C. What it keeps lies in the data folder, so the next up
knows which scripts have run.`,
		Example: `  golive up examples/todo
  golive up --once --data /tmp/try examples/todo`,
		Args: arguments(0, 1, "at most one folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) > 0 {
				dir = args[0]
			}
			return c.up(cmd.Context(), dir, o)
		},
	}
	cmd.Flags().BoolVar(&o.once, "once", false, "end when the rollout has ended: exit code 0 if completed, 1 if failed")
	cmd.Flags().StringVar(&o.data, "data", "", "folder of what it keeps (environment: GOLIVE_DATA; default .golive in DIR)")
	cmd.Flags().StringVar(&o.listen, "listen", embedded.DefaultListen, "where the bus listens, HOST:PORT; port 0 is a free one")
	return cmd
}

// up is one run of the command: what it has started, it stops.
func (c *command) up(ctx context.Context, dir string, o upOptions) (err error) {
	m, err := c.load(dir)
	if err != nil {
		return err
	}
	s := newStory(c.err, c.color)
	data := c.dataFolder(m, o.data)
	bus, r, err := c.openBus(ctx, m, data, o.listen, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bus.close()) }()

	working, stopWorking := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWorking()
	e, err := newEngine(ctx, r, 1, c.logger())
	if err != nil {
		return err
	}
	ended, err := e.start(working)
	if err != nil {
		return err
	}
	a := newApp(m, bus.url, c.creds, filepath.Join(data, "services"), s)
	u := &upRun{command: c, options: o, app: a, engine: e, ended: ended, relay: r, story: s, client: orchestrator.NewClient(r.Conn())}
	err = u.run(ctx)
	s.say(dim, "▪", "stopping what was started")
	if e := a.stop(atOnce(ctx)); e != nil {
		err = errors.Join(err, e)
	}
	stopWorking()
	if e := <-ended; e != nil && err == nil {
		err = e
	}
	return err
}

func (c *command) load(dir string) (*release.Manifest, error) {
	m, err := release.Load(c.absolute(dir))
	var problems release.Errors
	if errors.As(err, &problems) {
		for i := range problems { // as the person has named it
			if short, e := filepath.Rel(c.dir, problems[i].File); e == nil && len(short) < len(problems[i].File) {
				problems[i].File = short
			}
		}
		return nil, problems
	}
	if err != nil {
		return nil, &failure{code: codeManifest, exit: exitMisused, message: err.Error()}
	}
	return m, nil
}

func (c *command) dataFolder(m *release.Manifest, flag string) string {
	switch env := c.getenv("GOLIVE_DATA"); {
	case flag != "":
		return c.absolute(flag)
	case env != "":
		return c.absolute(env)
	case filepath.IsAbs(m.Data):
		return m.Data
	}
	return filepath.Join(m.Dir, m.Data)
}

// bus is where up's messages go: a server of its own, or one that runs already.
type bus struct {
	url   string
	close func() error
}

func (c *command) openBus(ctx context.Context, m *release.Manifest, data, listen string, s *story) (*bus, *relay.Relay, error) {
	if c.nats != "" {
		r, err := c.connect(ctx, c.nats)
		if err != nil {
			return nil, nil, err
		}
		s.say(plain, "▸", "bus: %s", r.Conn().ConnectedUrlRedacted())
		return &bus{url: c.nats, close: func() error { r.Close(); return nil }}, r, nil
	}
	server, err := embedded.Start(embedded.Config{Data: data, Listen: listen, Logger: c.logger()})
	if err != nil {
		return nil, nil, err
	}
	r, err := relay.Connect(ctx, relay.Config{Server: server, Name: "golive up", Logger: c.logger()})
	if err != nil {
		return nil, nil, errors.Join(err, server.Stop())
	}
	put, err := beacon{URL: server.URL(), Dir: m.Dir, Cwd: c.dir, Data: data}.light(beaconFolder(c.getenv))
	if err != nil {
		r.Close()
		return nil, nil, errors.Join(err, server.Stop())
	}
	s.say(plain, "▸", "bus: %s, its data in %s", server.URL(), c.short(data))
	return &bus{url: server.URL(), close: func() error {
		put()
		r.Close()
		return server.Stop()
	}}, r, nil
}

// short is a path as it is seen from here.
func (c *command) short(path string) string {
	if rel, err := filepath.Rel(c.dir, path); err == nil && len(rel) < len(path) {
		return rel
	}
	return path
}

// upRun is the part of up for which everything is in place.
type upRun struct {
	*command
	options upOptions
	app     *app
	engine  *engine
	ended   <-chan error
	relay   *relay.Relay
	story   *story
	client  *orchestrator.Client
}

func (u *upRun) run(ctx context.Context) error {
	if err := u.app.startServices(); err != nil {
		return err
	}
	if err := u.awaitServices(ctx); err != nil {
		return interrupted(ctx, err, nil)
	}
	begun, err := u.begin(ctx)
	if err != nil {
		return err
	}
	for after := uint64(0); ; {
		last, sequence, err := u.follow(ctx, begun, after)
		if e := u.app.stopSetups(atOnce(ctx)); e != nil {
			return e
		}
		if err != nil {
			return interrupted(ctx, err, &last)
		}
		err = u.conclude(ctx, last)
		if u.options.once {
			return err
		}
		retried, e := u.stay(ctx, last, sequence)
		if e != nil {
			return e
		}
		if retried == nil {
			return told(err)
		}
		begun, after = *retried, sequence
	}
}

// conclude says how the rollout has ended.
func (u *upRun) conclude(ctx context.Context, last rollout.State) error {
	if last.Status == rollout.Completed {
		return u.printOnline(ctx, last)
	}
	err := failed(last)
	if !u.options.once {
		u.report(explain(err))
		u.story.say(plain, "▪", "the services stay up for you to look at: Ctrl-C stops them")
	}
	return err
}

// interrupted is what is left to say when a person has ended up before the rollout.
func interrupted(ctx context.Context, err error, last *rollout.State) error {
	if ctx.Err() == nil {
		return err
	}
	f := &failure{code: codeGaveUp, exit: exitFailed, message: "stopped before the rollout had begun"}
	if last != nil && last.ID != "" {
		f.message = fmt.Sprintf("stopped while rollout %s was under way", last.ID)
		f.hint = "run golive up again: it goes on where it was"
	}
	return f
}

// failed is what there is to say about a rollout that has not completed.
func failed(s rollout.State) error {
	f := &failure{code: codeFailed, exit: exitFailed,
		message: fmt.Sprintf("rollout %s of %s %s has not completed: it is %s", s.ID, s.Release.App, s.Release.Version, s.Status)}
	if s.Status == rollout.Failed {
		f.message = fmt.Sprintf("rollout %s of %s %s has failed", s.ID, s.Release.App, s.Release.Version)
	}
	for _, step := range s.FailedSteps() {
		f.message += fmt.Sprintf("\nstep %s: %s", step.ID, step.Error)
	}
	if s.Status == rollout.Failed {
		f.hint = "correct the cause, then: golive retry " + s.ID + ", or golive up again"
	}
	return f
}

// awaitServices blocks until what was started is on the bus.
func (u *upRun) awaitServices(ctx context.Context) error {
	tick := time.NewTicker(tellRunning)
	defer tick.Stop()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for {
		missing := u.missing()
		if len(missing) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case d := <-u.app.died:
			return u.ruin(d)
		case err := <-u.ended:
			return fmt.Errorf("the orchestrator has ended: %w", err)
		case <-look.C:
		case <-tick.C:
			for _, what := range missing {
				u.story.say(dim, "…", "waiting for %s", what)
			}
		}
	}
}

// missing lists the services whose instances are not all there yet.
func (u *upRun) missing() []string {
	var missing []string
	for _, s := range u.app.manifest.Services {
		if s.Run == nil || s.Instances == 0 {
			continue
		}
		alive := 0
		for _, i := range u.engine.gate.Instances(s.Name) {
			if i.Version == s.Version {
				alive++
			}
		}
		if alive < s.Instances {
			missing = append(missing, fmt.Sprintf("%s %s to come up: %d of %d instances on the bus", s.Name, s.Version, alive, s.Instances))
		}
	}
	return missing
}

// ruin is the error for a program that has ended too early.
func (u *upRun) ruin(d death) error {
	message := d.program.label + " has ended by itself"
	if d.err != nil {
		message = d.err.Error()
	}
	return &failure{code: codeFailed, exit: exitFailed, message: message,
		hint: "its last lines are above; see how it is started in " + u.short(u.app.manifest.Path)}
}

// begin finds the rollout to follow: one of this very release that is under way or has
// failed is gone on with, else a new one begins.
func (u *upRun) begin(ctx context.Context) (rollout.State, error) {
	want := releaseOf(u.app.manifest)
	page, err := u.client.List(ctx, orchestrator.ListRequest{App: want.App, Limit: 1})
	if err != nil {
		return rollout.State{}, err
	}
	if len(page.Rollouts) > 0 {
		found := page.Rollouts[0]
		same := found.Release.Version == want.Version && found.Release.Digest == want.Digest
		switch {
		case same && found.Status == rollout.Running:
			u.story.say(plain, "*", "going on with rollout %s, which was under way", found.ID)
			return found.State, nil
		case same && found.Status == rollout.Failed:
			u.story.say(plain, "*", "rollout %s had failed: trying it again", found.ID)
			retried, err := u.client.Retry(ctx, orchestrator.RolloutRequest{Rollout: found.ID, By: me(), Reason: "golive up"})
			return retried.State, err
		case found.Status == rollout.Running:
			u.story.say(yellow, "*", "rollout %s of %s was under way, and golive.yaml has changed since: a new one takes its place", found.ID, found.Release.Version)
		}
	}
	id, err := uuid.NewV7()
	if err != nil {
		return rollout.State{}, err
	}
	begun, err := u.client.Deploy(ctx, orchestrator.DeployRequest{
		Rollout: id.String(), Release: want, By: me(), Replace: true,
	})
	return begun.State, err
}

// lostWithin is how long a rollout may take to notice that a worker is dead.
const lostWithin = 30 * time.Second

// follow tells the rollout's story, from behind an event on, until it has ended, or
// something has ended without which it cannot. It gives the last state and its
// sequence.
func (u *upRun) follow(ctx context.Context, begun rollout.State, after uint64) (rollout.State, uint64, error) {
	following, stop := context.WithCancel(ctx)
	defer stop()
	type result struct {
		last journal.Record
		err  error
	}
	results := make(chan result, 1)
	go func() {
		started := false
		f := follower{nc: u.relay.Conn(), story: u.story, after: after, each: func(journal.Record) error {
			if started {
				return nil
			}
			started = true // once, behind the plan
			return u.app.startSetups(begun)
		}}
		last, err := f.follow(following, u.engine.journal, begun.Release.App, begun.ID)
		results <- result{last, err}
	}()
	var fatal error
	var late <-chan time.Time
	for {
		select {
		case r := <-results:
			if fatal != nil && r.err != nil {
				r.err = fatal
			}
			return r.last.State, r.last.Sequence, r.err
		case err := <-u.ended:
			fatal = fmt.Errorf("the orchestrator has ended: %w", err)
			stop()
		case <-late:
			stop()
		case d := <-u.app.died:
			wait, err := u.consider(ctx, d, begun)
			if err != nil && fatal == nil {
				fatal = err
				late = time.After(wait)
			}
		}
	}
}

// consider decides what a death means for the rollout: nothing if the program's work
// is done, else an error, after the time that the rollout takes to notice by itself.
func (u *upRun) consider(ctx context.Context, d death, begun rollout.State) (time.Duration, error) {
	if !u.app.running(d.program) {
		return 0, nil
	}
	err := u.ruin(d)
	if d.program.owner == "" {
		return 0, err
	}
	story, e := u.client.Show(ctx, orchestrator.RolloutRequest{Rollout: begun.ID})
	if e != nil {
		return 0, err
	}
	if !unfinished(story.State, d.program.owner) {
		return 0, nil
	}
	u.story.say(red, "✗", "%s", err)
	for _, step := range story.Running() {
		if step.Name == d.program.owner && story.Sightings[step.ID].Sent {
			return lostWithin, err
		}
	}
	return 0, err
}

// stay blocks until a person ends it, a service ends by itself, or the rollout, which
// stands as it does after sequence, is tried again: then it gives the state to go on
// from.
func (u *upRun) stay(ctx context.Context, last rollout.State, sequence uint64) (*rollout.State, error) {
	watching, stop := context.WithCancel(ctx)
	retried := make(chan rollout.State, 1)
	var watch sync.WaitGroup
	watch.Go(func() { u.awaitRetry(watching, last, sequence, retried) })
	defer func() { stop(); watch.Wait() }()
	for {
		select {
		case <-ctx.Done():
			return nil, nil
		case s := <-retried:
			return &s, nil
		case err := <-u.ended:
			return nil, fmt.Errorf("the orchestrator has ended: %w", err)
		case d := <-u.app.died:
			if u.app.running(d.program) {
				return nil, u.ruin(d)
			}
		}
	}
}

// awaitRetry waits for a failed rollout to be tried again, as golive retry does.
func (u *upRun) awaitRetry(ctx context.Context, last rollout.State, sequence uint64, retried chan<- rollout.State) {
	if last.Status.Final() {
		return
	}
	err := u.engine.journal.FollowSubject(ctx, protocol.RolloutSubject(last.Release.App, last.ID), sequence, func(r journal.Record) error {
		if r.State.Status == rollout.Running {
			retried <- r.State
		}
		return errEnded // whatever came first: a retry, or its end for good
	})
	if err != nil && !errors.Is(err, errEnded) {
		u.logger().Warn("a retry of the rollout would not be noticed", zap.Error(err))
	}
}

// online is what up says at the end: what runs, and where.
type online struct {
	Rollout  string          `json:"rollout"`
	App      string          `json:"app"`
	Version  string          `json:"version"`
	Status   rollout.Status  `json:"status"`
	Bus      string          `json:"bus"`
	Services []onlineService `json:"services"`
}

type onlineService struct {
	Service   string `json:"service"`
	Version   string `json:"version"`
	Instances int    `json:"instances"`     // alive
	URL       string `json:"url,omitempty"` // that the service tells of itself
}

func (u *upRun) printOnline(ctx context.Context, last rollout.State) error {
	o := online{Rollout: last.ID, App: last.Release.App, Version: last.Release.Version, Status: last.Status, Bus: u.app.url,
		Services: []onlineService{}}
	urls := serviceURLs(ctx, u.relay.Conn())
	for _, s := range last.Release.Services {
		alive := slices.DeleteFunc(u.engine.gate.Instances(s.Name), func(i gate.Instance) bool { return i.Version != s.Version })
		o.Services = append(o.Services, onlineService{Service: s.Name, Version: s.Version, Instances: len(alive), URL: urls[s.Name+" "+s.Version]})
	}
	return u.print(o, func(w io.Writer) {
		fmt.Fprintf(w, "\n%s %s is online\n\n", o.App, o.Version)
		var rows [][]string
		for _, s := range o.Services {
			rows = append(rows, []string{"  " + s.Service, s.Version, fmt.Sprint(s.Instances), orDash(s.URL)})
		}
		columns(w, []string{"  SERVICE", "VERSION", "INSTANCES", "TRY IT"}, rows)
		if u.options.once {
			return
		}
		fmt.Fprintf(w, "\nIn another terminal here: golive status, golive show %s, golive ledger\n", o.Rollout)
		fmt.Fprintf(w, "Ctrl-C stops everything.\n\n")
	})
}

// serviceURLs asks the services on the bus for the address that they tell in their
// metadata, by name and version.
func serviceURLs(ctx context.Context, nc *nats.Conn) map[string]string {
	urls := make(map[string]string)
	ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	inbox := nc.NewRespInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return urls
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := nc.PublishRequest("$SRV.INFO", inbox, nil); err != nil {
		return urls
	}
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return urls
		}
		var info micro.Info
		if json.Unmarshal(m.Data, &info) == nil && info.Metadata["url"] != "" {
			urls[info.Name+" "+info.Version] = info.Metadata["url"]
		}
	}
}

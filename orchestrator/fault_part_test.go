package orchestrator_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator"
	"github.com/golive-dev/golive/orchestrator/fleet"
	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/ledger"
	"github.com/golive-dev/golive/orchestrator/snapshot"
	"github.com/golive-dev/golive/orchestrator/view"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/embedded"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/sdk"
)

// The kinds of processes that an environment under faults consists of.
const (
	aServer        = "server"
	anOrchestrator = "orchestrator"
	aSetup         = "setup"     // setup services on the sdk
	aBare          = "bare"      // setup services without it, which reply
	anInstance     = "instances" // of services
)

// part is what a process is told that is one of an environment.
type part struct {
	Kind     string
	Name     string
	URL      string
	Record   string // the file that it writes what it does into
	Data     string // of a server
	Cluster  *embedded.Cluster
	Replicas int
	Fill     *fillWork // of a filler
	Given    given     // of an agent

	At  view.Point // where an orchestrator kills itself; empty: nowhere
	Nth int        // when it comes there for so many times
}

// order is what setup services and instances are told on their standard input, in lines of
// JSON. The end of it is the end of the process.
type order struct {
	Name    string `json:"name,omitempty"`
	Version string `json:"version,omitempty"`
	App     bool   `json:"app,omitempty"`  // it is the setup script of an app
	Down    bool   `json:"down,omitempty"` // it is no longer there; else it is from now on
	Calm    bool   `json:"calm,omitempty"` // scripts fail no more, and are quick

	Takes time.Duration `json:"takes,omitempty"` // so long do first attempts at offline scripts work from now on
	At    view.Point    `json:"at,omitempty"`    // an orchestrator says when it comes there, and waits; empty: it goes on, and waits nowhere
	Nth   int           `json:"nth,omitempty"`   // when it comes there for so many times
}

func (o order) key() string { return fmt.Sprint(o.Name, " ", o.Version, " ", o.App, " ", o.Calm) }

// play is the whole life of a process.
func play(text string) int {
	var p part
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	if p.Kind == aProgram {
		return p.run()
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	ctx, end := context.WithCancel(ctx)
	orders := make(chan order)
	go func() { // until the process ends
		defer end()
		in := bufio.NewScanner(os.Stdin)
		for in.Scan() {
			var o order
			if json.Unmarshal(in.Bytes(), &o) == nil {
				orders <- o
			}
		}
	}()
	if err := p.play(ctx, orders); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	return 0
}

func (p part) play(ctx context.Context, orders <-chan order) error {
	if p.Kind == aServer {
		s, err := embedded.Start(embedded.Config{Data: p.Data, Listen: p.URL, Cluster: p.Cluster})
		if err != nil {
			return err
		}
		fmt.Println("ready")
		<-ctx.Done()
		return s.Stop()
	}
	record, err := os.OpenFile(p.Record, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer record.Close()
	told := zap.NewDevelopmentConfig() // which tells the time
	told.Level, told.DisableCaller, told.DisableStacktrace = zap.NewAtomicLevelAt(zap.InfoLevel), true, true
	log, err := told.Build()
	if err != nil {
		return err
	}
	r, err := relay.Connect(ctx, relay.Config{URL: p.URL, Name: p.Name, Logger: log})
	if err != nil {
		return err
	}
	defer r.Close()
	w := &workplace{part: p, record: record, relay: r, log: log}
	switch p.Kind {
	case anOrchestrator:
		return w.orchestrate(ctx, orders)
	case aSetup:
		return w.obey(ctx, orders, w.serveSetup)
	case aBare:
		return w.obey(ctx, orders, w.serveBare)
	case anInstance:
		return w.obey(ctx, orders, w.serveInstance)
	case anAgent:
		return w.work(ctx)
	case aSource:
		return w.serveSource(ctx)
	case aReceiver:
		return w.serveReceiver(ctx)
	case aFiller:
		return w.fill(ctx)
	}
	return fmt.Errorf("unknown kind %q", p.Kind)
}

// workplace is what a process works with.
type workplace struct {
	part
	record *os.File
	relay  *relay.Relay
	log    *zap.Logger
	calm   atomic.Bool
	takes  atomic.Int64 // nanoseconds that a first attempt at an offline script works; 0: as it comes
}

// What a process writes down that it did.
const (
	began  = "began"
	works  = "works" // the script is still at it
	ended  = "ended"
	broke  = "broke" // the script has failed, or was told to stop
	cameTo = "point" // an orchestrator kills itself there
)

// action is one line of the record: what a script did, durable before anybody hears of it.
// The order of the lines is that of the actions.
type action struct {
	What    string    `json:"what"`
	Rollout string    `json:"rollout,omitempty"`
	Step    string    `json:"step,omitempty"`
	Attempt int       `json:"attempt,omitempty"`
	Revert  bool      `json:"revert,omitempty"`
	Number  int64     `json:"number,omitempty"`  // that only this run of the script has told in its answer
	Records bool      `json:"records,omitempty"` // it was to deal with those that were put aside
	Aside   int64     `json:"aside,omitempty"`   // records that it has told to be put aside
	Bare    bool      `json:"bare,omitempty"`
	By      string    `json:"by"`
	At      time.Time `json:"at"`
	Point   string    `json:"point,omitempty"`
	Program *program  `json:"program,omitempty"` // that has done it; nil: a script has, or a person
}

// script reports whether a script has done it.
func (d action) script() bool {
	return d.Program == nil && (d.What == began || d.What == ended || d.What == broke)
}

// note writes one line at once, which others may do at the same time.
func (w *workplace) note(d action) error {
	d.By, d.At = w.Name, time.Now()
	line, err := json.Marshal(d)
	if err != nil {
		return err
	}
	if _, err := w.record.Write(append(line, '\n')); err != nil {
		return err
	}
	return w.record.Sync()
}

func (w *workplace) orchestrate(ctx context.Context, orders <-chan order) error {
	nc := w.relay.Conn()
	opening, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	j, err := journal.Make(opening, nc, w.Replicas)
	if err != nil {
		return err
	}
	l, err := ledger.Make(opening, nc, "", w.Replicas)
	if err != nil {
		return err
	}
	g, err := gate.Make(opening, gate.Config{Conn: nc, Replicas: w.Replicas})
	if err != nil {
		return err
	}
	f, err := fleet.Make(opening, nc, "", w.Replicas)
	if err != nil {
		return err
	}
	var times atomic.Int64
	var h halt
	go h.obey(ctx, orders)
	at := func(p view.Point) {
		h.come(p)
		if p != w.At || times.Add(1) != int64(w.Nth) {
			return
		}
		_ = w.note(action{What: cameTo, Point: string(p)})
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	o, err := orchestrator.New(orchestrator.Config{
		Conn: nc, Journal: j, Ledger: l, Gate: g, Fleet: f, Replicas: w.Replicas, Heartbeat: heartbeat, Resend: resend, Logger: w.log, At: at,
		Snapshots: snapshot.Config{At: func(p snapshot.Point) { at(view.Point(p)) }},
	})
	if err != nil {
		return err
	}
	go func() {
		select {
		case <-o.Ready():
			fmt.Println("ready")
		case <-ctx.Done():
		}
	}()
	return o.Run(ctx)
}

// obey serves what it is told to until ctx ends.
func (w *workplace) obey(ctx context.Context, orders <-chan order, serve func(context.Context, order) error) error {
	var serving sync.WaitGroup
	defer serving.Wait()
	stops := make(map[string]context.CancelFunc)
	fmt.Println("ready")
	for {
		var o order
		select {
		case o = <-orders:
		case <-ctx.Done():
			return nil
		}
		switch stop := stops[o.key()]; {
		case o.Calm:
			w.calm.Store(true)
		case o.Takes > 0:
			w.takes.Store(int64(o.Takes))
		case o.Down && stop != nil:
			stop()
			delete(stops, o.key())
		case !o.Down && stop == nil:
			ctx, stop := context.WithCancel(ctx)
			stops[o.key()] = stop
			serving.Go(func() {
				if err := serve(ctx, o); err != nil {
					w.log.Error("it does not serve", zap.Any("order", o), zap.Error(err))
				}
			})
		}
	}
}

func (w *workplace) serveSetup(ctx context.Context, o order) error {
	run := func(ctx context.Context, run *sdk.Run) error {
		return w.script(ctx, run.Start, run.AwaitResume, func(number int64) { run.Progress(number, 0, "") }, func(ctx context.Context) (int64, error) { return w.deal(ctx, run) })
	}
	s := sdk.SetupService{
		Service: o.Name, Version: o.Version, Before: run, Offline: run, Online: run,
		RevertBefore: run, RevertOffline: run, RevertOnline: run,
	}
	if o.App {
		s = sdk.SetupService{App: o.Name, Version: o.Version, Setup: run, RevertSetup: run}
	}
	return s.Run(ctx, w.relay)
}

// script does what scripts do, and writes it down: most are soon done, some take a while,
// some fail, and some put records aside, of which deal gives the number. resume waits until
// the script is no longer paused.
func (w *workplace) script(ctx context.Context, s protocol.StartMessage, resume func(context.Context) error, tell func(number int64), deal func(context.Context) (int64, error)) error {
	d := action{Rollout: s.Rollout, Step: s.Step, Attempt: s.Attempt, Revert: s.Revert, Records: s.FailedRecords, Bare: w.Kind == aBare}
	d.What = began
	if err := w.note(d); err != nil {
		return err
	}
	d.Number = 1 + rand.Int64N(1<<50)
	tell(d.Number)
	takes := rand.N(30 * time.Millisecond)
	if rand.N(10) == 0 && !w.calm.Load() {
		takes = rand.N(1500 * time.Millisecond)
	}
	if long := time.Duration(w.takes.Load()); long > 0 && s.Attempt == 1 && s.Phase == protocol.Offline && !s.Revert {
		takes = long
	}
	err := w.toil(ctx, d, takes)
	if err == nil {
		err = resume(ctx)
	}
	if err == nil && !s.Revert {
		d.Aside, err = deal(ctx)
		tell(d.Number)
	}
	if fate := rand.N(100); err == nil && fate < 6 && !w.calm.Load() {
		if err = errors.New("bad luck"); fate == 0 {
			err = sdk.Permanent(err)
		}
	}
	d.What = ended
	if err != nil {
		d.What = broke
	}
	return errors.Join(err, w.note(d))
}

// toil works for as long as a script takes, and writes down now and then that it does.
func (w *workplace) toil(ctx context.Context, d action, takes time.Duration) error {
	d.What = works
	work, still := time.NewTimer(takes), time.NewTicker(200*time.Millisecond)
	defer work.Stop()
	defer still.Stop()
	for {
		select {
		case <-work.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-still.C:
			if ctx.Err() == nil {
				if err := w.note(d); err != nil {
					return err
				}
			}
		}
	}
}

// serveBare answers as somebody would who knows nothing but NATS.
func (w *workplace) serveBare(ctx context.Context, o order) error {
	var busy sync.WaitGroup
	defer busy.Wait()
	for _, phase := range protocol.ServicePhases() {
		for _, verb := range []protocol.Verb{protocol.Start, protocol.RevertStart} {
			subject := protocol.Script{Name: o.Name, Version: o.Version, Phase: phase}.Subject(verb)
			sub, err := w.relay.Conn().QueueSubscribe(subject, subject, func(m *nats.Msg) {
				busy.Go(func() { w.reply(ctx, m) })
			})
			if err != nil {
				return err
			}
			defer func() { _ = sub.Unsubscribe() }() // the connection may be gone
		}
	}
	<-ctx.Done()
	return nil
}

func (w *workplace) reply(ctx context.Context, m *nats.Msg) {
	var s protocol.StartMessage
	if err := json.Unmarshal(m.Data, &s); err != nil {
		w.log.Error("start not understood", zap.Error(err))
		return
	}
	var number int64
	aside := leave(s)
	answer := map[string]any{"done": true, "putAside": aside}
	if err := w.script(ctx, s, context.Context.Err, func(n int64) { number = n }, func(context.Context) (int64, error) { return aside, nil }); err != nil {
		answer = map[string]any{"error": map[string]string{"code": "bare", "message": err.Error()}}
	}
	answer["items"] = number
	data, err := json.Marshal(answer)
	if err == nil {
		err = m.Respond(data)
	}
	if err != nil {
		w.log.Warn("no reply", zap.Error(err))
	}
}

// told is what an instance answers.
type told struct {
	Version string `json:"version"`
	Began   int64  `json:"began"` // nanoseconds since 1970
}

func (w *workplace) serveInstance(ctx context.Context, o order) error {
	return w.relay.Serve(ctx, relay.Service{
		Name: o.Name, Version: o.Version, Lease: relay.MinLease,
		Handlers: map[string]relay.Handler{
			"tell": func(context.Context, *relay.Message) (any, error) {
				return told{o.Version, time.Now().UnixNano()}, nil
			},
		},
	})
}

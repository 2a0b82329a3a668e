package sdk_test

import (
	"context"
	"encoding/json"
	"os"
	"runtime/pprof"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
	"github.com/golive-dev/golive/sdk"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// receive waits for a value.
func receive[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("%s: nothing within %s", what, patience)
		panic("not reached")
	}
}

// stage is a bus on which the test plays the orchestrator.
type stage struct {
	*relaytest.Bus
	t  *testing.T
	r  *relay.Relay
	nc *nats.Conn
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{Bus: relaytest.Start(t), t: t}
	s.r = s.Connect()
	s.nc = s.r.Conn()
	s.makeClaims()
	s.checkpoints()
	s.failedRecordsBucket()
	_, _, err := bus.MakeRoutes(s.within(), s.nc, "", 1)
	must(t, err)
	return s
}

func (s *stage) makeClaims() {
	s.t.Helper()
	_, err := bus.Make(s.within(), s.nc, bus.Claims, "", 1)
	must(s.t, err)
}

// checkpoints is the bucket, made when it is missing.
func (s *stage) checkpoints() jetstream.KeyValue {
	s.t.Helper()
	kv, err := bus.Make(s.within(), s.nc, bus.Checkpoints, "", 1)
	must(s.t, err)
	return kv
}

// failedRecordsBucket is the bucket of failed records, made when it is missing.
func (s *stage) failedRecordsBucket() jetstream.KeyValue {
	s.t.Helper()
	kv, err := bus.Make(s.within(), s.nc, bus.FailedRecords, "", 1)
	must(s.t, err)
	return kv
}

func (s *stage) within() context.Context {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	s.t.Cleanup(cancel)
	return ctx
}

// running is a setup service at work.
type running struct {
	t     *testing.T
	lines chan line
	end   context.CancelFunc
	ended chan error
}

// line is what a setup service has logged.
type line struct {
	zapcore.Entry
	fields string
}

// run runs a setup service until the test ends, and returns once it listens.
func (s *stage) run(setup sdk.SetupService) *running {
	s.t.Helper()
	return s.runOn(s.Connect(), setup)
}

func (s *stage) runOn(r *relay.Relay, setup sdk.SetupService) *running {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	it := &running{t: s.t, lines: make(chan line, 1000), end: cancel, ended: make(chan error, 1)}
	setup.Logger = zap.New(&recorder{it, zapcore.NewJSONEncoder(zapcore.EncoderConfig{})})
	go func() {
		it.ended <- setup.Run(ctx, r)
		close(it.ended)
	}()
	s.t.Cleanup(it.stop)
	it.awaitLine("listening")
	return it
}

// stop ends the setup service and blocks until it has ended.
func (it *running) stop() {
	it.t.Helper()
	it.end()
	if err := receive(it.t, it.ended, "the end of the setup service"); err != nil {
		it.t.Error(err)
	}
}

// awaitLine waits for a line in the log.
func (it *running) awaitLine(message string) line {
	it.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case l := <-it.lines:
			if l.Message == message {
				return l
			}
		case <-deadline:
			it.t.Fatalf("%q was not logged within %s", message, patience)
		}
	}
}

// recorder is a core that keeps what is logged.
type recorder struct {
	*running
	encoder zapcore.Encoder
}

func (r *recorder) Enabled(zapcore.Level) bool { return true }
func (r *recorder) Sync() error                { return nil }

func (r *recorder) With(fields []zapcore.Field) zapcore.Core {
	clone := &recorder{r.running, r.encoder.Clone()}
	for _, f := range fields {
		f.AddTo(clone.encoder)
	}
	return clone
}

func (r *recorder) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	return ce.AddCore(e, r)
}

func (r *recorder) Write(e zapcore.Entry, fields []zapcore.Field) error {
	text, err := r.encoder.EncodeEntry(e, fields)
	if err != nil {
		return err
	}
	r.lines <- line{e, strings.TrimSpace(text.String())}
	return nil
}

const rollout = "0199c6d2-0000-7000-8000-000000000000"

// start is the start of an attempt of a phase of todo-search 0.0.1.
func start(phase protocol.Phase, attempt int) protocol.StartMessage {
	return protocol.StartMessage{
		Rollout: rollout, Step: "todo-search/" + string(phase), Attempt: attempt, App: "todo-app", AppVersion: "0.0.2",
		Service: "todo-search", Version: "0.0.1", Phase: phase, Heartbeat: protocol.Duration(time.Second),
		Services: map[string]string{"todo-search": "0.0.1", "todos": "0.0.3"},
	}
}

// startApp is the start of an attempt of todo-app 0.0.2's own phase.
func startApp(attempt int) protocol.StartMessage {
	m := start(protocol.Setup, attempt)
	m.Step, m.Service, m.Version = "todo-app/setup", "", ""
	return m
}

// send publishes a start.
func (s *stage) send(m protocol.StartMessage) {
	s.t.Helper()
	data, err := json.Marshal(m)
	must(s.t, err)
	s.sendAs(m, data)
}

// sendAs publishes a start with another payload than its own.
func (s *stage) sendAs(m protocol.StartMessage, data []byte) {
	s.t.Helper()
	out := nats.NewMsg(m.Script().Subject(protocol.StartVerb(m.Revert)))
	out.Data = data
	out.Reply = protocol.AnswerSubject(rollout, 1, max(m.Attempt, 1), m.Revert)
	out.Header.Set(protocol.HeaderRollout, m.Rollout)
	out.Header.Set(protocol.HeaderAttempt, strconv.Itoa(m.Attempt))
	out.Header.Set(protocol.HeaderTraceparent, "00-1-2-01")
	must(s.t, s.nc.PublishMsg(out))
	must(s.t, s.nc.Flush())
}

// cancel publishes a cancel.
func (s *stage) cancel(m protocol.StartMessage, data string) {
	s.t.Helper()
	s.tell(protocol.Cancel, m, data)
}

// tell publishes a cancel, pause or resume. It names the attempt in its headers, if it is given
// one.
func (s *stage) tell(verb protocol.Verb, m protocol.StartMessage, data string) {
	s.t.Helper()
	out := nats.NewMsg(m.Script().Subject(verb))
	out.Data = []byte(data)
	if m.Attempt != 0 {
		out.Header.Set(protocol.HeaderRollout, m.Rollout)
		out.Header.Set(protocol.HeaderAttempt, strconv.Itoa(m.Attempt))
	}
	must(s.t, s.nc.PublishMsg(out))
	must(s.t, s.nc.Flush())
}

// answers are the done and failed messages of a script.
type answers struct {
	t     *testing.T
	heard chan heard
	subs  []*nats.Subscription
}

// heard is an answer as the orchestrator gets it.
type heard struct {
	protocol.Answer
	msg *nats.Msg
}

const (
	accepted = `{"accepted":true}`
	refused  = `{"accepted":false,"reason":"stale"}`
	stored   = `{"stream":"GOLIVE","seq":12}`
)

// accept hears the answers of a script and accepts them all.
func (s *stage) accept(m protocol.StartMessage) *answers {
	s.t.Helper()
	return s.reply(m, func(int) string { return accepted })
}

// reply hears the answers of a script and replies to the nth, from 1, what says says;
// empty is no reply.
func (s *stage) reply(m protocol.StartMessage, says func(n int) string) *answers {
	s.t.Helper()
	a := &answers{t: s.t, heard: make(chan heard, 1000)}
	n := 0
	hear := func(msg *nats.Msg) { // called by one subscription at a time: a script answers once
		var answer protocol.Answer
		if err := json.Unmarshal(msg.Data, &answer); err != nil {
			s.t.Errorf("answer %s: %v", msg.Data, err)
		}
		n++
		if text := says(n); text != "" && msg.Reply != "" {
			if err := msg.Respond([]byte(text)); err != nil {
				s.t.Error(err)
			}
		}
		a.heard <- heard{answer, msg}
	}
	for _, verb := range []protocol.Verb{protocol.DoneVerb(m.Revert), protocol.FailedVerb(m.Revert)} {
		sub, err := s.nc.Subscribe(m.Script().Subject(verb), hear)
		must(s.t, err)
		a.subs = append(a.subs, sub)
	}
	must(s.t, s.nc.Flush())
	return a
}

// stop stops hearing.
func (a *answers) stop() {
	a.t.Helper()
	for _, sub := range a.subs {
		must(a.t, sub.Unsubscribe())
	}
}

func (a *answers) next() heard {
	a.t.Helper()
	return receive(a.t, a.heard, "an answer")
}

// mustBeDone fails the test unless the next answer is done.
func (a *answers) mustBeDone() heard {
	a.t.Helper()
	h := a.next()
	if !h.Done || h.Error != nil {
		a.t.Errorf("answered %s, want done", h.msg.Data)
	}
	return h
}

// mustBeFailed fails the test unless the next answer is a failure with this code.
func (a *answers) mustBeFailed(code string) heard {
	a.t.Helper()
	h := a.next()
	if h.Done || h.Error == nil || h.Error.Code != code {
		a.t.Fatalf("answered %s, want failed with code %s", h.msg.Data, code)
	}
	return h
}

// mustBeNone fails the test if there was another answer until now.
func (a *answers) mustBeNone() {
	a.t.Helper()
	select {
	case h := <-a.heard:
		a.t.Errorf("answered %s on %s, want nothing", h.msg.Data, h.msg.Subject)
	default:
	}
}

// listen hears all messages on a subject.
func (s *stage) listen(subject string) <-chan *nats.Msg {
	s.t.Helper()
	all := make(chan *nats.Msg, 10_000)
	_, err := s.nc.ChanSubscribe(subject, all)
	must(s.t, err)
	must(s.t, s.nc.Flush())
	return all
}

// setup is a setup service of todo-search 0.0.1 with an online script.
func setup(do sdk.Script) sdk.SetupService {
	return sdk.SetupService{Service: "todo-search", Version: "0.0.1", Online: do}
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

// mustLeaveNothing fails the test unless all goroutines of ours end in time.
func mustLeaveNothing(t *testing.T) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		var left []string
		var text strings.Builder
		must(t, pprof.Lookup("goroutine").WriteTo(&text, 1))
		for _, stack := range strings.Split(text.String(), "\n\n") {
			if strings.Contains(stack, "golive/sdk.") || strings.Contains(stack, "golive/relay.") || strings.Contains(stack, "nats-io/nats.go") {
				left = append(left, stack)
			}
		}
		if len(left) == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("goroutines were left behind:\n%s", strings.Join(left, "\n\n"))
		}
	}
}

func TestMain(m *testing.M) {
	if role := os.Getenv(envRole); role != "" {
		os.Exit(play(role))
	}
	relaytest.Parallel(6)
	os.Exit(m.Run())
}

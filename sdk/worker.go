package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
)

const (
	defaultHeartbeat = 5 * time.Second        // of a start that names none
	progressEvery    = 100 * time.Millisecond // at most so often
	answerTimeout    = 2 * time.Second        // to be acknowledged by an orchestrator, before it is sent again
	retryPause       = 250 * time.Millisecond // between tries of a durable step
)

// worker runs the jobs of one Setup.
type worker struct {
	relay    *relay.Relay
	nc       *nats.Conn
	log      *zap.Logger
	instance string
	claims   *claims

	busy    sync.WaitGroup
	mu      sync.Mutex
	running map[string]context.CancelCauseFunc // by claim key
}

var errCancelled = errors.New("cancelled by the orchestrator")

func newWorker(r *relay.Relay, log *zap.Logger) (*worker, error) {
	instance := uuid.NewString()
	c, err := newClaims(r.Conn(), instance)
	if err != nil {
		return nil, err
	}
	return &worker{
		relay: r, nc: r.Conn(), log: log, instance: instance, claims: c,
		running: make(map[string]context.CancelCauseFunc),
	}, nil
}

// run listens to the starts and cancels of all jobs until ctx ends.
func (w *worker) run(ctx context.Context, jobs []job) error {
	var subs []*nats.Subscription
	defer w.busy.Wait()
	defer func() {
		for _, s := range subs {
			_ = s.Unsubscribe() // the connection may be gone
		}
	}()
	for _, j := range jobs {
		start := j.script.Subject(protocol.StartVerb(j.revert))
		// Cancels first: a start may be followed by its cancel at once.
		s, err := w.nc.Subscribe(j.script.Subject(protocol.Cancel), func(m *nats.Msg) { w.cancel(j, m) })
		if err != nil {
			return fmt.Errorf("listen to %s: %w", j.script.Subject(protocol.Cancel), err)
		}
		subs = append(subs, s)
		s, err = w.nc.QueueSubscribe(start, start, func(m *nats.Msg) {
			w.busy.Add(1)
			go func() { defer w.busy.Done(); w.start(ctx, j, m) }()
		})
		if err != nil {
			return fmt.Errorf("listen to %s: %w", start, err)
		}
		subs = append(subs, s)
		w.log.Info("listening", zap.String("to", start))
	}
	<-ctx.Done()
	return nil
}

// start deals with one start message to its end.
func (w *worker) start(ctx context.Context, j job, m *nats.Msg) {
	a := &attempt{worker: w, job: j, header: m.Header}
	if len(m.Data) > 0 {
		if err := json.Unmarshal(m.Data, &a.start); err != nil {
			w.log.Error("start is not JSON, ignored", zap.String("message", m.Subject), zap.Error(err))
			return
		}
	}
	if a.start.Rollout == "" {
		a.byHand(ctx, m)
		return
	}
	if a.start.Script() != j.script || a.start.Revert != j.revert || a.start.Attempt < 1 {
		w.log.Error("start is for another script than its name says, ignored",
			zap.String("message", m.Subject), zap.Stringer("script", a.start.Script()))
		return
	}
	a.key = protocol.ClaimKey(a.start.Rollout, a.start.Step, a.start.Attempt, a.start.Revert)
	a.do(ctx)
}

// cancel ends the run that the message names.
func (w *worker) cancel(j job, m *nats.Msg) {
	var which protocol.Answer
	_ = json.Unmarshal(m.Data, &which) // what is missing is taken from the headers
	if which.Rollout == "" {
		which.Rollout = m.Header.Get(protocol.HeaderRollout)
	}
	if which.Attempt == 0 {
		which.Attempt, _ = strconv.Atoi(m.Header.Get(protocol.HeaderAttempt))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if end := w.running[protocol.ClaimKey(which.Rollout, j.script.Step(), which.Attempt, j.revert)]; end != nil {
		end(errCancelled)
	}
}

// attempt is one start on its way to its answer.
type attempt struct {
	worker *worker
	job    job
	start  protocol.StartMessage
	header nats.Header // of the start
	key    string
}

// do claims, runs, remembers and answers, with signs of life from the first moment to
// the acknowledged answer.
func (a *attempt) do(ctx context.Context) {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	if !a.worker.enter(a.key, end) {
		return // this very attempt is under way here; its signs of life are the answer
	}
	defer a.worker.leave(a.key)
	run := a.newRun()
	beating, stopBeating := context.WithCancel(ctx)
	var heart sync.WaitGroup
	heart.Go(func() { a.beat(beating, run) })
	defer func() { stopBeating(); heart.Wait() }()

	revision, answer, err := a.claim(ctx)
	if err != nil {
		a.worker.log.Info("not run here", zap.String("step", a.start.Step), zap.Int("attempt", a.start.Attempt), zap.Error(err))
		return
	}
	if answer == nil {
		answer = a.runScript(ctx, run)
		if ctx.Err() != nil && context.Cause(ctx) != errCancelled {
			return // told to stop: the attempt is cut off, not finished
		}
		if told := run.told(); told.Done != nil {
			run.pulse(told) // the last word on progress comes before the answer
		}
		a.remember(context.WithoutCancel(ctx), revision, *answer)
	}
	a.answer(context.WithoutCancel(ctx), ctx, *answer)
}

func (w *worker) enter(key string, end context.CancelCauseFunc) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, there := w.running[key]; there {
		return false
	}
	w.running[key] = end
	return true
}

func (w *worker) leave(key string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.running, key)
}

// claim repeats until the bus answers.
func (a *attempt) claim(ctx context.Context) (revision uint64, answer *protocol.Answer, err error) {
	err = a.untilDone(ctx, "claim the attempt", func(ctx context.Context) error {
		revision, answer, err = a.worker.claims.take(ctx, a.key)
		if errors.Is(err, errTaken) {
			return nil
		}
		return err
	}, func() error { return err })
	return revision, answer, err
}

// remember repeats until the answer is durable. An orchestrator that has taken the
// worker for dead refuses the answer later, so there is no harm in insisting.
func (a *attempt) remember(ctx context.Context, revision uint64, answer protocol.Answer) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err := a.untilDone(ctx, "remember the answer", func(ctx context.Context) error {
		return a.worker.claims.finish(ctx, a.key, revision, answer)
	}, func() error { return nil })
	if err != nil {
		a.worker.log.Warn("answer not remembered, a repeated start will not find it", zap.String("step", a.start.Step), zap.Error(err))
	}
}

// untilDone tries again while step fails and ctx has not ended, then gives result.
func (a *attempt) untilDone(ctx context.Context, doing string, step func(context.Context) error, result func() error) error {
	for told := false; ; told = true {
		try, cancel := context.WithTimeout(ctx, answerTimeout)
		err := step(try)
		cancel()
		if err == nil {
			return result()
		}
		if !told {
			a.worker.log.Warn(doing+": trying again until it works", zap.String("step", a.start.Step), zap.Error(err))
		}
		if !pause(ctx, retryPause) {
			return fmt.Errorf("%s: %w", doing, errors.Join(err, ctx.Err()))
		}
	}
}

// pause waits; false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// runScript runs the author's function; what went wrong stands in the answer.
func (a *attempt) runScript(ctx context.Context, run *Run) *protocol.Answer {
	if !a.start.Deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, a.start.Deadline)
		defer cancel()
	}
	err := guard(ctx, a.job.do, run)
	answer := &protocol.Answer{Rollout: a.start.Rollout, Attempt: a.start.Attempt, Digest: buildDigest()}
	if told := run.told(); told.Done != nil {
		answer.Items, answer.Note = *told.Done, told.Note
	}
	if err == nil {
		answer.Done = true
		return answer
	}
	answer.Error = describe(ctx, err)
	return answer
}

func guard(ctx context.Context, do Script, run *Run) (err error) {
	defer func() {
		if p := recover(); p != nil {
			run.Log.Error("script panicked", zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
			err = &panicError{p}
		}
	}()
	return do(ctx, run)
}

type panicError struct{ value any }

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

func describe(ctx context.Context, err error) *protocol.ScriptError {
	e := &protocol.ScriptError{Code: protocol.CodeFailed, Message: err.Error()}
	switch {
	case errors.As(err, new(*panicError)):
		e.Code = protocol.CodePanic
	case context.Cause(ctx) == errCancelled:
		e.Code = protocol.CodeCancelled
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		e.Code = protocol.CodeTimeout
	}
	if errors.As(err, new(*permanentError)) {
		no := false
		e.Retry = &no
	}
	return e
}

// byHand runs a start that no rollout asked for: each time, unclaimed, and answered
// with a done message that names no rollout.
func (a *attempt) byHand(ctx context.Context, m *nats.Msg) {
	script := a.job.script
	a.start.Phase, a.start.Revert, a.start.Step = script.Phase, a.job.revert, script.Step()
	if script.Phase == protocol.Setup {
		a.start.App, a.start.AppVersion = script.Name, script.Version
	} else {
		a.start.Service, a.start.Version = script.Name, script.Version
	}
	a.worker.log.Info("started by hand", zap.String("message", m.Subject))
	answer := a.runScript(ctx, a.newRun())
	answer.Rollout, answer.Attempt = "", 0
	message := a.message(answer)
	if err := a.worker.nc.PublishMsg(message); err != nil {
		a.worker.log.Error("answer", zap.Error(err))
	}
	if m.Reply != "" {
		_ = a.worker.nc.Publish(m.Reply, message.Data)
	}
}

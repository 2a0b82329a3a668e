package sdk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// attempt is one start on its way to its answer.
type attempt struct {
	worker *worker
	job    job
	start  protocol.StartMessage
	header nats.Header // of the start
	key    string      // of the claim; empty when started by hand
}

// rolloutID is what a rollout may be called: it becomes part of keys and subjects.
var rolloutID = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// read takes in the payload of a start. One by hand has none, or names no rollout.
func (a *attempt) read(data []byte) error {
	if data = bytes.TrimSpace(data); len(data) > 0 {
		if err := json.Unmarshal(data, &a.start); err != nil {
			return fmt.Errorf("its payload is not that of a start: %w", err)
		}
	}
	if left := time.Duration(a.start.Left); left > 0 { // by this machine's clock, which may be another than the orchestrator's
		a.start.Deadline = time.Now().Add(left)
	}
	if err := a.check(); err != nil || a.start.Rollout == "" {
		return err
	}
	a.key = protocol.ClaimKey(a.start.Rollout, a.start.Step, a.start.Attempt, a.start.Revert)
	return nil
}

// check reports why the start is not one of the job's. One by hand always is.
func (a *attempt) check() error {
	script, s := a.job.script, a.start
	switch {
	case s.Rollout == "":
		return nil
	case !rolloutID.MatchString(s.Rollout):
		return fmt.Errorf("its rollout %q is no id", s.Rollout)
	case s.Script() != script || s.Step != script.Step() || s.Revert != a.job.revert:
		return fmt.Errorf("its payload is for another script than its name: %s, step %q, revert %t", s.Script(), s.Step, s.Revert)
	case s.Attempt < 1:
		return fmt.Errorf("its attempt is %d, attempts count from 1", s.Attempt)
	}
	return nil
}

// do claims, runs and answers, with signs of life from the first moment to the
// acknowledged answer.
func (a *attempt) do(ctx context.Context) {
	script := a.worker.attempts.enter(ctx, a) // a cancel ends it, and nothing else
	if script == nil {
		return // this very attempt is under way here; its signs of life are the answer
	}
	defer script.stop()
	defer a.worker.attempts.leave(a.key)
	run := a.newRun(script)
	beating, stopBeating := context.WithCancel(ctx)
	var beats sync.WaitGroup
	beats.Go(func() { a.heartbeat(beating, run) })
	defer func() { stopBeating(); beats.Wait() }()
	lasting, release := outlive(ctx, stopGrace)
	defer release()

	known, held, err := a.begin(ctx)
	switch {
	case err != nil:
		a.worker.log.Info("not run here", zap.String("step", a.start.Step), zap.Int("attempt", a.start.Attempt), zap.Error(err))
	case known != nil:
		a.answer(lasting, known, func() {})
	default:
		stopKeeping := held.keep(ctx, script, a.worker.log)
		defer stopKeeping()
		a.answerAtFirst(lasting, a.runClaimed(ctx, script, run), held)
	}
}

// begin gives the answer of the attempt if that is known already, and else the lease under
// which it is run now. An error means that it is not for us to answer.
func (a *attempt) begin(ctx context.Context) (known *protocol.Answer, held *lease, err error) {
	if answer, begun := a.worker.attempts.answer(a.key); answer != nil {
		return answer, nil, nil
	} else if begun {
		return nil, nil, errBegun
	}
	return a.claim(ctx)
}

// runClaimed runs the script, and keeps its answer. One that has ended because the setup
// service was told to stop says that its worker is lost: the next attempt begins elsewhere.
func (a *attempt) runClaimed(ctx context.Context, script *scriptContext, run *Run) *protocol.Answer {
	a.worker.attempts.keep(a.key, nil)
	answer := a.runScript(script, run)
	if ctx.Err() != nil && !answer.Done {
		answer.Error = &protocol.ScriptError{Code: protocol.CodeLost, Message: "its setup service was told to stop"}
	}
	a.worker.attempts.keep(a.key, answer)
	if told, changes := run.lastProgress(); changes > 0 {
		run.publish(told) // the last word on progress comes before the answer
	}
	return answer
}

// answerAtFirst sends the answer of a script that has just returned. It is remembered too,
// in the claim, when no orchestrator accepts it within rememberAfter: what an orchestrator
// has accepted is durable, and needs no second place.
//
// When the process dies, the answer is lost if no orchestrator has taken it and it is not
// remembered yet. That is a time of rememberAfter and one write at most, less when nobody
// listens. The claim is there without an answer, so no other instance runs this attempt: the
// orchestrator takes the worker for dead, and the next attempt runs the script again. The
// same happens when the process dies just before the end of the script, so a script that
// bears the one bears the other.
func (a *attempt) answerAtFirst(ctx context.Context, answer *protocol.Answer, held *lease) {
	wanted, accepted := context.WithCancelCause(ctx)
	defer accepted(nil)
	waiting, remember := context.WithTimeout(wanted, a.worker.rememberAfter)
	defer remember()
	var remembering sync.WaitGroup
	remembering.Go(func() {
		<-waiting.Done()
		if wanted.Err() == nil {
			a.remember(wanted, held, *answer)
		}
	})
	if a.answer(ctx, answer, remember) {
		accepted(errAccepted)
	}
	remembering.Wait()
}

// claim repeats until the bus answers.
func (a *attempt) claim(ctx context.Context) (answer *protocol.Answer, held *lease, err error) {
	held = &lease{claims: a.worker.claims, key: a.key, lasts: leaseOf(a.start), clock: bus.NewInstants()}
	taken := error(nil)
	err = a.untilDone(ctx, "claim the attempt", func(ctx context.Context) error {
		answer, err = held.acquire(ctx)
		if errors.Is(err, errTaken) {
			taken = err
			return nil
		}
		return err
	})
	return answer, held, errors.Join(err, taken)
}

// remember repeats until the answer is durable, or accepted by an orchestrator. One that has
// taken the worker for dead refuses the answer later, so there is no harm in insisting.
func (a *attempt) remember(ctx context.Context, held *lease, answer protocol.Answer) {
	ctx, cancel := context.WithTimeout(ctx, rememberTimeout)
	defer cancel()
	err := a.untilDone(ctx, "remember the answer", func(ctx context.Context) error {
		err := held.store(ctx, answer)
		if errors.Is(err, errTaken) {
			return nil // the attempt is over, and nobody waits for its answer
		}
		return err
	})
	if err != nil && context.Cause(ctx) != errAccepted {
		a.worker.log.Warn("answer not remembered, only this process knows it", zap.String("step", a.start.Step), zap.Error(err))
	}
}

// untilDone tries again while step fails and ctx has not ended.
func (a *attempt) untilDone(ctx context.Context, doing string, step func(context.Context) error) error {
	for told := false; ; told = true {
		try, cancel := context.WithTimeout(ctx, answerTimeout)
		err := step(try)
		cancel()
		if err == nil {
			return nil
		}
		if !told && ctx.Err() == nil {
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

// outlive gives a context that ends d after ctx has.
func outlive(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		pause(longer, d)
		cancel()
	})
	return longer, func() { stop(); cancel() }
}

// runScript runs the author's function, unless its time is over before it begins; what
// went wrong stands in the answer. One that is paused by then begins with the resume.
func (a *attempt) runScript(ctx context.Context, run *Run) *protocol.Answer {
	err := awaitResume(ctx)
	if err == nil {
		err = guard(ctx, a.job.do, run)
	} else {
		err = context.Cause(ctx)
	}
	answer := &protocol.Answer{Rollout: a.start.Rollout, Attempt: a.start.Attempt, Digest: buildDigest()}
	run.addTo(answer)
	if cause := context.Cause(ctx); err == nil && (errors.Is(cause, errCancelled) || errors.Is(cause, errLeaseLost) || errors.Is(cause, context.Canceled)) {
		err = errors.New("it returned when it was told to stop: it is not known whether it had finished")
	}
	if err == nil {
		answer.Done = true
		return answer
	}
	answer.Error = describe(ctx, err)
	return answer
}

func guard(ctx context.Context, do Script, run *Run) (err error) {
	defer recovered(run, &err)
	return do(ctx, run)
}

// recovered is deferred where a panic is to become the error.
func recovered(run *Run, err *error) {
	if p := recover(); p != nil {
		run.Log.Error("script panicked", zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
		*err = &panicError{p}
	}
}

type panicError struct{ value any }

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// maxText is how many bytes of a text of the author's go on the bus. An orchestrator keeps no
// more, and a message that is too large would never arrive.
const maxText = 4 << 10

// clip is a text that the bus has room for.
func clip(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "") + " …"
}

func describe(ctx context.Context, err error) *protocol.ScriptError {
	e := &protocol.ScriptError{Code: protocol.CodeFailed, Message: clip(err.Error())}
	switch {
	case errors.As(err, new(*panicError)):
		e.Code = protocol.CodePanic
	case context.Cause(ctx) == errCancelled:
		e.Code = protocol.CodeCancelled
	case errors.Is(context.Cause(ctx), errLeaseLost):
		e.Code, e.Message = protocol.CodeLost, clip(fmt.Sprintf("%v (%v)", context.Cause(ctx), err))
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
// with a named message that names no rollout.
func (a *attempt) byHand(ctx context.Context, m *nats.Msg) {
	of := a.job.script
	a.start.Phase, a.start.Revert, a.start.Step = of.Phase, a.job.revert, of.Step()
	if of.Phase == protocol.Setup {
		a.start.App, a.start.AppVersion = of.Name, of.Version
	} else {
		a.start.Service, a.start.Version = of.Name, of.Version
	}
	a.worker.log.Info("started by hand", zap.String("message", m.Subject))
	script := newScriptContext(ctx)
	defer script.stop()
	script.resume(a.start.Deadline)
	script.pace.add(a.start.Pace)
	answer := a.runScript(script, a.newRun(script))
	answer.Rollout, answer.Attempt = "", 0
	message := a.message(answer)
	if err := a.worker.nc.PublishMsg(message); err != nil {
		a.worker.log.Error("answer", zap.Error(err))
	}
	if m.Reply != "" && protocol.Answerable(m.Reply) {
		_ = a.worker.nc.Publish(m.Reply, message.Data) // the named message has been sent
	}
}

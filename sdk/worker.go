package sdk

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
)

const (
	answerTimeout   = 2 * time.Second        // to be acknowledged by an orchestrator, before it is sent again
	maxReplies      = 16                     // to an answer, that wait to be read: of an orchestrator, and of streams that capture it
	retryPause      = 250 * time.Millisecond // between tries of a durable step
	rememberTimeout = time.Minute            // to make an answer durable in the claim; it is sent all the while
	stopGrace       = 2 * time.Second        // to get rid of an answer, once told to stop
	maxControls     = 1000                   // controls that have come and are still to be dealt with
)

// rememberAfter is how long an orchestrator may take to accept a new answer before it is
// remembered too. It is longer than an orchestrator at work needs, so that most answers cost
// one write and not two, and so short that hardly a process dies in it.
const rememberAfter = 50 * time.Millisecond

// worker is one instance of a setup service on the bus: it hears starts, controls, questions
// and invitations. An attempt deals with a start, a helper with an invitation, and attempts
// knows which of them have begun here.
type worker struct {
	relay    *relay.Relay
	nc       *nats.Conn
	log      *zap.Logger
	instance string
	claims   *claims

	attempts *attempts

	rememberAfter time.Duration

	shared map[string]backfillConfig // what other instances may be helped with, by name
}

var (
	errCancelled = errors.New("cancelled by the orchestrator")
	errAccepted  = errors.New("an orchestrator has accepted the answer")
)

func newWorker(r *relay.Relay, log *zap.Logger) (*worker, error) {
	instance := uuid.NewString()
	c, err := newClaims(r.Conn(), instance)
	if err != nil {
		return nil, err
	}
	return &worker{
		relay: r, nc: r.Conn(), log: log, instance: instance, claims: c, attempts: newAttempts(), rememberAfter: rememberAfter,
	}, nil
}

// run listens to all that concerns the jobs until ctx ends, and returns when all it has
// begun has ended.
func (w *worker) run(ctx context.Context, jobs []job) error {
	hearing, stopHearing := context.WithCancel(ctx)
	said, known := make(chan *nats.Msg, maxControls), controlSubjects(jobs)
	var receiving sync.WaitGroup
	receiving.Go(func() { w.hearControls(hearing, said, known) })
	var subs []*nats.Subscription
	defer func() {
		w.leaveBus(subs)
		w.attempts.end()
		w.attempts.busy.Wait()
		stopHearing()
		receiving.Wait()
	}()
	for subject := range known { // one channel for all: a resume must not overtake its pause
		s, err := w.nc.ChanSubscribe(subject, said)
		if err != nil {
			return fmt.Errorf("listen to %s: %w", subject, err)
		}
		subs = append(subs, s)
	}
	for _, j := range jobs {
		s, err := w.listen(j.script.Subject(protocol.StartVerb(j.revert)), func(m *nats.Msg) {
			if !w.attempts.begin(ctx) {
				w.passOn(m)
				return
			}
			go func() { defer w.attempts.busy.Done(); w.start(ctx, j, m) }()
		})
		if err != nil {
			return err
		}
		subs = append(subs, s)
	}
	for script, info := range w.infos(jobs) { // last: who is told of a script may start it
		s, err := w.listen(protocol.AboutScriptSubject(script), func(m *nats.Msg) { w.tellAbout(info, m) })
		if err != nil {
			return err
		}
		subs = append(subs, s)
	}
	for script := range w.infos(jobs) {
		if len(w.shared) == 0 {
			break
		}
		s, err := w.nc.Subscribe(protocol.ShareSubject(script), func(m *nats.Msg) { w.invited(ctx, script, m) })
		if err != nil {
			return fmt.Errorf("listen to %s: %w", protocol.ShareSubject(script), err)
		}
		subs = append(subs, s)
	}
	w.tellListening(ctx, jobs)
	<-ctx.Done()
	return nil
}

// listen subscribes in a queue group: one of the instances gets each message.
func (w *worker) listen(subject string, hear nats.MsgHandler) (*nats.Subscription, error) {
	s, err := w.nc.QueueSubscribe(subject, subject, hear)
	if err != nil {
		return nil, fmt.Errorf("listen to %s: %w", subject, err)
	}
	return s, nil
}

// infos are what the instance tells about each script. A script is there as soon as it has
// one of its two functions.
func (w *worker) infos(jobs []job) map[protocol.Script]protocol.ScriptInfo {
	all := make(map[protocol.Script]protocol.ScriptInfo)
	for _, j := range jobs {
		revert := j.revert || all[j.script].Revert
		all[j.script] = protocol.ScriptInfo{Instance: w.instance, Digest: buildDigest(), Revert: revert}
	}
	return all
}

// tellAbout answers a question about a script.
func (w *worker) tellAbout(info protocol.ScriptInfo, m *nats.Msg) {
	if !protocol.IsInbox(m.Reply) {
		return
	}
	if err := m.Respond(marshal(info)); err != nil {
		w.log.Warn("answer", zap.String("message", m.Subject), zap.Error(err))
	}
}

// leaveBus stops listening. When it returns the server sends no more starts, and those
// that it had sent have been passed on, unless the bus is stuck.
func (w *worker) leaveBus(subs []*nats.Subscription) {
	for _, s := range subs {
		_ = s.Drain() // the connection may be gone
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	if err := w.nc.FlushWithContext(ctx); err != nil {
		return
	}
	dealtWith := make(chan struct{})
	if err := w.nc.Barrier(func() { close(dealtWith) }); err != nil {
		return
	}
	select {
	case <-dealtWith:
	case <-ctx.Done():
	}
}

// passOn gives a start that came while we stop to another instance.
func (w *worker) passOn(m *nats.Msg) {
	w.log.Info("start passed on", zap.String("message", m.Subject))
	on := &nats.Msg{Subject: m.Subject, Reply: m.Reply, Header: m.Header, Data: m.Data}
	if err := w.nc.PublishMsg(on); err != nil {
		w.log.Warn("start lost: told to stop, and nobody to pass it on to", zap.String("message", m.Subject), zap.Error(err))
	}
}

// tellListening logs what is listened to, once the server knows of it.
func (w *worker) tellListening(ctx context.Context, jobs []job) {
	flushing, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	if err := w.nc.FlushWithContext(flushing); err != nil && ctx.Err() == nil {
		w.log.Warn("flush", zap.Error(err)) // the reconnect subscribes again
	}
	hello := protocol.Hello{Instance: w.instance, Name: jobs[0].script.Name, Version: jobs[0].script.Version}
	if err := w.nc.Publish(protocol.HelloSubject, marshal(hello)); err != nil {
		w.log.Debug("hello", zap.Error(err)) // the signs of life that are missing tell the same, later
	}
	for _, j := range jobs {
		w.log.Info("listening", zap.String("to", j.script.Subject(protocol.StartVerb(j.revert))))
	}
}

// start deals with one start message to its end.
func (w *worker) start(ctx context.Context, j job, m *nats.Msg) {
	if m.Header.Get(protocol.HeaderSequence) != "" {
		return // it tells that an app without a setup script is setting up: nobody has to answer
	}
	if to := j.script.Subject(protocol.StartVerb(j.revert)); m.Subject != to { // a consumer of JetStream has it delivered here
		w.log.Error("start ignored", zap.String("message", to), zap.String("error", "it was published as "+m.Subject))
		return
	}
	a := &attempt{worker: w, job: j, header: m.Header}
	switch err := a.read(m.Data); {
	case err != nil:
		w.log.Error("start ignored", zap.String("message", m.Subject), zap.Error(err))
	case a.start.Rollout == "":
		a.byHand(ctx, m)
	default:
		a.do(ctx)
	}
}

package engine

import (
	"maps"
	"slices"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/tasks"
	"github.com/golive-dev/golive/relay/protocol"
)

// answerQueue is the queue group in which orchestrators listen to answers, so that
// one of them takes each.
const answerQueue = "golive"

// maxArriving is how many messages wait to be taken before NATS drops some: answers are
// sent again then.
const maxArriving = 64 << 10

// subscriptions are those to the answers and the progress of all scripts of the
// newest rollout of each app: also of those that do not run, whose answers have to be
// refused, or they are sent again for ever. They share one channel, because a callback of
// its own costs each of thousands a goroutine. It is safe for concurrent use.
type subscriptions struct {
	nc       *nats.Conn
	arriving chan *nats.Msg
	taking   sync.WaitGroup
	tasks    tasks.Group // takes the answers

	mu     sync.Mutex
	subs   map[string]*subscription // by subject
	opened map[string]opening       // by app
}

type subscription struct {
	interest
	sub  *nats.Subscription
	apps map[string]bool // whose newest rollouts have the script
}

// interest is what a message on some subject is about.
type interest struct {
	script protocol.Script
	verb   protocol.Verb
}

func newSubscriptions(nc *nats.Conn) *subscriptions {
	return &subscriptions{
		nc: nc, arriving: make(chan *nats.Msg, maxArriving),
		subs: make(map[string]*subscription), opened: make(map[string]opening),
	}
}

// run has what arrives dealt with until the subscriptions are closed: answers side by side,
// signs of life one after the other.
func (e *subscriptions) run(progress func(script protocol.Script, m *nats.Msg), answer func(protocol.Script, protocol.Verb, *nats.Msg)) {
	e.taking.Go(func() { e.take(progress, answer) })
}

func (e *subscriptions) take(progress func(script protocol.Script, m *nats.Msg), answer func(protocol.Script, protocol.Verb, *nats.Msg)) {
	for m := range e.arriving {
		e.mu.Lock()
		found := e.subs[m.Subject]
		e.mu.Unlock()
		switch {
		case found == nil: // nobody waits for it any more
		case found.verb == protocol.Progress:
			progress(found.script, m)
		default:
			e.tasks.Do(func() { answer(found.script, found.verb, m) })
		}
	}
}

// wanted lists what a rollout needs to be heard of, by subject.
func wanted(s rollout.State) map[string]interest {
	all := make(map[string]interest)
	verbs := []protocol.Verb{protocol.Progress, protocol.Done, protocol.Failed}
	if s.Backward != nil {
		verbs = append(verbs, protocol.Reverted, protocol.RevertFailed)
	}
	for _, step := range s.All() {
		if step.Kind != rollout.Migration {
			continue
		}
		for _, verb := range verbs {
			all[step.ScriptID().Subject(verb)] = interest{step.ScriptID(), verb}
		}
	}
	return all
}

// subscribe listens to a subject: of the orchestrators one takes each answer, and all hear
// of progress.
func (e *subscriptions) subscribe(subject string, verb protocol.Verb) (*nats.Subscription, error) {
	if verb == protocol.Progress {
		return e.nc.ChanSubscribe(subject, e.arriving)
	}
	return e.nc.ChanQueueSubscribe(subject, answerQueue, e.arriving)
}

// open opens what the newest rollout of an app needs, before what is published on the same
// connection from now on, and closes what only one before it needed.
func (e *subscriptions) open(r journal.Record) error {
	if len(r.State.Steps) == 0 { // it has not begun
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.known(r) {
		return nil
	}
	app, need := r.State.Release.App, wanted(r.State)
	for subject, about := range need {
		if e.subs[subject] == nil {
			sub, err := e.subscribe(subject, about.verb)
			if err != nil {
				return err
			}
			e.subs[subject] = &subscription{interest: about, sub: sub, apps: make(map[string]bool)}
		}
		e.subs[subject].apps[app] = true
	}
	for _, subject := range e.opened[app].subjects {
		if _, needed := need[subject]; !needed {
			e.leave(app, subject)
		}
	}
	e.opened[app] = opening{r.State.ID, r.State.Backward != nil, r.Sequence, slices.Collect(maps.Keys(need))}
	return nil
}

// leave closes a subject that an app no longer needs, if no other one does.
func (e *subscriptions) leave(app, subject string) {
	found := e.subs[subject]
	if found == nil {
		return
	}
	delete(found.apps, app)
	if len(found.apps) == 0 {
		_ = found.sub.Unsubscribe() // the connection may be gone
		delete(e.subs, subject)
	}
}

// known reports whether all that a rollout needs is heard already, which changes only when
// it turns round, or the subscriptions are open for a later one.
func (e *subscriptions) known(r journal.Record) bool {
	now := e.opened[r.State.Release.App]
	return r.Sequence < now.sequence || now.rollout == r.State.ID && now.backward == (r.State.Backward != nil)
}

// opening is the rollout of an app that the subscriptions are open for, and whether it goes
// backward, as of one event.
type opening struct {
	rollout  string
	backward bool
	sequence uint64
	subjects []string // that are open for it
}

// apps lists those whose newest rollouts listen to subject.
func (e *subscriptions) apps(subject string) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if found := e.subs[subject]; found != nil {
		return slices.Sorted(maps.Keys(found.apps))
	}
	return nil
}

// close ends all subscriptions and waits for the answers that are being taken: they
// still find the apps that they are for, and are not refused.
func (e *subscriptions) close() {
	e.mu.Lock()
	for _, found := range e.subs {
		_ = found.sub.Unsubscribe() // the connection may be gone
	}
	e.mu.Unlock()
	close(e.arriving) // the client puts nothing into it once it has unsubscribed
	e.taking.Wait()
	e.tasks.Dismiss()
}

package orchestrator

import (
	"maps"
	"slices"
	"sync"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// answerQueue is the queue group in which orchestrators listen to answers, so that
// one of them takes each.
const answerQueue = "golive"

// ears are the subscriptions to the answers and the progress of all scripts of the
// newest rollout of each app: also of those that do not run, whose answers have to be
// refused, or they are sent again for ever. It is safe for concurrent use.
type ears struct {
	o    *Orchestrator
	mu   sync.Mutex
	subs map[string]*ear // by subject
	crew crew            // takes the answers

	heard map[string]hearing // by app
}

type ear struct {
	sub  *nats.Subscription
	apps map[string]bool // whose newest rollouts have the script
}

func newEars(o *Orchestrator) *ears {
	return &ears{o: o, subs: make(map[string]*ear), heard: make(map[string]hearing)}
}

// wanted lists what a rollout needs to be heard of.
func wanted(s rollout.State) map[string]func(*Orchestrator) (*nats.Subscription, error) {
	all := make(map[string]func(*Orchestrator) (*nats.Subscription, error))
	for _, step := range s.Steps {
		if step.Kind != rollout.Migration {
			continue
		}
		script := step.Script()
		verbs := []protocol.Verb{protocol.Done, protocol.Failed}
		if s.Backward != nil {
			verbs = append(verbs, protocol.Reverted, protocol.RevertFailed)
		}
		for _, verb := range verbs {
			subject := script.Subject(verb)
			all[subject] = func(o *Orchestrator) (*nats.Subscription, error) {
				return o.nc.QueueSubscribe(subject, answerQueue, func(m *nats.Msg) {
					o.ears.crew.do(func() { o.heardAnswer(script, verb, m) })
				})
			}
		}
		progress := script.Subject(protocol.Progress)
		all[progress] = func(o *Orchestrator) (*nats.Subscription, error) {
			return o.nc.Subscribe(progress, func(m *nats.Msg) { o.heardProgress(script.Step(), m) })
		}
	}
	return all
}

// hear makes sure that everything the rollout needs is heard before what is published
// on the same connection from now on.
func (e *ears) hear(r journal.Record) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.open(r) {
		return nil
	}
	return e.add(r)
}

// open reports whether all that a rollout needs is heard already, which changes only when
// it turns round, or the ears are open for a later one.
func (e *ears) open(r journal.Record) bool {
	now := e.heard[r.State.Release.App]
	return r.Sequence < now.sequence || now.rollout == r.State.ID && now.backward == (r.State.Backward != nil)
}

// hearing is the rollout of an app that the ears are open for, and whether it goes
// backward, as of one event.
type hearing struct {
	rollout  string
	backward bool
	sequence uint64
}

func (e *ears) add(r journal.Record) error {
	s := r.State
	for subject, subscribe := range wanted(s) {
		if e.subs[subject] == nil {
			sub, err := subscribe(e.o)
			if err != nil {
				return err
			}
			e.subs[subject] = &ear{sub: sub, apps: make(map[string]bool)}
		}
		e.subs[subject].apps[s.Release.App] = true
	}
	e.heard[s.Release.App] = hearing{s.ID, s.Backward != nil, r.Sequence}
	return nil
}

// adjust opens what the newest rollout of an app needs, and closes what only one
// before it needed.
func (e *ears) adjust(r journal.Record) {
	s := r.State
	if len(s.Steps) == 0 { // it has not begun
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.open(r) {
		return
	}
	if err := e.add(r); err != nil {
		e.o.log.Warn("listen", zap.String("rollout", s.ID), zap.Error(err)) // the work item does it again
	}
	need := wanted(s)
	for subject, found := range e.subs {
		if need[subject] != nil || !found.apps[s.Release.App] {
			continue
		}
		delete(found.apps, s.Release.App)
		if len(found.apps) == 0 {
			_ = found.sub.Unsubscribe() // the connection may be gone
			delete(e.subs, subject)
		}
	}
}

// apps lists those whose newest rollouts listen to subject.
func (e *ears) apps(subject string) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if found := e.subs[subject]; found != nil {
		return slices.Sorted(maps.Keys(found.apps))
	}
	return nil
}

// close ends all subscriptions and waits for the answers that are being taken: they
// still find the apps that they are for, and are not refused.
func (e *ears) close() {
	defer e.crew.dismiss()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, found := range e.subs {
		_ = found.sub.Unsubscribe() // the connection may be gone
	}
}

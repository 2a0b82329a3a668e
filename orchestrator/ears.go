package orchestrator

import (
	"maps"
	"slices"
	"sync"

	"github.com/nats-io/nats.go"

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

// hear opens what the newest rollout of an app needs, before what is published on the same
// connection from now on, and closes what only one before it needed.
func (e *ears) hear(r journal.Record) error {
	if len(r.State.Steps) == 0 { // it has not begun
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.open(r) {
		return nil
	}
	app, need := r.State.Release.App, wanted(r.State)
	for subject, subscribe := range need {
		if e.subs[subject] == nil {
			sub, err := subscribe(e.o)
			if err != nil {
				return err
			}
			e.subs[subject] = &ear{sub: sub, apps: make(map[string]bool)}
		}
		e.subs[subject].apps[app] = true
	}
	for _, subject := range e.heard[app].subjects {
		if need[subject] == nil {
			e.leave(app, subject)
		}
	}
	e.heard[app] = hearing{r.State.ID, r.State.Backward != nil, r.Sequence, slices.Collect(maps.Keys(need))}
	return nil
}

// leave closes a subject that an app no longer needs, if no other one does.
func (e *ears) leave(app, subject string) {
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
	subjects []string // that are heard for it
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

package orchestrator

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// observed is what has been observed of a running attempt, as it is told to others, and what
// is done about it here.
type observed struct {
	api.Observation

	started time.Time     // when its start was last sent from here
	checked time.Time     // when its silence was last looked into
	pause   time.Duration // until that is done again
	speed   *speed        // of its progress
}

// view holds the open rollouts as the journal tells them, and what was observed
// of their running attempts. It is safe for concurrent use.
type view struct {
	mu       sync.Mutex
	open     map[string]*viewed // by rollout
	followed uint64             // the sequence that the journal was followed to
	further  chan struct{}      // closed and replaced when it is followed further
	apps     map[string]*viewedApp
	ended    map[string]uint64 // rollouts whose end the journal was not followed to yet: its sequence
}

// viewedApp is what is known here of an app.
type viewedApp struct {
	newest uint64             // sequence of its newest known event
	open   map[string]*viewed // by rollout
	unread string             // a rollout of which an event cannot be read here; empty: none
}

type viewed struct {
	record  journal.Record
	steps   map[string]*observed // by attempt
	changed chan struct{}        // closed and replaced when the record is
}

func newView() *view {
	return &view{
		open: make(map[string]*viewed), further: make(chan struct{}),
		apps: make(map[string]*viewedApp), ended: make(map[string]uint64),
	}
}

func attemptKey(step string, attempt int) string { return fmt.Sprintf("%s#%d", step, attempt) }

// track takes in the journal's next event, and forgets a rollout that is final.
func (x *view) track(r journal.Record) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.set(r)
}

// follow says that everything up to sequence has been taken in, here and elsewhere.
func (x *view) follow(sequence uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.followed = sequence
	maps.DeleteFunc(x.ended, func(_ string, end uint64) bool { return end <= sequence })
	close(x.further)
	x.further = make(chan struct{})
}

// reached reports whether everything up to sequence has been taken in, and gives a
// channel that is closed when more is.
func (x *view) reached(sequence uint64) (bool, <-chan struct{}) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.followed >= sequence, x.further
}

// newestOf is the sequence of the newest known event of an app; 0 when none is known.
func (x *view) newestOf(app string) uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	if known := x.apps[app]; known != nil {
		return known.newest
	}
	return 0
}

// meet takes in an event that whoever follows the journal may not have come to yet.
func (x *view) meet(r journal.Record) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if r.Sequence > x.followed {
		x.set(r)
	}
}

func (x *view) set(r journal.Record) {
	name := r.State.Release.App
	if x.apps[name] == nil {
		x.apps[name] = &viewedApp{open: make(map[string]*viewed)}
	}
	app := x.apps[name]
	app.newest = max(app.newest, r.Sequence)
	if r.Sequence < x.ended[r.State.ID] {
		return // it comes late
	}
	found := x.open[r.State.ID]
	if found == nil {
		found = &viewed{steps: make(map[string]*observed), changed: make(chan struct{})}
		x.open[r.State.ID], app.open[r.State.ID] = found, found
	}
	if r.Sequence > found.record.Sequence {
		found.record = r
		close(found.changed)
		found.changed = make(chan struct{})
	}
	if r.State.Status.Final() {
		delete(x.open, r.State.ID)
		delete(app.open, r.State.ID)
		if r.Sequence > x.followed {
			x.ended[r.State.ID] = r.Sequence
		}
	}
}

// forget takes out a rollout of which an event cannot be read here.
func (x *view) forget(r journal.Record) {
	x.mu.Lock()
	defer x.mu.Unlock()
	name := r.State.Release.App
	if x.apps[name] == nil {
		x.apps[name] = &viewedApp{open: make(map[string]*viewed)}
	}
	app := x.apps[name]
	app.newest, app.unread = max(app.newest, r.Sequence), r.State.ID
	delete(app.open, r.State.ID)
	if found := x.open[r.State.ID]; found != nil {
		close(found.changed)
		found.changed = make(chan struct{})
		delete(x.open, r.State.ID)
	}
}

// readable is [rollout.ErrUnknown] if an app has a rollout that cannot be read here: nothing
// else of the app may begin then.
func (x *view) readable(app string) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if known := x.apps[app]; known != nil && known.unread != "" {
		return fmt.Errorf("rollout %s of %s is %w", known.unread, app, rollout.ErrUnknown)
	}
	return nil
}

// newest is the newest known state of an open rollout.
func (x *view) newest(id string) (journal.Record, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	found := x.open[id]
	if found == nil {
		return journal.Record{}, false
	}
	return found.record, true
}

// newsPatience is how long an event of somebody else is waited for, until the leader is asked.
const newsPatience = 250 * time.Millisecond

// awaitNewer gives the rollout once it is known here with an event after the one at a sequence;
// false when that takes too long.
func (x *view) awaitNewer(ctx context.Context, id string, sequence uint64) (journal.Record, bool) {
	late := time.NewTimer(newsPatience)
	defer late.Stop()
	for {
		x.mu.Lock()
		found := x.open[id]
		if found == nil {
			x.mu.Unlock()
			return journal.Record{}, false
		}
		r, changed := found.record, found.changed
		x.mu.Unlock()
		if r.Sequence > sequence {
			return r, true
		}
		select {
		case <-changed:
		case <-late.C:
			return journal.Record{}, false
		case <-ctx.Done():
			return journal.Record{}, false
		}
	}
}

// all lists the open rollouts.
func (x *view) all() []journal.Record {
	x.mu.Lock()
	defer x.mu.Unlock()
	records := make([]journal.Record, 0, len(x.open))
	for _, s := range x.open {
		records = append(records, s.record)
	}
	return records
}

// wants reports whether a step of a rollout is still to be acted on in the same way, as far
// as is known, and gives a channel that is closed when something happens to the rollout.
func (x *view) wants(id string, step rollout.Step) (_ <-chan struct{}, wanted bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	found := x.open[id]
	if found == nil {
		return nil, false
	}
	for _, now := range found.record.State.Todo() {
		if now.ID == step.ID {
			same := now.Attempt == step.Attempt && now.Cancelled == step.Cancelled && now.Backwards() == step.Backwards()
			return found.changed, same
		}
	}
	return nil, false
}

// note changes what is known of the newest attempt of a step, or of the one after it,
// which may be heard of before the journal tells that it runs.
func (x *view) note(id, step string, attempt int, change func(*observed)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	found := x.open[id]
	if found == nil {
		return
	}
	if newest, known := found.record.State.Step(step); !known || attempt < newest.Attempt || attempt > newest.Attempt+1 {
		return
	}
	key := attemptKey(step, attempt)
	if found.steps[key] == nil {
		found.steps[key] = &observed{}
	}
	change(found.steps[key])
}

// of gives what is known of an attempt.
func (x *view) of(id, step string, attempt int) observed {
	x.mu.Lock()
	defer x.mu.Unlock()
	if found := x.open[id]; found != nil {
		if s := found.steps[attemptKey(step, attempt)]; s != nil {
			return *s
		}
	}
	return observed{}
}

// maxSilence is the longest time between two looks into the silence of an attempt.
const maxSilence = 4 * time.Second

// silent reports whether an attempt has been silent for long enough to look into it: after
// the time first, and then again after longer ones.
func (x *view) silent(s rollout.State, step rollout.Step, first time.Duration) (look bool) {
	x.note(s.ID, step.ID, step.Attempt, func(seen *observed) {
		switch {
		case !seen.Beat.IsZero():
		case seen.pause == 0:
			seen.checked, seen.pause = time.Now(), first
		case time.Since(seen.checked) >= seen.pause:
			seen.checked, seen.pause, look = time.Now(), min(2*seen.pause, max(maxSilence, first)), true
		}
	})
	return look
}

// ofApp lists the open rollouts of an app, by the sequence of their newest events.
func (x *view) ofApp(app string) []journal.Record {
	x.mu.Lock()
	defer x.mu.Unlock()
	var all []journal.Record
	if known := x.apps[app]; known != nil {
		for _, s := range known.open {
			all = append(all, s.record)
		}
	}
	slices.SortFunc(all, func(a, b journal.Record) int { return cmp.Compare(a.Sequence, b.Sequence) })
	return all
}

// tell makes a notice known here and everywhere.
func (o *Orchestrator) tell(s rollout.State, n api.Notice) {
	n.From, n.Rollout = o.id, s.ID
	known := o.view.of(n.Rollout, n.Step, n.Attempt)
	changed := known.Sent != n.Sent || known.Waiting != n.Waiting
	if !changed && n.Waiting == "" {
		return // a wait is told again and again, for those who have begun to listen meanwhile
	}
	o.notice(n)
	data, err := json.Marshal(n)
	if err == nil {
		err = o.nc.Publish(protocol.NoticeSubject(s.Release.App, s.ID), data)
	}
	if err != nil {
		o.log.Debug("notice", zap.Error(err))
	}
	if changed && n.Waiting != "" && !n.Sent {
		o.log.Info("waiting", zap.String("rollout", s.ID), zap.String("step", n.Step), zap.String("for", n.Waiting))
	}
}

func (o *Orchestrator) notice(n api.Notice) {
	o.view.note(n.Rollout, n.Step, n.Attempt, func(s *observed) {
		s.Sent = s.Sent || n.Sent
		s.Waiting = n.Waiting
	})
}

func (o *Orchestrator) hearNotices(ctx context.Context) error {
	own := []byte(`{"from":"` + o.id + `"`)
	sub, err := o.nc.Subscribe(protocol.AllNotices, func(m *nats.Msg) {
		var n api.Notice
		if bytes.HasPrefix(m.Data, own) {
			return
		}
		if json.Unmarshal(m.Data, &n) == nil {
			o.notice(n)
		}
	})
	if err != nil {
		return fmt.Errorf("listen to %s: %w", protocol.AllNotices, err)
	}
	<-ctx.Done()
	_ = sub.Unsubscribe() // the connection may be gone
	return nil
}

// heardProgress takes in a sign of life. Without an attempt it is about the first one.
func (o *Orchestrator) heardProgress(step string, m *nats.Msg) {
	var p protocol.ProgressMessage
	if len(m.Data) > 0 && json.Unmarshal(m.Data, &p) != nil {
		return
	}
	p.Rollout, p.Attempt = about(m, p.Rollout, p.Attempt)
	o.view.note(p.Rollout, step, max(p.Attempt, 1), func(s *observed) {
		s.Beat, s.Sent, s.Waiting = time.Now().UTC(), true, ""
		if p.Done != nil && *p.Done >= 0 {
			s.progress(p)
		}
	})
}

// progress takes in how far a script says to have come. Of one that does not say how fast it
// is, that is found out.
func (s *observed) progress(p protocol.ProgressMessage) {
	s.Done, s.Total, s.Note = *p.Done, max(p.Total, 0), clip(p.Note)
	s.Rate, s.Average, s.Limit = sane(p.Rate), sane(p.Average), sane(p.Limit)
	s.Held, s.PutAside = clip(p.Held), max(p.PutAside, 0)
	if s.speed == nil {
		s.speed = &speed{}
	}
	s.speed.told = s.speed.told || s.Rate > 0 || s.Average > 0
	if !s.speed.told {
		s.Rate, s.Average = s.speed.take(point{s.Beat, s.Done})
	}
}

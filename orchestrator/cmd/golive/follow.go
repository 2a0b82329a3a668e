package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/orchestrator"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

const (
	tellRunning = 10 * time.Second // how often a line says that something still runs
	tellWaiting = 3 * time.Second  // how long something waits before a line says so: a program may just be starting
)

// follower follows one rollout to its end.
type follower struct {
	nc    *nats.Conn
	story *story
	since uint64                     // sequence of the event from which on the story is told; 0: from the beginning
	after uint64                     // sequence of the event to go on from; 0: from the beginning
	each  func(journal.Record) error // called with every event; nil: not

	subs []*nats.Subscription // of listen

	mu       sync.Mutex
	running  map[string]*pulse // by step
	progress map[string]*nats.Subscription
}

var errEnded = errors.New("the rollout has ended")

// follow tells a rollout's story until it has ended or failed, and gives its last
// event. When ctx ends first it gives the last one so far and the error of ctx.
func (f *follower) follow(ctx context.Context, j *journal.Journal, app, id string) (journal.Record, error) {
	f.running, f.progress = make(map[string]*pulse), make(map[string]*nats.Subscription)
	err := f.listen(app, id)
	defer func() {
		for _, s := range append(f.subs, mapValues(f.progress)...) {
			_ = s.Unsubscribe() // the connection may be gone
		}
	}()
	if err != nil {
		return journal.Record{}, err
	}
	newest, err := j.Load(ctx, app, id)
	if err != nil {
		return journal.Record{}, err
	}
	done := make(chan struct{})
	var ticking sync.WaitGroup
	ticking.Go(func() { f.tick(done) })
	defer func() { close(done); ticking.Wait() }()

	var last journal.Record
	err = j.FollowSubject(ctx, protocol.RolloutSubject(app, id), f.after, func(r journal.Record) error {
		last = r
		f.take(r)
		if f.each != nil && r.Sequence >= f.since {
			if err := f.each(r); err != nil {
				return err
			}
		}
		// A failure that was retried before we came is not the end.
		if s := r.State.Status; (s.Final() || s == rollout.Failed) && r.Sequence >= newest.Sequence {
			return errEnded
		}
		return nil
	})
	if errors.Is(err, errEnded) {
		return last, nil
	}
	if err == nil {
		err = ctx.Err()
	}
	return last, err
}

func mapValues[K comparable, V any](m map[K]V) []V {
	all := make([]V, 0, len(m))
	for _, v := range m {
		all = append(all, v)
	}
	return all
}

// listen hears what is told of a rollout only once. Called before the rollout begins, it
// misses nothing.
func (f *follower) listen(app, id string) error {
	if f.subs != nil {
		return nil
	}
	notices, err := f.nc.Subscribe(protocol.NoticeSubject(app, id), f.notice)
	if err != nil {
		return fmt.Errorf("listen to the rollout: %w", err)
	}
	f.subs = append(f.subs, notices)
	logs, err := f.nc.Subscribe(protocol.LogSubject(id), func(m *nats.Msg) {
		var l protocol.LogLine
		if json.Unmarshal(m.Data, &l) == nil {
			f.story.output(l.Step, l.Text)
		}
	})
	if err != nil {
		return fmt.Errorf("listen to the rollout: %w", err)
	}
	f.subs = append(f.subs, logs)
	return nil
}

// take tells an event and keeps track of what runs.
func (f *follower) take(r journal.Record) {
	created, past := r.State.Event.Type == rollout.Created, r.Sequence < f.since
	switch {
	case created && past:
		f.story.head(r.State)
	case created:
		f.story.plan(r.State)
	}
	if past {
		f.story.know(r.State)
	} else {
		f.story.tell(r.State)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	now := make(map[string]*pulse)
	for _, step := range r.State.Running() {
		now[step.ID] = &pulse{step: step.ID, since: step.Started}
		if known := f.running[step.ID]; known != nil && known.since.Equal(step.Started) {
			now[step.ID] = known
		}
		f.hearProgress(step)
	}
	f.running = now
}

// hearProgress listens to what a running script tells of itself.
func (f *follower) hearProgress(step rollout.Step) {
	if step.Kind != rollout.Migration || f.progress[step.ID] != nil {
		return
	}
	sub, err := f.nc.Subscribe(step.Script().Subject(protocol.Progress), func(m *nats.Msg) {
		var p protocol.ProgressMessage
		if json.Unmarshal(m.Data, &p) != nil || p.Done == nil {
			return
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if r := f.running[step.ID]; r != nil {
			r.done, r.total, r.note, r.waiting = *p.Done, p.Total, p.Note, ""
			if elapsed := time.Since(r.since).Seconds(); elapsed > 0 {
				r.rate = float64(r.done) / elapsed
			}
		}
	})
	if err == nil { // else the story has no progress, which is no reason to end it
		f.progress[step.ID] = sub
	}
}

func (f *follower) notice(m *nats.Msg) {
	var n orchestrator.Notice
	if json.Unmarshal(m.Data, &n) != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if r := f.running[n.Step]; r != nil {
		r.waiting = n.Waiting
	}
}

// tick says what still runs, and soon when something waits.
func (f *follower) tick(done <-chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case now := <-tick.C:
			for _, p := range f.worthTelling(now) {
				f.story.running(p)
			}
		}
	}
}

// worthTelling lists what has run, or waited, for long enough to be told (again).
func (f *follower) worthTelling(now time.Time) []pulse {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []pulse
	for _, p := range f.running {
		since := now.Sub(latest(p.since, p.told))
		waits := p.waiting != "" && p.told.IsZero() && now.Sub(p.since) >= tellWaiting
		if waits || since >= tellRunning {
			p.told = now
			all = append(all, *p)
		}
	}
	slices.SortFunc(all, func(a, b pulse) int { return strings.Compare(a.step, b.step) })
	return all
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

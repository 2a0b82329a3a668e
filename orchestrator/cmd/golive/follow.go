package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

const (
	tellRunning = 10 * time.Second       // how often a line says that something still runs
	tellWaiting = 3 * time.Second        // how long something waits before a line says so: a program may just be starting
	drawEvery   = 250 * time.Millisecond // how often the lines at the bottom of a terminal are drawn
)

// follower follows one rollout to its end.
type follower struct {
	nc    *nats.Conn
	story *story
	since uint64                     // sequence of the event from which on the story is told; 0: from the beginning
	after uint64                     // sequence of the event to go on from; 0: from the beginning
	each  func(journal.Record) error // called with every event; nil: not
	lines func(any) error            // prints, for programs, each event and how far scripts are; nil: not
	seen  map[string]api.Observation

	desk   *desk                                   // where approvals are asked for; nil: nowhere
	person func(rollout.State, rollout.Step) error // called when an approval waits; an error ends following; nil: not

	subs    []*nats.Subscription // of listen
	logs    chan *nats.Msg       // lines of scripts
	showing sync.Mutex           // held while they are shown

	mu       sync.Mutex
	id       string            // of the rollout
	running  map[string]*pulse // by step
	progress map[string]*nats.Subscription
}

var errEnded = errors.New("the rollout has ended")

// follow tells a rollout's story until it has ended or failed, and gives its last
// event. When ctx ends first it gives the last one so far and the error of ctx.
func (f *follower) follow(ctx context.Context, j *journal.Journal, app, id string) (journal.Record, error) {
	f.mu.Lock() // it may listen already
	f.id, f.running, f.progress = id, make(map[string]*pulse), make(map[string]*nats.Subscription)
	f.mu.Unlock()
	err := f.listen(app, id)
	defer f.leave()
	if err != nil {
		return journal.Record{}, err
	}
	newest, err := j.Load(ctx, app, id)
	if err != nil {
		return journal.Record{}, err
	}
	asking, stopAsking := context.WithCancel(ctx)
	defer func() {
		stopAsking()
		if f.desk != nil {
			f.desk.asking.Wait()
		}
	}()
	done := make(chan struct{})
	var ticking sync.WaitGroup
	ticking.Go(func() { f.tick(done) })
	defer func() { close(done); ticking.Wait(); f.story.draw(nil, time.Time{}) }()

	var last journal.Record
	err = j.FollowSubject(ctx, protocol.RolloutSubject(app, id), f.after, func(r journal.Record) error {
		last = r
		if err := f.take(r); err != nil {
			return err
		}
		if f.each != nil && r.Sequence >= f.since {
			if err := f.each(r); err != nil {
				return err
			}
		}
		if r.Sequence < newest.Sequence { // a failure that was retried before we came is not the end
			return nil
		}
		if f.desk != nil {
			f.desk.see(asking, r.State)
		}
		if step, waits := waitingFor(r.State); waits && f.person != nil {
			if err := f.person(r.State, step); err != nil {
				return err
			}
		}
		if stands(r.State) {
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

// stands reports whether a rollout has ended, or goes on only if somebody wants it to.
func stands(s rollout.State) bool {
	return s.Status.Final() || s.Held() || s.Status == rollout.Failed && !s.TurnsBack()
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
	f.logs = make(chan *nats.Msg, maxLogged)
	logs, err := f.nc.ChanSubscribe(protocol.LogSubject(id), f.logs)
	if err != nil {
		return fmt.Errorf("listen to the rollout: %w", err)
	}
	f.subs = append(f.subs, logs)
	return nil
}

// maxLogged is how many lines of scripts may wait to be shown; more than that are dropped.
const maxLogged = 64 << 10

// showLogs shows the lines of scripts that have come by now. The connection hands them over in
// the order of what it gets: called before an event is told, it shows what was logged before
// that.
func (f *follower) showLogs() {
	f.showing.Lock()
	defer f.showing.Unlock()
	for {
		select {
		case m := <-f.logs:
			var l protocol.LogLine
			if json.Unmarshal(m.Data, &l) == nil {
				f.story.stepOutput(l.Step, l.Attempt, l.Text)
			}
		default:
			return
		}
	}
}

// leave stops listening.
func (f *follower) leave() {
	f.showLogs()
	f.story.showEarly()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range append(f.subs, mapValues(f.progress)...) {
		_ = s.Unsubscribe() // the connection may be gone
	}
}

// take tells an event and keeps track of what runs.
func (f *follower) take(r journal.Record) error {
	f.showLogs()
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
	if f.lines != nil && !past {
		if err := f.lines(api.RolloutView{State: r.State, Sequence: r.Sequence}); err != nil {
			return err
		}
	}
	now := make(map[string]*pulse)
	for _, step := range r.State.Running() {
		p := f.running[step.ID]
		if p == nil || !p.since.Equal(step.Started) {
			p = newPulse(step)
		}
		if seen, known := f.seen[step.ID]; known && r.Sequence == f.since && p.Beat.IsZero() { // of this very state
			p.take(seen)
		}
		if p.asks {
			p.Waiting = tellApproval(r.State, step)
		}
		p.paused = pausedBy(r.State, step)
		now[step.ID] = p
		f.hearProgress(step)
	}
	f.running = now
	return nil
}

// pausedBy is by whom a step is paused, and why; empty when it is not.
func pausedBy(s rollout.State, step rollout.Step) string {
	pause := step.Paused
	if s.Paused != nil {
		pause = s.Paused
	}
	if pause == nil || step.Kind != rollout.Migration && step.Work == nil {
		return ""
	}
	if text := because(rollout.Event{By: pause.By, Reason: pause.Reason}); text != "" {
		return text
	}
	return " by somebody"
}

// hearProgress listens to what a running script tells of itself.
func (f *follower) hearProgress(step rollout.Step) {
	if step.Kind != rollout.Migration || f.progress[step.ID] != nil {
		return
	}
	sub, err := f.nc.Subscribe(step.Script().Subject(protocol.Progress), func(m *nats.Msg) {
		var p protocol.ProgressMessage
		if len(m.Data) > 0 && json.Unmarshal(m.Data, &p) != nil {
			return
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		r := f.running[step.ID]
		if r == nil || !f.isOf(m, p, r.attempt) {
			return
		}
		r.hear(p, time.Now())
		f.story.averaged(r.step, r.Average)
	})
	if err == nil { // else the story has no progress, which is no reason to end it
		f.progress[step.ID] = sub
	}
}

// isOf reports whether a progress message is about an attempt of the rollout. It need not
// say what it is about in its payload: headers will do, and who has none of either is shown as
// the attempt that runs.
func (f *follower) isOf(m *nats.Msg, p protocol.ProgressMessage, attempt int) bool {
	if id := m.Header.Get(protocol.HeaderRollout); p.Rollout == "" {
		p.Rollout = id
	}
	if number, err := strconv.Atoi(m.Header.Get(protocol.HeaderAttempt)); p.Attempt == 0 && err == nil {
		p.Attempt = number
	}
	return (p.Rollout == "" || p.Rollout == f.id) && (p.Attempt == 0 || p.Attempt == attempt)
}

func (f *follower) notice(m *nats.Msg) {
	var n api.Notice
	if json.Unmarshal(m.Data, &n) != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if r := f.running[n.Step]; r != nil {
		r.Sent, r.Waiting = n.Sent, n.Waiting
		r.take(r.Observation)
	}
}

// tick says what still runs, and soon when something waits: in lines at the bottom of the
// terminal, else in a line from time to time.
func (f *follower) tick(done <-chan struct{}) {
	tick := time.NewTicker(drawEvery)
	defer tick.Stop()
	logs := time.NewTicker(drawEvery / 10)
	defer logs.Stop()
	for n := 1; ; n++ {
		select {
		case <-done:
			return
		case <-logs.C:
			n--
			f.showLogs()
		case now := <-tick.C:
			if f.story.drawn() {
				f.story.draw(f.all(), now)
			}
			if n%int(time.Second/drawEvery) != 0 {
				continue
			}
			for _, p := range f.worthTelling(now) {
				f.story.running(p)
			}
			f.printProgress(now)
		}
	}
}

// all is what runs, in the order of its beginning.
func (f *follower) all() []pulse {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]pulse, 0, len(f.running))
	for _, p := range f.running {
		all = append(all, *p)
	}
	slices.SortFunc(all, func(a, b pulse) int {
		return cmp.Or(a.since.Compare(b.since), strings.Compare(a.step, b.step))
	})
	return all
}

// worthTelling lists what has run, or waited, for long enough to be told (again). Where
// lines are drawn, they tell it, and only that something waits is told once.
func (f *follower) worthTelling(now time.Time) []pulse {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []pulse
	for _, p := range f.running {
		since := now.Sub(latest(p.since, p.told))
		waits := p.Waiting != "" && !p.asks && p.told.IsZero() && now.Sub(p.since) >= tellWaiting
		if waits || since >= tellRunning && !f.story.drawn() {
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

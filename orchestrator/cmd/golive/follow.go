package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/report"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/terminal"
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
	story *narrator
	since uint64                    // sequence of the event from which on the story is told; 0: from the beginning
	after uint64                    // sequence of the event to go on from; 0: from the beginning
	each  func(rollout.State) error // called with every state; nil: not
	lines func(any) error           // prints, for programs, each event and how far scripts are; nil: not
	seen  map[string]api.Observation

	desk   *desk                                   // where approvals are asked for; nil: nowhere
	person func(rollout.State, rollout.Step) error // called when an approval waits; an error ends following; nil: not

	subs    []*nats.Subscription // of listen
	logs    chan *nats.Msg       // lines of scripts
	showing sync.Mutex           // held while they are shown
	last    uint64               // sequence of the event that was told last
	held    time.Time            // since when lines are held, for an event to be told before them; zero: they are not

	mu       sync.Mutex
	id       string              // of the rollout
	running  map[string]*running // by step
	progress map[string]*nats.Subscription
}

// running is a step that runs, and what was told of it.
type running struct {
	report.Pulse
	told    time.Time // when a line last said that it runs
	printed string    // the progress line that was printed last
}

// errEnded ends following.
var errEnded = errors.New("the rollout has ended")

// follow tells a rollout's story until it has ended or failed, and gives its last state, with
// the sequence of its event. When ctx ends first it gives the last one so far and the error
// of ctx.
func (f *follower) follow(ctx context.Context, from events, app, id string) (api.RolloutView, error) {
	f.mu.Lock() // it may listen already
	f.id, f.running, f.progress = id, make(map[string]*running), make(map[string]*nats.Subscription)
	f.mu.Unlock()
	err := f.listen(app, id)
	defer f.leave()
	if err != nil {
		return api.RolloutView{}, err
	}
	asking, stopAsking := context.WithCancel(ctx)
	defer func() {
		stopAsking()
		if f.desk != nil {
			f.desk.asking.Wait()
		}
	}()
	defer f.startTicking()()
	var last api.RolloutView
	err = from.follow(ctx, id, f.after, func(v api.Followed) error {
		last = v.RolloutView
		if err := f.take(last); err != nil {
			return err
		}
		if f.each != nil && v.Sequence >= f.since {
			if err := f.each(v.State); err != nil {
				return err
			}
		}
		if v.Past { // a failure that was retried before we came is not the end
			return nil
		}
		return f.react(asking, v.State)
	})
	if errors.Is(err, errEnded) {
		return last, nil
	}
	if err == nil {
		err = ctx.Err()
	}
	return last, err
}

// react has people asked for what the rollout waits for, and ends following where there is
// nothing more to follow.
func (f *follower) react(asking context.Context, s rollout.State) error {
	if f.desk != nil {
		f.desk.see(asking, s)
	}
	if step, waits := report.WaitingFor(s); waits && f.person != nil {
		if err := f.person(s, step); err != nil {
			return err
		}
	}
	if report.Stands(s) {
		return errEnded
	}
	return nil
}

// events are where a follower gets what happens to a rollout from: all of it comes in here.
type events struct{ client *api.Client }

// follow calls each with every state of the rollout, from behind an event on (0: from its
// beginning), and with those that come, until ctx ends or each gives an error.
func (e events) follow(ctx context.Context, id string, after uint64, each func(api.Followed) error) error {
	return e.client.Follow(ctx, id, after, each)
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
	// The events themselves come by the API. That they happen is heard of as early as what is
	// logged because of them.
	happens, err := f.nc.ChanSubscribe(protocol.RolloutSubject(app, id), f.logs)
	if err != nil {
		return fmt.Errorf("listen to the rollout: %w", err)
	}
	f.subs = append(f.subs, happens)
	return nil
}

// leave stops listening.
func (f *follower) leave() {
	f.showLogs()
	f.story.tell((*report.Story).Rest)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range append(f.subs, slices.Collect(maps.Values(f.progress))...) {
		_ = s.Unsubscribe() // the connection may be gone
	}
}

// take tells an event and keeps track of what runs.
func (f *follower) take(v api.RolloutView) error {
	f.showLogs()
	past := v.Sequence < f.since
	f.story.tell(func(s *report.Story) []terminal.Line { return tellState(s, v.State, past) })
	f.has(v.Sequence)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lines != nil && !past {
		if err := f.lines(v); err != nil {
			return err
		}
	}
	now := make(map[string]*running)
	for _, step := range v.Running() {
		p := f.running[step.ID]
		if p == nil || !p.Since.Equal(step.Started) {
			p = &running{Pulse: report.NewPulse(step)}
		}
		if seen, known := f.seen[step.ID]; known && v.Sequence == f.since && p.Beat.IsZero() { // of this very state
			p.Take(seen)
		}
		p.See(v.State, step)
		now[step.ID] = p
		f.hearProgress(step)
	}
	f.running = now
	return nil
}

// tellState tells a state; one of the past is not told, but for which rollout it is.
func tellState(s *report.Story, r rollout.State, past bool) []terminal.Line {
	switch created := r.Event.Type == rollout.Created; {
	case created && past:
		return append(report.Head(r), s.Know(r)...)
	case created:
		return append(report.Plan(r), s.Tell(r)...)
	case past:
		return s.Know(r)
	}
	return s.Tell(r)
}

// hearProgress listens to what a running script tells of itself.
func (f *follower) hearProgress(step rollout.Step) {
	if step.Kind != rollout.Migration || f.progress[step.ID] != nil {
		return
	}
	sub, err := f.nc.Subscribe(step.ScriptID().Subject(protocol.Progress), func(m *nats.Msg) {
		var p protocol.ProgressMessage
		if len(m.Data) > 0 && json.Unmarshal(m.Data, &p) != nil {
			return
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		r := f.running[step.ID]
		if r == nil || !f.isOf(m, r.Attempt) {
			return
		}
		r.Hear(p, terminal.Now())
		f.story.tell(func(s *report.Story) []terminal.Line { s.Averaged(r.Step, r.Average); return nil })
	})
	if err == nil { // else the story has no progress, which is no reason to end it
		f.progress[step.ID] = sub
	}
}

// isOf reports whether a progress message is about an attempt of the rollout. It need not
// say what it is about in its payload: headers will do, and who has none of either is shown as
// the attempt that runs. What says something that cannot be is about none.
func (f *follower) isOf(m *nats.Msg, running int) bool {
	rollout, attempt, err := protocol.About(m.Header, m.Data)
	return err == nil && (rollout == "" || rollout == f.id) && (attempt == 0 || attempt == running)
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
		r.Take(r.Observation)
	}
}

// startTicking has tick called; stop ends it, and takes away what is drawn.
func (f *follower) startTicking() (stop func()) {
	done := make(chan struct{})
	var ticking sync.WaitGroup
	ticking.Go(func() { f.tick(done) })
	return func() {
		close(done)
		ticking.Wait()
		f.shows(func() { f.story.Draw(nil) })
	}
}

// tick says what still runs, and soon when something waits: in lines at the bottom of the
// terminal, else in a line from time to time.
func (f *follower) tick(done <-chan struct{}) {
	tick := time.NewTicker(drawEvery)
	defer tick.Stop()
	logs := time.NewTicker(drawEvery / 10)
	defer logs.Stop()
	told := true
	for n := 1; ; n++ {
		select {
		case <-done:
			return
		case <-logs.C:
			n--
			f.showLogs()
		case now := <-tick.C:
			if f.story.Draws() && !f.shows(func() { f.story.Draw(report.Bars(f.all(), now)) }) {
				f.story.EndDrawing()
			}
			if told && n%int(time.Second/drawEvery) == 0 {
				told = f.shows(func() { f.tellLines(now) })
			}
		}
	}
}

// tellLines says in lines what has run, or waited, for long enough.
func (f *follower) tellLines(now time.Time) {
	for _, p := range f.worthTelling(now) {
		f.story.Tell(report.Running(&p, time.Now())...)
	}
	f.printProgress(now)
}

// all is what runs, in the order of its beginning.
func (f *follower) all() []report.Pulse {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]report.Pulse, 0, len(f.running))
	for _, p := range f.running {
		all = append(all, p.Pulse)
	}
	slices.SortFunc(all, func(a, b report.Pulse) int {
		return cmp.Or(a.Since.Compare(b.Since), strings.Compare(a.Step, b.Step))
	})
	return all
}

// worthTelling lists what has run, or waited, for long enough to be told (again). Where
// lines are drawn, they tell it, and only that something waits is told once.
func (f *follower) worthTelling(now time.Time) []report.Pulse {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []report.Pulse
	for _, p := range f.running {
		since := now.Sub(latest(p.Since, p.told))
		waits := p.Waiting != "" && !p.Asks && p.told.IsZero() && now.Sub(p.Since) >= tellWaiting
		if waits || since >= tellRunning && !f.story.Draws() {
			p.told = now
			all = append(all, p.Pulse)
		}
	}
	slices.SortFunc(all, func(a, b report.Pulse) int { return strings.Compare(a.Step, b.Step) })
	return all
}

// printProgress prints a line for each script about which something has changed. What has
// only just begun may be over at once: its events tell enough.
func (f *follower) printProgress(now time.Time) {
	if f.lines == nil {
		return
	}
	for _, p := range f.all() {
		if !p.Script && !p.Work && !p.Asks && !p.Takes || now.Sub(p.Since) < time.Second {
			continue
		}
		line := p.Progress(f.id, now)
		key := line.Key()
		f.mu.Lock()
		if r := f.running[p.Step]; r != nil && r.Attempt == p.Attempt && r.printed != key {
			r.printed = key
			_ = f.lines(report.ProgressLine{Progress: line}) // an event will notice that nobody reads any more
		}
		f.mu.Unlock()
	}
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

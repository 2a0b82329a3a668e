package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

const (
	tellEvery     = 250 * time.Millisecond // the figures of a backfill
	throttleEvery = time.Second            // the author's function is asked
	throttleLimit = 10 * time.Second       // for its answer
	batchesASec   = 5                      // at least, where the rate allows for it
)

// passage is how far a backfill has come: its checkpoint.
type passage struct {
	Size    int          `json:"size"`              // records of a batch
	Checked bool         `json:"checked,omitempty"` // the checks before it have held
	Parts   []*partition `json:"parts"`
}

// partition is a part of the source.
type partition struct {
	Name   string `json:"name,omitempty"`
	Cursor string `json:"cursor,omitempty"` // all records up to it are dealt with
	Done   int64  `json:"done,omitempty"`   // records
	Ended  bool   `json:"ended,omitempty"`  // there are no more

	gone  bool // the source does not have it any more
	given bool // in this attempt
}

// holding is a grant that was given.
type holding struct {
	grant
	part   *partition
	again  bool  // it was given before
	before int64 // records that were done when it was given
	aside  int64 // records, as told last
	heard  time.Time
	helper string // the instance that holds it; empty: this one
}

// conductor runs an attempt of a backfill. It gives partitions to lanes, here and in other
// instances, takes their marks, and is the only one that writes the checkpoint.
type conductor struct {
	plan
	run         *Run
	origin      string
	checkpoints *checkpoints // nil: none are kept
	aside       *aside       // nil: the first record that fails ends the work
	again       bool         // it deals with the records that were put aside
	idle        func() time.Duration
	valve       *valve // of this instance
	stop        context.CancelCauseFunc

	mu        sync.Mutex
	changed   chan struct{} // closed when something below has changed
	passage   passage
	holdings  map[string]*holding
	version   int   // of the passage
	saved     int   // version that is durable
	err       error // of saving; it was the last try
	over      bool  // nothing will change any more
	throttled string
	checking  string // the name of the check that runs; empty: none does
	total     int64
	putAside  int64
	moving    bool // the work is under way; else there are only checks
	meter     *meter
	average   float64 // as told last
}

func newConductor(run *Run, p plan) *conductor {
	c := &conductor{
		plan: p, run: run, origin: origin(run), again: run.Start.FailedRecords && run.Start.Rollout != "",
		changed: make(chan struct{}), holdings: make(map[string]*holding),
		checkpoints: run.checkpoints.under("backfill" + dotted(p.name)),
	}
	if p.putAside || c.again {
		c.aside = newAside(run, p.name, p.most)
	}
	c.valve = newValve(c.setting())
	return c
}

func dotted(name string) string {
	if name == "" {
		return ""
	}
	return "." + name
}

// conduct does the work of the attempt.
func (c *conductor) conduct(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	c.stop, c.idle = stop, idling(ctx)
	if err := c.prepare(ctx); err != nil {
		return err
	}
	if err := c.transfer(ctx); err != nil {
		return err
	}
	left, err := c.left(ctx)
	if err != nil {
		return err
	}
	if c.again && left > 0 {
		if !c.plan.putAside {
			return fmt.Errorf("%d of the records that were put aside could still not be dealt with", left)
		}
		return nil
	}
	return c.check(ctx, c.after)
}

// prepare finds out where to begin and what there is to do.
func (c *conductor) prepare(ctx context.Context) error {
	if err := c.load(ctx); err != nil {
		return err
	}
	if c.aside != nil {
		all, err := c.aside.list(ctx)
		if err != nil {
			return err
		}
		c.putAside = int64(len(all))
		if c.again {
			c.aside.most = 0
			size := c.passage.Size
			again, putAside, after := c.plan.again(c.aside, all), c.plan.putAside, c.plan.after
			c.plan, c.passage = again, passage{Size: size, Checked: true}
			c.plan.putAside, c.plan.after, c.checkpoints = putAside, after, nil
		}
	}
	if err := c.survey(ctx); err != nil {
		return err
	}
	if !c.passage.Checked {
		if err := c.check(ctx, c.before); err != nil {
			return err
		}
		c.passage.Checked = true
	}
	return c.save(ctx)
}

// load reads the checkpoint. From then on an earlier attempt can write none.
func (c *conductor) load(ctx context.Context) error {
	if c.checkpoints != nil {
		data, err := c.checkpoints.load(ctx)
		if err == nil && data != nil {
			err = json.Unmarshal(data, &c.passage)
		}
		if err != nil {
			return fmt.Errorf("load checkpoint: %w", err)
		}
	}
	if c.passage.Size > 0 {
		return nil
	}
	c.passage.Size = c.size
	if s := c.setting(); s.rate > 0 {
		c.passage.Size = int(max(1, min(float64(c.size), s.rate/batchesASec)))
	}
	return nil
}

// survey asks the source for its partitions and its size.
func (c *conductor) survey(ctx context.Context) error {
	names, err := []string{""}, error(nil)
	if c.partitions != nil {
		if names, err = askSource(ctx, c.run, c.retry, c.partitions); err != nil {
			return fmt.Errorf("partitions of the source: %w", err)
		}
	}
	for _, name := range names {
		if !utf8.ValidString(name) {
			return Permanent(fmt.Errorf("partitions of the source: %q is not UTF-8", name))
		}
	}
	if c.count != nil {
		if c.total, err = askSource(ctx, c.run, c.retry, c.count); err != nil {
			return fmt.Errorf("count the source: %w", err)
		}
	}
	known := make(map[string]*partition)
	for _, p := range c.passage.Parts {
		known[p.Name], p.gone = p, true
	}
	for _, name := range names {
		p := known[name]
		if p == nil {
			p = &partition{Name: name}
			known[name] = p
			c.passage.Parts = append(c.passage.Parts, p)
		}
		p.gone = false
	}
	return nil
}

// askSource asks one of the author's functions, and again while it fails.
func askSource[T any](ctx context.Context, run *Run, r retry, ask func(context.Context, *Run) (T, error)) (answer T, err error) {
	_, err = r.do(ctx, func() error {
		return guard(ctx, func(ctx context.Context, run *Run) (err error) { answer, err = ask(ctx, run); return err }, run)
	})
	return answer, err
}

// save writes the checkpoint, and blocks until it is durable.
func (c *conductor) save(ctx context.Context) error {
	c.mu.Lock()
	data := marshal(c.passage)
	c.mu.Unlock()
	if c.checkpoints == nil {
		return nil
	}
	if err := c.checkpoints.save(ctx, data); err != nil {
		return fmt.Errorf("save checkpoint: %w", err)
	}
	return nil
}

// transfer works until all partitions have ended, something fails or ctx ends.
func (c *conductor) transfer(ctx context.Context) error {
	idle, total := c.idle(), c.idle
	c.idle = func() time.Duration { return total() - idle } // not the pauses before it
	c.meter, c.moving = newMeter(time.Now(), c.done()), true
	c.tell(ctx)
	c.askThrottle(ctx)
	lasting, release := outlive(ctx, stopGrace)
	defer release()
	watching, stopWatching := context.WithCancel(ctx)
	var watchers, writer sync.WaitGroup
	watchers.Go(func() { c.followPace(watching) })
	watchers.Go(func() { c.followThrottle(watching) })
	watchers.Go(func() { c.keepTelling(watching) })
	watchers.Go(func() { c.invite(watching, lasting) })
	writer.Go(func() { c.write(lasting) })

	err := c.work(ctx)

	stopWatching()
	watchers.Wait()
	c.change(func() { c.over = true })
	writer.Wait()
	c.tell(ctx)
	c.moving = false
	if err == nil {
		err = c.err // the last marks were those of others
	}
	return err
}

// work is the part of this instance.
func (c *conductor) work(ctx context.Context) error {
	for {
		h, err := c.next(ctx)
		if err != nil || h == nil {
			return err
		}
		if h.again && c.aside != nil {
			_, err = c.aside.list(ctx) // who had it before may have put something aside
		}
		if err == nil {
			err = c.plan.work(ctx, terms{
				run: c.run, origin: c.origin, grant: h.grant, valve: c.valve, aside: c.aside,
				report: func(ctx context.Context, m mark) error { return c.report(ctx, h.ID, m) },
			})
		}
		if err != nil {
			c.stop(err)
			return context.Cause(ctx)
		}
	}
}

// next blocks until there is a partition for this instance; nil when all have ended.
func (c *conductor) next(ctx context.Context) (*holding, error) {
	for {
		c.mu.Lock()
		h, all := c.give("")
		changed := c.changed
		c.mu.Unlock()
		if h != nil {
			c.adjust()
			return h, nil
		}
		if all {
			return nil, nil
		}
		if err := await(ctx, 0, changed); err != nil {
			return nil, context.Cause(ctx)
		}
	}
}

// give gives a partition that nobody works on to a helper, or to this instance; else it
// tells whether all have ended. The caller holds mu.
func (c *conductor) give(helper string) (h *holding, all bool) {
	held := make(map[*partition]bool, len(c.holdings))
	for _, h := range c.holdings {
		held[h.part] = true
	}
	all = true
	for _, p := range c.passage.Parts {
		if p.Ended || p.gone {
			continue
		}
		all = false
		if held[p] {
			continue
		}
		h = &holding{ // with an ID that no other attempt's grant has: a helper may still be at an earlier one
			grant: grant{ID: uuid.NewString(), Partition: p.Name, Cursor: p.Cursor, Size: c.passage.Size},
			part:  p, again: p.given, before: p.Done, heard: time.Now(), helper: helper,
		}
		p.given = true
		c.holdings[h.ID] = h
		return h, false
	}
	return nil, all
}

// errNotHeld refuses a report about a partition that was given to another.
var errNotHeld = errors.New("the partition has been given to another instance")

// report takes a mark, and blocks until it is durable.
func (c *conductor) report(ctx context.Context, id string, m mark) error {
	c.mu.Lock()
	h := c.holdings[id]
	if h == nil {
		c.mu.Unlock()
		return errNotHeld
	}
	h.heard = time.Now()
	p := h.part
	if done := h.before + m.Done; done > p.Done || m.Ended && !p.Ended {
		p.Cursor, p.Done, p.Ended = m.Cursor, done, m.Ended
		c.version++
	}
	c.putAside += m.PutAside - h.aside
	h.aside = m.PutAside
	if c.aside != nil && !c.again && c.putAside > c.most {
		c.stop(fmt.Errorf("%w: at most %d are put aside", errTooManyAside, c.most))
	}
	if m.Ended {
		delete(c.holdings, id)
	}
	version := c.version
	c.announce()
	c.mu.Unlock()
	if m.Ended {
		c.adjust()
	}
	return c.durable(ctx, version)
}

// durable blocks until a version of the passage is.
func (c *conductor) durable(ctx context.Context, version int) error {
	if c.checkpoints == nil {
		return nil
	}
	for {
		c.mu.Lock()
		saved, err, changed := c.saved, c.err, c.changed
		c.mu.Unlock()
		if saved >= version || err != nil {
			return err
		}
		if err := await(ctx, 0, changed); err != nil {
			return err
		}
	}
}

// write is the one that writes checkpoints: always the newest passage, until over.
func (c *conductor) write(ctx context.Context) {
	for {
		c.mu.Lock()
		version, behind, over, changed := c.version, c.version > c.saved, c.over, c.changed
		c.mu.Unlock()
		switch {
		case behind:
			err := c.save(ctx)
			c.change(func() { c.saved, c.err = version, err })
			if err != nil {
				c.stop(err)
				return
			}
		case over:
			return
		default:
			<-changed
		}
	}
}

// change makes a change known.
func (c *conductor) change(do func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	do()
	c.announce()
}

// announce wakes those that wait for a change. The caller holds mu.
func (c *conductor) announce() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// setting is that of all instances together.
func (c *conductor) setting() setting {
	s := c.author
	told := c.run.Pace()
	if told.Rate != nil {
		s.rate = *told.Rate
	}
	if told.InFlight > 0 {
		s.inFlight = min(told.InFlight, MaxInFlight)
	}
	return s
}

// share is the setting of one of the instances that are at work.
func (c *conductor) share() setting {
	s := c.setting()
	c.mu.Lock()
	defer c.mu.Unlock()
	s.rate /= float64(max(1, len(c.holdings)))
	s.held = c.throttled
	return s
}

// adjust makes this instance keep to its share.
func (c *conductor) adjust() { c.valve.set(c.share()) }

func (c *conductor) followPace(ctx context.Context) {
	if c.run.pace == nil {
		return
	}
	for {
		_, changed := c.run.pace.now()
		c.adjust()
		if await(ctx, 0, changed) != nil {
			return
		}
	}
}

func (c *conductor) followThrottle(ctx context.Context) {
	if c.throttle == nil {
		return
	}
	for pause(ctx, throttleEvery) && awaitResume(ctx) == nil {
		c.askThrottle(ctx)
	}
}

// askThrottle asks the author's function whether the work must be held.
func (c *conductor) askThrottle(ctx context.Context) {
	if c.throttle == nil {
		return
	}
	var reason string
	limited, cancel := context.WithTimeout(ctx, throttleLimit)
	defer cancel()
	err := guard(limited, func(ctx context.Context, run *Run) (err error) { reason, err = c.throttle(ctx, run); return err }, c.run)
	switch {
	case ctx.Err() != nil:
		return
	case final(err) || errors.As(err, new(*panicError)):
		c.stop(fmt.Errorf("throttle: %w", err))
		return
	case limited.Err() != nil && err != nil:
		reason = fmt.Sprintf("no answer within %s: %s", throttleLimit, err)
	case err != nil:
		reason = err.Error()
	}
	if reason != "" {
		reason = clip("throttled: " + reason)
	}
	c.change(func() { c.throttled = reason })
	c.adjust()
}

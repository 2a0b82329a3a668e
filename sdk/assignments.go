package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
)

// backfillCheckpoint is how far a backfill has come.
type backfillCheckpoint struct {
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

// assignment is a grant that an instance holds.
type assignment struct {
	grant
	part     *partition
	again    bool  // it was given before
	before   int64 // records that were done when it was given
	putAside int64 // records, as told last
	heard    time.Time
	helper   string // the instance that holds it; empty: this one
}

// errNotHeld refuses a report about a partition that was given to another.
var errNotHeld = errors.New("the partition has been given to another instance")

// assignments knows which instance works on which partition and how far each has come. It
// alone writes the checkpoint of the backfill. It is safe for concurrent use.
type assignments struct {
	store *checkpoints // nil: none are kept

	mu         sync.Mutex
	changed    chan struct{} // closed when something below has changed
	checkpoint backfillCheckpoint
	held       map[string]*assignment // by the ID of its grant
	version    int                    // of the checkpoint
	saved      int                    // version that is durable
	err        error                  // of saving; it was the last try
	ended      bool                   // nothing will change any more
	putAside   int64
}

func newAssignments(store *checkpoints) *assignments {
	return &assignments{store: store, changed: make(chan struct{}), held: make(map[string]*assignment)}
}

// load reads the checkpoint. From then on an earlier attempt can write none.
func (s *assignments) load(ctx context.Context) error {
	if s.store != nil {
		data, err := s.store.load(ctx)
		if err == nil && data != nil {
			err = json.Unmarshal(data, &s.checkpoint)
		}
		if err != nil {
			return fmt.Errorf("load checkpoint: %w", err)
		}
	}
	return nil
}

// startOver drops what was loaded, but for the size of the batches: the records that were put
// aside are another source, of which no checkpoint is kept.
func (s *assignments) startOver() {
	s.checkpoint, s.store = backfillCheckpoint{Size: s.checkpoint.Size, Checked: true}, nil
}

// setPartitions takes in the partitions that the source has now.
func (s *assignments) setPartitions(names []string) {
	known := make(map[string]*partition)
	for _, p := range s.checkpoint.Parts {
		known[p.Name], p.gone = p, true
	}
	for _, name := range names {
		p := known[name]
		if p == nil {
			p = &partition{Name: name}
			known[name] = p
			s.checkpoint.Parts = append(s.checkpoint.Parts, p)
		}
		p.gone = false
	}
}

// save writes the checkpoint, and blocks until it is durable.
func (s *assignments) save(ctx context.Context) error {
	s.mu.Lock()
	data := marshal(s.checkpoint)
	s.mu.Unlock()
	if s.store == nil {
		return nil
	}
	if err := s.store.save(ctx, data); err != nil {
		return fmt.Errorf("save checkpoint: %w", err)
	}
	return nil
}

// write saves the checkpoint whenever it is newer than the one that is durable, until end is
// called or it cannot be saved. Nobody else saves it meanwhile.
func (s *assignments) write(ctx context.Context) error {
	for {
		s.mu.Lock()
		version, behind, ended, changed := s.version, s.version > s.saved, s.ended, s.changed
		s.mu.Unlock()
		switch {
		case behind:
			err := s.save(ctx)
			s.change(func() { s.saved, s.err = version, err })
			if err != nil {
				return err
			}
		case ended:
			return nil
		default:
			<-changed
		}
	}
}

// durable blocks until a version of the checkpoint is durable.
func (s *assignments) durable(ctx context.Context, version int) error {
	if s.store == nil {
		return nil
	}
	for {
		s.mu.Lock()
		saved, err, changed := s.saved, s.err, s.changed
		s.mu.Unlock()
		if saved >= version || err != nil {
			return err
		}
		if err := await(ctx, 0, changed); err != nil {
			return err
		}
	}
}

// end tells that nothing will change any more.
func (s *assignments) end() { s.change(func() { s.ended = true }) }

// next gives this instance a partition that nobody works on. Without one, it tells whether
// all have ended; changed is closed when that may be otherwise.
func (s *assignments) next() (a *assignment, ended bool, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ended = s.give("")
	return a, ended, s.changed
}

// assign gives a helper a partition that nobody works on; nil when there is none. One that
// asks again has not heard of the one before.
func (s *assignments) assign(helper string) (a *assignment) {
	s.change(func() {
		for id, held := range s.held {
			if held.helper == helper {
				delete(s.held, id)
			}
		}
		a, _ = s.give(helper)
	})
	return a
}

// give gives a partition that nobody works on to a helper, or to this instance; else it
// tells whether all have ended. The caller holds mu.
func (s *assignments) give(helper string) (a *assignment, ended bool) {
	free, ended := s.free()
	if free == nil {
		return nil, ended
	}
	a = &assignment{ // with an ID that no other attempt's grant has: a helper may still be at an earlier one
		grant: grant{ID: uuid.NewString(), Partition: free.Name, Cursor: free.Cursor, Size: s.checkpoint.Size},
		part:  free, again: free.given, before: free.Done, heard: time.Now(), helper: helper,
	}
	free.given = true
	s.held[a.ID] = a
	return a, false
}

// free finds the first partition that nobody works on; else it tells whether all have ended.
// The caller holds mu.
func (s *assignments) free() (p *partition, ended bool) {
	held := make(map[*partition]bool, len(s.held))
	for _, a := range s.held {
		held[a.part] = true
	}
	ended = true
	for _, p := range s.checkpoint.Parts {
		if p.Ended || p.gone {
			continue
		}
		if !held[p] {
			return p, false
		}
		ended = false
	}
	return nil, ended
}

// hasFree reports whether there is a partition that nobody works on.
func (s *assignments) hasFree() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, _ := s.free()
	return p != nil
}

// advance takes the watermark of a grant. It gives the version of the checkpoint that has it,
// and how many records are put aside in all.
func (s *assignments) advance(id string, w watermark) (version int, putAside int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.held[id]
	if a == nil {
		return 0, 0, errNotHeld
	}
	a.heard = time.Now()
	p := a.part
	if done := a.before + w.Done; done > p.Done || w.Ended && !p.Ended {
		p.Cursor, p.Done, p.Ended = w.Cursor, done, w.Ended
		s.version++
	}
	s.putAside += w.PutAside - a.putAside
	a.putAside = w.PutAside
	if w.Ended {
		delete(s.held, id)
	}
	s.announce()
	return s.version, s.putAside, nil
}

// revoke takes a partition back; false when the grant did not hold.
func (s *assignments) revoke(id string) (held bool) {
	s.change(func() {
		_, held = s.held[id]
		delete(s.held, id)
	})
	return held
}

// holds reports whether a grant was given to a helper and still holds.
func (s *assignments) holds(id, helper string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.held[id]
	return a != nil && a.helper == helper
}

// silent lists what helpers hold that have said nothing for helperSilent.
func (s *assignments) silent() (silent []*assignment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.held {
		if a.helper != "" && time.Since(a.heard) > helperSilent {
			silent = append(silent, a)
		}
	}
	return silent
}

// number is how many partitions are worked on.
func (s *assignments) number() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.held)
}

// counts are how many records are dealt with, in all attempts, and how many are put aside.
func (s *assignments) counts() (done, putAside int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.checkpoint.Parts {
		done += p.Done
	}
	return done, s.putAside
}

// setPutAside takes in how many records the bucket has.
func (s *assignments) setPutAside(n int64) { s.change(func() { s.putAside = n }) }

// change makes a change known.
func (s *assignments) change(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
	s.announce()
}

// announce wakes those that wait for a change. The caller holds mu.
func (s *assignments) announce() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Package ledger knows which scripts have run in an environment.
//
// It is an index over the journal: [Index.Apply] takes in one event after the other,
// and a [Store] keeps a snapshot now and then, with the sequence it reaches, so that
// start-up reads only what came after. It decides nothing and is never the truth: it
// can be made anew from the journal at any time.
package ledger

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// Entry says that a script has run.
type Entry struct {
	App      string         `json:"app"`
	Name     string         `json:"name"` // of the service; of the app in phase setup
	Version  string         `json:"version"`
	Phase    protocol.Phase `json:"phase"`
	Digest   string         `json:"digest,omitempty"` // of the setup service's build
	Rollout  string         `json:"rollout"`
	By       string         `json:"by,omitempty"`
	At       time.Time      `json:"at"` // when it had finished
	Duration time.Duration  `json:"durationNanoseconds"`
	Items    int64          `json:"items,omitempty"`
	Void     string         `json:"void,omitempty"` // why it no longer counts; empty: it does
}

// Script is the script that has run.
func (e Entry) Script() protocol.Script {
	return protocol.Script{Name: e.Name, Version: e.Version, Phase: e.Phase}
}

// Index is the ledger in memory. The zero Index is not usable; see [NewIndex]. It is
// safe for concurrent use.
type Index struct {
	mu      sync.RWMutex
	content Snapshot
}

// Snapshot is the whole ledger as it is stored.
type Snapshot struct {
	Sequence uint64            `json:"sequence"` // of the newest event it has taken in
	Entries  []Entry           `json:"entries"`  // oldest first
	Owners   map[string]string `json:"owners"`   // app by service
	Newest   map[string]string `json:"newest"`   // rollout by app: the one begun last
	Open     map[string]uint64 `json:"open"`     // rollouts that are not final: the sequence of their first event
}

// NewIndex goes on from a snapshot; the zero Snapshot is an empty ledger.
func NewIndex(s Snapshot) *Index {
	s.Entries = slices.Clone(s.Entries)
	s.Owners, s.Newest, s.Open = copied(s.Owners), copied(s.Newest), copied(s.Open)
	return &Index{content: s}
}

func copied[V any](m map[string]V) map[string]V {
	if m == nil {
		return make(map[string]V)
	}
	return maps.Clone(m)
}

// Apply takes in the event at sequence. Events that it knows already change nothing.
func (x *Index) Apply(s rollout.State, sequence uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if sequence <= x.content.Sequence {
		return
	}
	x.content.Sequence = sequence
	switch s.Event.Type {
	case rollout.Created:
		x.content.Open[s.ID] = sequence
		x.content.Newest[s.Release.App] = s.ID
		for _, service := range s.Release.Services {
			if x.content.Owners[service.Name] == "" { // of two that asked at once, the first has it
				x.content.Owners[service.Name] = s.Release.App
			}
		}
	case rollout.StepAnswered:
		x.record(s)
	case rollout.Opened:
		if step, known := s.Step(s.Event.Step); known {
			x.opened(s, step)
		}
	case rollout.Replaced:
		x.replaced(s)
	}
	if s.Status.Final() {
		delete(x.content.Open, s.ID)
	}
}

func (x *Index) record(s rollout.State) {
	step, known := s.Step(s.Event.Step)
	if !known {
		return
	}
	x.void(func(e Entry) bool { return e.Script() == step.Script() }, "run again in rollout "+s.ID)
	x.content.Entries = append(x.content.Entries, Entry{
		App: s.Release.App, Name: step.Name, Version: step.Version, Phase: step.Phase,
		Digest: step.Digest, Rollout: s.ID, By: s.By, At: step.Ended,
		Duration: step.Ended.Sub(step.Started), Items: step.Items,
	})
}

// opened voids what prepared the versions that are offline from now on: the version
// that took over writes data that they have not seen.
func (x *Index) opened(s rollout.State, step rollout.Step) {
	x.void(func(e Entry) bool { return e.Name == step.Name && e.Version != step.Version && preparing(e.Phase) },
		"taken offline by rollout "+s.ID)
}

// replaced voids what prepared a rollout that did not complete. A gate that it was
// opening may have been open for a while.
func (x *Index) replaced(s rollout.State) {
	x.void(func(e Entry) bool { return e.Rollout == s.ID && preparing(e.Phase) },
		"rollout "+s.ID+" did not complete")
	for _, step := range s.Steps {
		if step.Kind == rollout.Traffic && step.Attempt > 0 {
			x.opened(s, step)
		}
	}
}

func (x *Index) void(which func(Entry) bool, why string) {
	for i := range x.content.Entries {
		if e := &x.content.Entries[i]; e.Void == "" && which(*e) {
			e.Void = why
		}
	}
}

// preparing reports whether the phase readies data for a version that is not online.
func preparing(p protocol.Phase) bool { return p == protocol.Before || p == protocol.Offline }

// Ran reports whether a script has run and counts as run.
func (x *Index) Ran(script protocol.Script) (rollout.Ran, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, e := range slices.Backward(x.content.Entries) {
		if e.Void == "" && e.Script() == script {
			return rollout.Ran{Rollout: e.Rollout, At: e.At}, true
		}
	}
	return rollout.Ran{}, false
}

// Owner is the app that a service belongs to; empty when none has brought it yet.
func (x *Index) Owner(service string) string {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.content.Owners[service]
}

// Entries lists the entries of app, or of all apps when app is empty, oldest first;
// those that no longer count too.
func (x *Index) Entries(app string) []Entry {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var found []Entry
	for _, e := range x.content.Entries {
		if app == "" || e.App == app {
			found = append(found, e)
		}
	}
	return found
}

// Snapshot is a copy of the whole ledger.
func (x *Index) Snapshot() Snapshot {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return NewIndex(x.content).content
}

// Apps lists the apps that have had a rollout, in order.
func (x *Index) Apps() []string {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return slices.Sorted(maps.Keys(x.content.Newest))
}

// First is the sequence after which events have to be read so that every rollout
// which was open at the snapshot is known in full.
func (s Snapshot) First() uint64 {
	first := s.Sequence
	for _, sequence := range s.Open {
		first = min(first, sequence-1)
	}
	return first
}

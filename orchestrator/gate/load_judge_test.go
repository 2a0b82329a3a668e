package gate_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// judge knows when a version was certainly not online, from what can be seen of it on
// the bus, and finds the answers that it gave nevertheless.
//
// All times are of one machine's clock. No tolerance is needed, because each comparison
// is between two moments of which one is the cause of the other:
//
//   - A version is online at the earliest when the server has stored the revision that
//     says so. The time of that is in the entry: the leader of the bucket takes it after
//     it got the revision and before anybody can read it.
//   - A version that was online is off at the latest when every instance has confirmed the
//     revision in which it is not. An instance confirms after its last handler has ended.
//     There are two witnesses for that, and the earlier counts: the judge has got the
//     confirmation of each instance (it was sent before; this one needs to know how many
//     there are), or the server has stored a later revision in which another version is
//     online (the gate wrote it when it had the confirmations).
//
// A handler that begins or ends in between has run beside another version, or could have.
// The clock must not be set back meanwhile.
type judge struct {
	t         *testing.T
	instances int               // of each version; 0: they come and go, and their confirmations are no witness
	stopped   func(c call) bool // whether the process that answered was stopped: its handler may end at any time; nil: never

	mu       sync.Mutex
	written  []entry
	confirms []confirm
	notes    []note
	seen     chan uint64 // revisions, as they are seen
}

// entry is a revision of the route as the server has stored it.
type entry struct {
	protocol.Route
	revision uint64
	stored   int64
	unknown  bool // revisions after the last were not seen: any version may be online
}

func (e *entry) online(version string) bool {
	return e.unknown || e.State(version) == protocol.StateOnline
}

// other reports whether a version other than the given one is certainly online.
func (e *entry) other(version string) bool {
	return !e.unknown && len(e.Online()) > 0 && e.State(version) != protocol.StateOnline
}

// note is what else happened, for whoever has to find out why a test has failed.
type note struct {
	at   int64
	text string
}

type confirm struct {
	protocol.Confirmation
	instance string
	at       int64
}

// watch begins to look at the route and the confirmations of todos.
func (j *judge) watch(r *relay.Relay) {
	j.t.Helper()
	routes, _, err := bus.MakeRoutes(j.t.Context(), r.Conn(), "", 1)
	if err != nil {
		j.t.Fatal(err)
	}
	w, err := routes.Watch(j.t.Context(), "todos")
	if err != nil {
		j.t.Fatal(err)
	}
	if _, err := r.Conn().Subscribe(protocol.ConfirmSubject("todos", "*"), j.receive); err != nil {
		j.t.Fatal(err)
	}
	if j.seen == nil {
		j.seen = make(chan uint64, 10_000)
	}
	go func() {
		for e := range w.Updates() {
			if e != nil {
				j.see(e)
			}
		}
	}()
}

func (j *judge) see(e jetstream.KeyValueEntry) {
	r := entry{revision: e.Revision(), stored: e.Created().UnixNano()}
	if err := json.Unmarshal(e.Value(), &r.Route); err != nil {
		j.t.Errorf("route %s: %v", e.Value(), err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	n, known := slices.BinarySearchFunc(j.written, r.revision, func(e entry, revision uint64) int { return cmp.Compare(e.revision, revision) })
	if known {
		return // by another watcher
	}
	j.written = slices.Insert(j.written, n, r)
	select {
	case j.seen <- r.revision:
	default:
	}
}

func (j *judge) receive(m *nats.Msg) {
	c := confirm{at: time.Now().UnixNano()}
	_, c.instance, _ = protocol.ParseConfirmSubject(m.Subject)
	if err := json.Unmarshal(m.Data, &c.Confirmation); err != nil {
		j.t.Errorf("confirmation %s: %v", m.Data, err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.confirms = append(j.confirms, c)
}

// await blocks until the judge has seen a revision: it may take an election, and the end of
// a lease.
func (j *judge) await(revision uint64) {
	j.t.Helper()
	deadline := time.After(3 * patience)
	for {
		select {
		case seen := <-j.seen:
			if seen >= revision {
				return
			}
		case <-deadline:
			j.t.Fatalf("route revision %d was not seen", revision)
		}
	}
}

// span is a time in which a version was certainly not online.
type span struct{ from, to int64 }

// history is all revisions; for those that were not seen there is one that tells nothing:
// the watcher of a bucket skips what has been overwritten.
func (j *judge) history() []entry {
	var all []entry
	for n, e := range j.written {
		if n > 0 && e.revision != j.written[n-1].revision+1 {
			all = append(all, entry{revision: j.written[n-1].revision + 1, stored: j.written[n-1].stored, unknown: true})
		}
		all = append(all, e)
	}
	return all
}

// off lists when a version was certainly not online.
func (j *judge) off(version string) []span {
	var all []span
	history := j.history()
	for n := 0; n < len(history); n++ {
		if history[n].online(version) {
			continue
		}
		left := n
		for n < len(history) && !history[n].online(version) {
			n++
		}
		s := span{j.offSince(version, history[left:n], history[n:]), math.MaxInt64}
		if n < len(history) {
			s.to = history[n].stored
		}
		if s.from < s.to {
			all = append(all, s)
		}
	}
	return all
}

// offSince is when a version was certainly off: it was not online in the revisions of off,
// and again in the first that follows.
func (j *judge) offSince(version string, off, follows []entry) int64 {
	if off[0].revision == j.written[0].revision {
		return 0
	}
	since := int64(math.MaxInt64)
	for _, e := range off {
		if e.other(version) {
			since = e.stored
			break
		}
	}
	confirmed := make(map[string]bool)
	for _, c := range j.confirms {
		if c.Version != version || c.Revision < off[0].revision || len(follows) > 0 && c.Revision >= follows[0].revision {
			continue
		}
		if confirmed[c.instance] = true; len(confirmed) == j.instances {
			return min(since, c.at)
		}
	}
	return since
}

// missed counts the gaps in what was seen.
func (j *judge) missed() int { return len(j.history()) - len(j.written) }

// wrong describes the answers that were given by a version that was not online.
func (j *judge) wrong(calls []call) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	off := make(map[string][]span)
	var all []string
	for _, c := range calls {
		if c.err != nil {
			continue
		}
		if _, known := off[c.version]; !known {
			off[c.version] = j.off(c.version)
		}
		within := func(at int64) bool {
			n, _ := slices.BinarySearchFunc(off[c.version], at, func(s span, at int64) int { return cmp.Compare(s.to, at) })
			return n < len(off[c.version]) && off[c.version][n].from < at && at < off[c.version][n].to
		}
		began, ended := within(c.began), within(c.ended) && (j.stopped == nil || !j.stopped(c))
		if began || ended {
			all = append(all, fmt.Sprintf("%s worked %s, which began at %s, after it had left (began %t, ended %t)", c.version,
				time.Duration(c.ended-c.began), time.Unix(0, c.began).Format("15:04:05.000000"), began, ended))
		}
	}
	return all
}

// some is the first few of many.
func some(all []string) string {
	if n := len(all); n > 20 {
		all = append(slices.Clone(all[:10]), fmt.Sprintf("and %d more, the last of which", n-20), strings.Join(all[n-10:], "\n"))
	}
	return strings.Join(all, "\n")
}

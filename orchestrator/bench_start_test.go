package orchestrator_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/golive-dev/golive/orchestrator"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/ledger"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/embedded"
	"github.com/golive-dev/golive/relay/protocol"
)

// unsavedEvents is as many as an orchestrator that is killed can leave behind its last
// saving of the ledger, without one that starts saving it at once.
const unsavedEvents = 1999

// BenchmarkStartup measures the start of an orchestrator in an environment with 100,000
// finished rollouts of 1,000 apps (a hundredth of that with -short): ns/op is from Run to
// Ready. The one before had either saved the ledger when it stopped, or was killed 1,999
// events after it had saved it last. rss-MB and process-ms, from its start until it says that
// it is ready, are those of golive serve in a process of its own.
//
// The journal is made once, for all counts, which takes a while.
//
//	go test -run '^$' -bench Startup -count 6 -timeout 30m ./orchestrator
func BenchmarkStartup(b *testing.B) {
	apps, each := 1000, 100
	if testing.Short() {
		apps, each = 100, 10
	}
	golive, s := buildGolive(b), stageOn(b, embedded.Config{Data: b.TempDir(), Unsynced: true})
	history := s.writeHistory(apps, each)
	history.save(len(history.records) - unsavedEvents)
	b.Run("killed", func(b *testing.B) { s.within(b).measureStart(golive) })
	history.save(len(history.records))
	b.Run("stopped", func(b *testing.B) { s.within(b).measureStart(golive) })
}

// within is the same stage for a benchmark inside of the one that has made it.
func (s *benchStage) within(b *testing.B) *benchStage {
	inner := *s
	inner.b = b
	return &inner
}

func (s *benchStage) measureStart(golive string) {
	b := s.b
	for b.Loop() {
		b.StopTimer()
		r := s.connectBy(relay.Config{URL: s.server.URL()})
		o := s.engine(r, zap.NewNop())
		ended := make(chan error, 1)
		b.StartTimer()
		go func() { ended <- o.Run(context.Background()) }()
		select {
		case <-o.Ready():
		case err := <-ended:
			b.Fatalf("the orchestrator has ended: %v", err)
		}
		b.StopTimer()
		r.Close() // that ends it before it can save anything, so the next one finds the same
		if err := <-ended; err == nil {
			b.Fatal("an orchestrator whose connection is closed ends without an error")
		}
		b.StartTimer()
	}
	begun := time.Now()
	p := runServe(b, golive, s.server.URL(), orchestrator.DefaultHeartbeat)
	p.await(serveReady)
	b.ReportMetric(milliseconds(time.Since(begun)), "process-ms")
	b.ReportMetric(memoryOf(p, "VmRSS"), "rss-MB")
	p.kill()
}

// benchHistory is a journal of rollouts that have all completed.
type benchHistory struct {
	s       *benchStage
	records []journal.Record // in the order of the journal
	index   *ledger.Index
	saved   int // how many of the records the index holds
}

// writeHistory rolls out so many versions of so many apps as the journal tells it
// afterwards: their events are there, and all work is done.
func (s *benchStage) writeHistory(apps, each int) *benchHistory {
	s.b.Helper()
	begun := time.Now()
	ctx, cancel := context.WithTimeout(s.b.Context(), 10*time.Minute)
	defer cancel()
	nc := s.connectInside().Conn()
	j, err := journal.Make(ctx, nc, 1)
	s.must(err)
	store, err := ledger.Make(ctx, nc, "", 1)
	s.must(err)
	s.writeRoutes(ctx, nc, apps, each)
	done := s.doNothing(ctx, j)
	var writing errgroup.Group
	writing.SetLimit(64)
	written := make([][]journal.Record, apps)
	for app := range apps {
		writing.Go(func() (err error) {
			written[app], err = writeApp(ctx, j, app, each)
			return err
		})
	}
	s.must(writing.Wait())
	h := &benchHistory{s: s, index: ledger.NewIndex(ledger.Environment{}, store, j.Tail)}
	h.records = inOrder(written)
	done(nc)
	s.b.Logf("%d events written in %s", len(h.records), time.Since(begun).Round(time.Millisecond))
	return h
}

// inOrder sorts the records of a journal that holds nothing else.
func inOrder(written [][]journal.Record) []journal.Record {
	n := 0
	for _, records := range written {
		n += len(records)
	}
	all := make([]journal.Record, n)
	for _, records := range written {
		for _, r := range records {
			all[r.Sequence-1] = r
		}
	}
	return all
}

// writeRoutes leads the traffic of each app's service to its newest version.
func (s *benchStage) writeRoutes(ctx context.Context, nc *nats.Conn, apps, versions int) {
	s.b.Helper()
	routes, _, err := bus.MakeRoutes(ctx, nc, "", 1)
	s.must(err)
	for app := range apps {
		service := benchRelease(app, versions, 0).Services[0]
		route, err := json.Marshal(protocol.Route{Service: service.Name, Versions: []protocol.RouteVersion{{Version: service.Version, State: protocol.StateOnline}}})
		s.must(err)
		_, err = routes.Put(ctx, service.Name, route)
		s.must(err)
	}
}

// doNothing takes all work from the queue until done is called, which waits for its end: an
// orchestrator that starts finds none.
func (s *benchStage) doNothing(ctx context.Context, j *journal.Journal) (done func(nc *nats.Conn)) {
	working, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- j.Work(working, func(context.Context, journal.Item) error { return nil })
	}()
	return func(nc *nats.Conn) {
		s.b.Helper()
		js, err := jetstream.New(nc)
		s.must(err)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for left := uint64(1); left > 0; <-tick.C {
			queue, err := js.Consumer(ctx, protocol.Stream, "golive-orchestrators")
			s.must(err)
			info := queue.CachedInfo()
			left = info.NumPending + uint64(info.NumAckPending)
		}
		stop()
		s.must(<-ended)
	}
}

// writeApp writes the rollouts of one app, one after the other.
func writeApp(ctx context.Context, j *journal.Journal, app, versions int) ([]journal.Record, error) {
	var all []journal.Record
	last := uint64(0)
	for version := 1; version <= versions; version++ {
		states, err := completedRollout(benchRelease(app, version, 0), version)
		if err != nil {
			return nil, err
		}
		for n, state := range states {
			write := j.Append
			if n == 0 {
				write = j.Begin
			}
			if last, err = write(ctx, state, last); err != nil {
				return nil, err
			}
			all = append(all, journal.Record{State: state, Sequence: last})
		}
	}
	return all, nil
}

// completedRollout gives the states of a rollout from its first to its last.
func completedRollout(r rollout.Release, revision int) ([]rollout.State, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	at, service := time.Now().UTC(), r.Services[0].Name
	state, err := rollout.Compile(id.String(), "benchmark", at, r, rollout.Facts{
		Ran:    func(protocol.Script) (rollout.Ran, bool) { return rollout.Ran{}, false },
		Routes: map[string]rollout.Replace{service: {Revision: uint64(revision)}},
	})
	if err != nil {
		return nil, err
	}
	states := []rollout.State{state}
	for _, e := range []rollout.Event{
		{Type: rollout.StepAnswered, Step: service + "/offline", Answer: &protocol.Answer{Done: true}, Named: true},
		{Type: rollout.Opened, Step: service + "/traffic", Revision: uint64(revision), Effective: at},
		{Type: rollout.StepAnswered, Step: service + "/online", Answer: &protocol.Answer{Done: true}, Named: true},
	} {
		e.At, e.Attempt = at, 1
		if state, err = state.Apply(e); err != nil {
			return nil, err
		}
		states = append(states, state)
	}
	if state.Status != rollout.Completed {
		return nil, fmt.Errorf("rollout %s of %s is %s", state.ID, r.App, state.Status)
	}
	return states, nil
}

// save stores the ledger as an orchestrator does that has heard of so many of the records.
func (h *benchHistory) save(upTo int) {
	h.s.b.Helper()
	for ; h.saved < upTo; h.saved++ {
		h.index.Apply(h.records[h.saved].State, h.records[h.saved].Sequence)
	}
	h.s.must(h.index.Save(h.s.b.Context()))
}

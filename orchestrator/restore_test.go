package orchestrator_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/kept"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/embedded"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
	"github.com/golive-dev/golive/sdk"
)

// backedUp is a bus whose data can be kept and put back.
type backedUp struct {
	t      *testing.T
	dir    string
	listen string
	server *embedded.Server
}

func startBackedUp(t *testing.T) *backedUp {
	t.Helper()
	b := &backedUp{t: t, dir: filepath.Join(t.TempDir(), "bus")}
	b.start()
	b.listen = strings.TrimPrefix(b.server.URL(), "nats://")
	t.Cleanup(b.stop)
	return b
}

func (b *backedUp) start() {
	b.t.Helper()
	s, err := embedded.Start(embedded.Config{Data: b.dir, Listen: b.listen, Unsynced: true})
	if err != nil {
		b.t.Fatal(err)
	}
	b.server = s
}

func (b *backedUp) stop() {
	if err := b.server.Stop(); err != nil {
		b.t.Error(err)
	}
}

// keep makes a backup.
func (b *backedUp) keep() (backup string) {
	b.t.Helper()
	b.stop()
	backup = filepath.Join(b.t.TempDir(), "backup")
	if err := os.CopyFS(backup, os.DirFS(b.dir)); err != nil {
		b.t.Fatal(err)
	}
	b.start()
	return backup
}

// putBack has the bus go on from a backup.
func (b *backedUp) putBack(backup string) {
	b.t.Helper()
	b.stop()
	b.replace(backup)
	b.start()
}

func (b *backedUp) replace(backup string) {
	b.t.Helper()
	if err := os.RemoveAll(b.dir); err != nil {
		b.t.Fatal(err)
	}
	if err := os.CopyFS(b.dir, os.DirFS(backup)); err != nil {
		b.t.Fatal(err)
	}
}

func (b *backedUp) connect() *relay.Relay {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := relay.Connect(ctx, relay.Config{URL: b.server.URL(), Name: b.t.Name()})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(r.Close)
	return r
}

// retried asks until somebody answers: the bus, or the orchestrator, was away.
func retried[Out any](e *environment, what string, ask func(context.Context) (Out, error)) Out {
	e.t.Helper()
	var out Out
	e.until(what, func() bool {
		ctx, cancel := context.WithTimeout(e.t.Context(), patience)
		defer cancel()
		var err error
		out, err = ask(ctx)
		if err != nil {
			e.t.Logf("%s: %v", what, err)
		}
		return err == nil
	})
	return out
}

func (e *environment) deployed(r rollout.Release) api.RolloutStory {
	e.t.Helper()
	id := newID(e.t)
	retried(e, "a rollout begins", func(ctx context.Context) (api.RolloutView, error) {
		return e.client.Deploy(ctx, api.DeployRequest{Rollout: id, Release: r, By: "test"})
	})
	return e.awaitStatus(id, rollout.Completed)
}

// process is orchestrate for one that takes its connection with it when it is stopped, as a process
// does.
func (e *environment) process() (stop func()) {
	e.t.Helper()
	r := e.connect()
	o := e.orchestrator(r)
	end := e.run("orchestrator", o.Run)
	next(e, "readiness", o.Ready())
	return func() { end(); r.Close() }
}

// errors gives what was logged as an error.
func (e *environment) errors() string {
	var all []string
	for _, entry := range e.logs.FilterLevelExact(zap.ErrorLevel).All() {
		all = append(all, entry.Message)
	}
	return strings.Join(all, "\n")
}

// alarmsOf gives what status tells to be wrong with an app.
func (e *environment) alarmsOf(app string) string {
	e.t.Helper()
	all := retried(e, "status", func(ctx context.Context) ([]api.AppStatus, error) {
		return e.client.Status(ctx, api.AppRequest{App: app})
	})
	return strings.Join(all[0].Alarms, "\n")
}

// counting is the setup service of the search release whose offline script counts its runs.
func counting(version string, runs *atomic.Int64) sdk.SetupService {
	return sdk.SetupService{Service: "todo-search", Version: version, Offline: func(context.Context, *sdk.Run) error {
		runs.Add(1)
		return nil
	}}
}

func searchVersion(app, version string, phases ...protocol.Phase) rollout.Release {
	r := search(phases...)
	r.Version, r.Services[0].Version = app, version
	return r
}

// TestWhatTheJournalDoesNotHoldAnyMoreIsRunAgain is about a bus that is put back from a backup
// while orchestrators and instances run: nothing that is gone is believed.
func TestWhatTheJournalDoesNotHoldAnyMoreIsRunAgain(t *testing.T) {
	t.Parallel()
	for name, restarted := range map[string]bool{"orchestrators go on": false, "orchestrators are started anew": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if restarted {
				relaytest.Long(t)
			}
			b := startBackedUp(t)
			e := environmentOn(t, b.connect)
			stops := []func(){e.process(), e.process()}
			var runs atomic.Int64
			e.setup(counting("0.0.2", &runs))
			e.service("todo-search", "0.0.1")
			e.service("todo-search", "0.0.2")
			e.deployed(searchVersion("0.0.1", "0.0.1"))
			backup := b.keep()
			gone := e.deployed(searchVersion("0.0.2", "0.0.2", protocol.Offline))
			if n := runs.Load(); n != 1 {
				t.Fatalf("the script ran %d times, want 1", n)
			}
			b.putBack(backup)
			if restarted {
				for i, stop := range stops {
					stop()
					stops[i] = e.process()
				}
			}
			e.until("the journal is told to have been put back", func() bool {
				return strings.Contains(e.errors(), "the journal was put back") || restarted
			})
			again := e.deployed(searchVersion("0.0.2", "0.0.2", protocol.Offline))
			if step, _ := again.Step("todo-search/offline"); runs.Load() != 2 || step.Status != rollout.StepDone {
				t.Errorf("the script ran %d times, and its step is %s, want 2 and done", runs.Load(), step.Status)
			}
			if !restarted {
				if told := e.alarmsOf("todo-app"); !strings.Contains(told, "the journal was put back") || !strings.Contains(told, gone.ID) {
					t.Errorf("status says %q, want that %s is gone", told, gone.ID)
				}
			}
			list := retried(e, "history", func(ctx context.Context) (api.RolloutList, error) { return e.client.List(ctx, api.ListRequest{}) })
			for _, v := range list.Rollouts {
				if !v.Status.Final() {
					t.Errorf("rollout %s is %s", v.ID, v.Status)
				}
			}
			ledger, err := e.client.Ledger(t.Context(), api.LedgerRequest{App: "todo-app"})
			e.must(err)
			for _, entry := range ledger {
				if entry.Rollout == gone.ID {
					t.Errorf("the ledger still has %+v", entry)
				}
			}
		})
	}
}

// TestOneRolloutAtATimeAlsoAfterARestore has a script at work when the bus is put back from a
// backup that does not hold its rollout: the next rollout of the app does not work beside it.
func TestOneRolloutAtATimeAlsoAfterARestore(t *testing.T) {
	relaytest.Long(t)
	t.Parallel()
	b := startBackedUp(t)
	e := environmentOn(t, b.connect)
	e.probe = 20 * time.Millisecond // backups are older than the newest lease
	e.process()
	e.process()
	began, over := make(chan struct{}, 10), make(chan error, 10)
	var working, together atomic.Int64
	e.setup(sdk.SetupService{Service: "todo-search", Version: "0.0.2", Offline: func(ctx context.Context, _ *sdk.Run) error {
		together.Store(max(together.Load(), working.Add(1)))
		defer working.Add(-1)
		began <- struct{}{}
		select {
		case <-ctx.Done():
			over <- context.Cause(ctx)
			return ctx.Err()
		case <-over: // the one before has ended
			return nil
		}
	}})
	e.service("todo-search", "0.0.1")
	e.service("todo-search", "0.0.2")
	e.deployed(searchVersion("0.0.1", "0.0.1"))
	backup := b.keep()
	e.untilOrchestratorsLeased(2)
	id := newID(t)
	retried(e, "a rollout begins", func(ctx context.Context) (api.RolloutView, error) {
		return e.client.Deploy(ctx, api.DeployRequest{Rollout: id, Release: searchVersion("0.0.2", "0.0.2", protocol.Offline), By: "test"})
	})
	next(e, "the script", began)
	b.putBack(backup)
	again := e.deployed(searchVersion("0.0.2", "0.0.2", protocol.Offline))
	next(e, "the script of the rollout that is there", began)
	if n := together.Load(); n != 1 {
		t.Errorf("%d scripts of one step were at work side by side", n)
	}
	list := retried(e, "history", func(ctx context.Context) (api.RolloutList, error) { return e.client.List(ctx, api.ListRequest{}) })
	for _, v := range list.Rollouts {
		if v.ID == id || !v.Status.Final() {
			t.Errorf("rollout %s is %s; that of before was %s, the one of now is %s", v.ID, v.Status, id, again.ID)
		}
	}
}

// TestABusThatIsPutBackIsNoticedWhereNothingWasRead has nothing happen between the backup and the
// restore: others may have done what this orchestrator does not know.
func TestABusThatIsPutBackIsNoticedWhereNothingWasRead(t *testing.T) {
	relaytest.Long(t)
	t.Parallel()
	b := startBackedUp(t)
	e := environmentOn(t, b.connect)
	e.probe = 20 * time.Millisecond
	e.process()
	e.service("todo-search", "0.0.1")
	e.deployed(searchVersion("0.0.1", "0.0.1"))
	backup := b.keep()
	e.untilOrchestratorsLeased(1)
	b.putBack(backup)
	e.until("status tells it", func() bool {
		return strings.Contains(e.alarmsOf("todo-app"), "the bus was put back: its journal ends with message 2")
	})
	e.deployed(searchVersion("0.0.2", "0.0.1"))
}

// untilOrchestratorsLeased blocks until so many orchestrators have stored a lease since the call.
func (e *environment) untilOrchestratorsLeased(n int) {
	e.t.Helper()
	kv, err := e.js().KeyValue(e.t.Context(), protocol.LeasesBucket)
	e.must(err)
	before, err := kv.Status(e.t.Context())
	e.must(err)
	since := before.(*jetstream.KeyValueBucketStatus).StreamInfo().State.LastSeq
	e.until("the orchestrators have stored their leases", func() bool {
		keys, err := kv.ListKeysFiltered(e.t.Context(), "golive.>")
		e.must(err)
		leased := 0
		for key := range keys.Keys() {
			if entry, err := kv.Get(e.t.Context(), key); err == nil && entry.Revision() > since {
				leased++
			}
		}
		return leased >= n
	})
}

// js asks JetStream as an operator does.
func (e *environment) js() jetstream.JetStream {
	e.t.Helper()
	js, err := jetstream.New(e.connect().Conn())
	e.must(err)
	return js
}

// stream is the name of the stream of a bucket.
func stream(bucket string) string { return "KV_" + bucket }

// TestAJournalThatIsDeletedEndsOrchestrators is about an operator who deletes the stream.
func TestAJournalThatIsDeletedEndsOrchestrators(t *testing.T) {
	relaytest.Long(t)
	t.Parallel()
	e := newEnvironment(t)
	e.compare = time.Second
	o := e.orchestrator(e.connect())
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { ended <- o.Run(ctx) }()
	next(e, "readiness", o.Ready())
	e.service("todo-search", "0.0.1")
	e.deployed(searchVersion("0.0.1", "0.0.1"))
	e.must(e.js().DeleteStream(t.Context(), protocol.Stream))
	_, err := e.client.Status(t.Context(), api.AppRequest{})
	var refusal *protocol.ServiceError
	if !errors.As(err, &refusal) || !strings.Contains(refusal.Hint, "stream GOLIVE") || !strings.Contains(refusal.Hint, "restore it") {
		t.Errorf("status says %v with the hint %q, want that the stream was deleted", err, refusal.Hint)
	}
	err = next(e, "the end of the orchestrator", ended)
	if !errors.Is(err, kept.ErrGone) || !strings.Contains(err.Error(), "stream GOLIVE, the journal of all rollouts, was deleted") {
		t.Errorf("it ended with %v, want that the stream was deleted", err)
	}
	// What is left of the environment is not given to another one.
	asking, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	if _, err := journal.Make(asking, e.nc, 1); err == nil || !strings.Contains(err.Error(), "restore") {
		t.Errorf("another journal: %v, want that it is refused", err)
	}
}

// TestAJournalThatIsPurgedIsSaid is about an operator who empties the stream: what has run is
// known from the ledger, and what is deployed then begins and ends.
func TestAJournalThatIsPurgedIsSaid(t *testing.T) {
	relaytest.Long(t)
	t.Parallel()
	e := newEnvironment(t)
	e.compare = 200 * time.Millisecond
	e.orchestrate()
	var runs atomic.Int64
	e.setup(counting("0.0.2", &runs))
	e.service("todo-search", "0.0.2")
	e.deployed(searchVersion("0.0.2", "0.0.2", protocol.Offline))
	s, err := e.js().Stream(t.Context(), protocol.Stream)
	e.must(err)
	e.must(s.Purge(t.Context()))
	e.until("it is told", func() bool {
		return strings.Contains(e.errors(), "stream GOLIVE, the journal of all rollouts, was purged")
	})
	e.until("it is begun anew", func() bool {
		_, err = e.client.Status(t.Context(), api.AppRequest{})
		return err != nil && strings.Contains(err.Error(), "something is wrong")
	})
	e.refused(err, api.CodeUnavailable, "something is wrong")
	e.deployed(searchVersion("0.0.3", "0.0.2", protocol.Offline))
}

// TestABucketThatIsGoneIsMadeAnew is about an operator who deletes buckets, one after the other.
func TestABucketThatIsGoneIsMadeAnew(t *testing.T) {
	t.Parallel()
	for bucket, said := range map[string]string{
		protocol.LeasesBucket: "nothing is lost", protocol.AgentsBucket: "nothing is lost",
		protocol.RoutesBucket: "golive routes", protocol.LedgerBucket: "golive ledger",
		protocol.CheckpointsBucket: "first record", protocol.FailedRecordsBucket: "put aside", protocol.HostsBucket: "agents",
	} {
		t.Run(bucket, func(t *testing.T) {
			t.Parallel()
			if bucket != protocol.RoutesBucket {
				relaytest.Long(t)
			}
			e := newEnvironment(t)
			e.compare = 200 * time.Millisecond
			e.probe = 20 * time.Millisecond
			e.orchestrate()
			var runs atomic.Int64
			e.setup(counting("0.0.2", &runs))
			e.service("todo-search", "0.0.1")
			e.service("todo-search", "0.0.2")
			e.deployed(searchVersion("0.0.1", "0.0.1"))
			e.must(e.js().DeleteStream(t.Context(), stream(bucket)))
			e.until("it is told", func() bool {
				return strings.Contains(e.errors(), "bucket "+bucket+" was deleted, and has been made anew")
			})
			if bucket == protocol.RoutesBucket {
				e.routesWritten()
			}
			if told := e.errors(); !strings.Contains(told, said) {
				t.Errorf("it says %q, want %q", told, said)
			}
			if told := e.alarmsOf("todo-app"); said != "nothing is lost" && !strings.Contains(told, bucket) {
				t.Errorf("status says %q, want that %s was deleted", told, bucket)
			}
			e.answered("0.0.1")
			e.deployed(searchVersion("0.0.2", "0.0.2", protocol.Offline))
			e.answered("0.0.2")
			e.deployed(searchVersion("0.0.3", "0.0.2", protocol.Offline)) // the ledger knows what has run
			if n := runs.Load(); n != 1 {
				t.Errorf("the script ran %d times, want 1", n)
			}
			if told := e.errors(); strings.Contains(told, "put back") {
				t.Errorf("it says %q, want nothing of a backup", told)
			}
		})
	}
}

// routesWritten blocks until a route was written again.
func (e *environment) routesWritten() {
	e.t.Helper()
	e.until("the route is written again", func() bool { return e.logs.FilterMessage("route written again").Len() > 0 })
}

// answered checks that production is answered by a version.
func (e *environment) answered(version string) {
	e.t.Helper()
	asker := e.connect()
	e.until("production is answered by "+version, func() bool {
		var by string
		ctx, cancel := context.WithTimeout(e.t.Context(), patience)
		defer cancel()
		err := asker.Request(ctx, "todo-search.version", nil, &by)
		return err == nil && by == version
	})
}

// TestPurgedBucketsDoNotStopRollouts is about an operator who empties buckets.
func TestPurgedBucketsDoNotStopRollouts(t *testing.T) {
	t.Parallel()
	for _, bucket := range []string{protocol.RoutesBucket, protocol.LedgerBucket, protocol.LeasesBucket} {
		t.Run(bucket, func(t *testing.T) {
			t.Parallel()
			if bucket != protocol.RoutesBucket {
				relaytest.Long(t)
			}
			e := newEnvironment(t)
			e.compare = 200 * time.Millisecond
			e.orchestrate()
			var runs atomic.Int64
			e.setup(counting("0.0.2", &runs))
			e.service("todo-search", "0.0.1")
			e.service("todo-search", "0.0.2")
			e.deployed(searchVersion("0.0.1", "0.0.1"))
			if bucket == protocol.LedgerBucket {
				e.process()() // its end stores the ledger
			}
			s, err := e.js().Stream(t.Context(), stream(bucket))
			e.must(err)
			e.must(s.Purge(t.Context()))
			if bucket == protocol.RoutesBucket {
				e.until("it is told", func() bool { return strings.Contains(e.errors(), "bucket "+bucket+" was purged") })
				e.routesWritten()
			}
			e.answered("0.0.1")
			e.deployed(searchVersion("0.0.2", "0.0.2", protocol.Offline))
			e.answered("0.0.2")
		})
	}
}

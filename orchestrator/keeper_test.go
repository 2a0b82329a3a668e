package orchestrator_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/snapshot"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
	"github.com/golive-dev/golive/sdk"
)

// keeping is a service that keeps its state in memory, and does what a test has it do.
type keeping struct {
	mu    sync.Mutex
	book  []byte
	take  func(context.Context, io.Writer) error // in place of writing the book
	check func(io.Reader) error
}

func (k *keeping) state() relay.State {
	return relay.State{
		Take: func(ctx context.Context, _ string, w io.Writer) error {
			k.mu.Lock()
			take, book := k.take, k.book
			k.mu.Unlock()
			if take != nil {
				return take(ctx, w)
			}
			_, err := w.Write(book)
			return err
		},
		Check: func(_ context.Context, _ string, r io.Reader) error {
			k.mu.Lock()
			defer k.mu.Unlock()
			if k.check != nil {
				return k.check(r)
			}
			_, err := io.Copy(io.Discard, r)
			return err
		},
		Put: func(_ context.Context, _ string, r io.Reader) error {
			book, err := io.ReadAll(r)
			if err == nil {
				k.mu.Lock()
				k.book = book
				k.mu.Unlock()
			}
			return err
		},
	}
}

// keeps is an app whose service keeps its state itself and has a command for more, which is the
// script. The command's program is in the folder of the manifest.
func (e *environment) keeps(version, script string, on map[string]string) *release.Manifest {
	e.t.Helper()
	dir := e.t.TempDir()
	e.must(os.WriteFile(filepath.Join(dir, "state"), []byte("#!/bin/sh\nset -eu\ncd "+e.t.TempDir()+"\n"+script), 0o600))
	return &release.Manifest{
		App: "shop", Version: version, Strategy: rollout.Parallel, Dir: dir, Path: filepath.Join(dir, release.FileName),
		Services: []release.Service{{
			Service: rollout.Service{Name: "cart", Version: version, Instances: 1, State: &rollout.Data{
				Messages: true, Command: true, On: on, Timeout: rollout.Duration(2 * time.Second), MaxMB: 1,
			}}, StateCommand: []string{"sh", "./state"},
		}},
	}
}

// serve runs an instance of the service.
func (e *environment) serve(version string, k *keeping) (stop func()) {
	e.t.Helper()
	r := e.connect()
	stop = e.run("service cart", func(ctx context.Context) error {
		return r.Serve(ctx, relay.Service{Name: "cart", Version: version, State: k.state(), Handlers: map[string]relay.Handler{
			"version": func(context.Context, *relay.Message) (any, error) { return version, nil },
		}})
	})
	asker := e.connect()
	e.until("service cart is up", func() bool {
		return !errors.Is(asker.Request(e.t.Context(), "cart.version", nil, nil, relay.ToVersion(version)), relay.ErrNobodyListens)
	})
	return stop
}

const fine = `case $1 in
take) echo accounts >$GOLIVE_SNAPSHOT_DIR/accounts; mkdir $GOLIVE_SNAPSHOT_DIR/more; echo $GOLIVE_SNAPSHOT >$GOLIVE_SNAPSHOT_DIR/more/id ;;
check) test "$(cat $GOLIVE_SNAPSHOT_DIR/more/id)" = $GOLIVE_SNAPSHOT ;;
esac
`

func TestASnapshotOfStateOutsideOfJetStream(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	k := &keeping{book: bytes.Repeat([]byte("an entry\n"), 100_000)}
	e.serve("1.0.0", k)
	m := e.keeps("1.0.0", fine, map[string]string{"role": "db"})
	e.agent("db-1", map[string]string{"role": "db"}, m)
	e.agent("web-1", nil, m)
	e.awaitStatus(e.deploy(m.Release()), rollout.Completed)
	taken, err := e.snapshot("shop")
	e.must(err)
	parts := taken.Services[0].Parts
	if len(parts) != 2 || parts[0].Kind != snapshot.KindMessages || parts[0].Bytes != 900_000 || parts[0].Size > 100_000 || !strings.HasPrefix(parts[0].From, "instance ") {
		t.Errorf("it holds %+v", parts)
	}
	if parts[1].Kind != snapshot.KindCommand || parts[1].From != "agent db-1" || parts[1].Bytes == 0 || taken.Moment.One {
		t.Errorf("it holds %+v", parts[1])
	}
	check := api.SnapshotRequest{Snapshot: taken.ID, Check: newID(t)}
	_, err = e.done(func() (api.SnapshotWork, error) { return e.client.CheckSnapshot(t.Context(), check) })
	e.must(err)
	k.mu.Lock()
	k.check = func(io.Reader) error { return errors.New("it is of another currency") }
	k.mu.Unlock()
	check.Check = newID(t)
	_, err = e.done(func() (api.SnapshotWork, error) { return e.client.CheckSnapshot(t.Context(), check) })
	e.refused(err, api.CodeConflict, "it is of another currency")
	_, err = e.client.DropSnapshot(t.Context(), api.SnapshotRequest{Snapshot: taken.ID})
	e.must(err)
	if left := e.stored(); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

// stored lists what is stored of snapshots.
func (e *environment) stored() []string {
	e.t.Helper()
	js, err := jetstream.New(e.nc)
	e.must(err)
	store, err := js.ObjectStore(e.t.Context(), protocol.SnapshotsStore)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil
	}
	e.must(err)
	all, err := store.List(e.t.Context())
	if errors.Is(err, jetstream.ErrNoObjectsFound) {
		return nil
	}
	e.must(err)
	var names []string
	for _, o := range all {
		names = append(names, o.Name)
	}
	return names
}

// Whatever goes wrong is told with the name of who has done it, and leaves nothing.
func TestAKeeperThatIsNotUpToIt(t *testing.T) {
	t.Parallel()
	half := func(_ context.Context, w io.Writer) { _, _ = w.Write(make([]byte, 500_000)) }
	for name, c := range map[string]struct {
		take   func(context.Context, io.Writer) error
		check  func(io.Reader) error
		script string
		agents int
		want   string
	}{
		"service fails":    {take: func(ctx context.Context, w io.Writer) error { half(ctx, w); return errors.New("disk is full") }, want: "service cart: take by instance "},
		"service hangs":    {take: func(ctx context.Context, w io.Writer) error { half(ctx, w); <-ctx.Done(); return nil }, want: "it has not ended within 2s"},
		"no data":          {take: func(context.Context, io.Writer) error { return nil }, want: "it has ended without any data"},
		"too much":         {take: func(_ context.Context, w io.Writer) error { _, err := w.Write(make([]byte, 1<<20+1)); return err }, want: "it has written more than 1048576 bytes"},
		"check says no":    {check: func(io.Reader) error { return errors.New("the last page is missing") }, want: ": the last page is missing"},
		"command fails":    {script: "echo opening; echo no such database >&2; exit 1\n", want: "agent db-1: take: the state command of cart exited with code 1: opening; no such database"},
		"command: no data": {script: "exit 0\n", want: "has written nothing to its folder"},
		"command hangs":    {script: "sleep 60\n", want: "agent db-1: it has not ended within 2s"},
		"command dies":     {script: "kill -9 $$\n", want: "killed"},
		"command: too much": {script: "head -c 1048000 /dev/zero >$GOLIVE_SNAPSHOT_DIR/a; head -c 1000 /dev/zero >$GOLIVE_SNAPSHOT_DIR/b\n",
			want: "it has written more than 1048576 bytes"},
		"command: a link":  {script: "ln -s /etc/passwd $GOLIVE_SNAPSHOT_DIR/a\n", want: `"a" is no regular file`},
		"command: check":   {script: "if [ $1 = check ]; then echo a page is torn; exit 1; fi; echo x >$GOLIVE_SNAPSHOT_DIR/a\n", want: "check: the state command of cart exited with code 1: a page is torn"},
		"several agents":   {script: fine, agents: 2, want: "2 agents may take the state of service cart, such as db-1 and db-2"},
		"command: missing": {script: "exec ./no-such-program\n", want: "exited with code 127"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnvironment(t)
			e.orchestrate()
			e.serve("1.0.0", &keeping{book: []byte("an entry"), take: c.take, check: c.check})
			if c.script == "" {
				c.script = fine
			}
			m := e.keeps("1.0.0", c.script, nil)
			for _, name := range []string{"db-1", "db-2"}[:max(c.agents, 1)] {
				e.agent(name, nil, m)
			}
			e.awaitStatus(e.deploy(m.Release()), rollout.Completed)
			_, err := e.snapshot("shop")
			e.refused(err, api.CodeConflict, c.want)
			list, err := e.client.Snapshots(t.Context(), "shop")
			e.must(err)
			if left := e.stored(); len(list.Snapshots)+len(left) > 0 {
				t.Errorf("it is there all the same: %v, %v", list, left)
			}
		})
	}
}

// A rollout that changes data takes the state first, and changes nothing where it cannot.
func TestARolloutTakesStateOutsideOfJetStreamFirst(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	k := &keeping{book: []byte("before")}
	e.serve("1.0.0", k)
	old := e.keeps("1.0.0", fine, nil)
	stop := e.agent("db-1", nil, old)
	e.awaitStatus(e.deploy(old.Release()), rollout.Completed)
	stop()
	next := e.keeps("1.1.0", fine, nil) // whose agent does it, where that of the version before is gone
	next.Services[0].Migrations = []protocol.Phase{protocol.Offline}
	e.agent("db-2", nil, next)
	e.serve("1.1.0", k)
	ran := newTally()
	e.setup(sdk.SetupService{Service: "cart", Version: "1.1.0", Offline: func(ctx context.Context, s *sdk.Run) error {
		k.mu.Lock()
		k.book = []byte("changed")
		k.mu.Unlock()
		return ran.script(ctx, s)
	}})
	k.mu.Lock()
	k.take = func(context.Context, io.Writer) error { return errors.New("the book is locked") }
	k.mu.Unlock()
	id := e.deploy(next.Release())
	failed := e.awaitStatus(id, rollout.Failed)
	if step, _ := failed.Step(rollout.SnapshotID("shop")); step.Error == nil || !strings.Contains(step.Error.Message, "the book is locked") || len(e.stored()) > 0 {
		t.Errorf("it has failed with %+v, and left %v", step.Error, e.stored())
	}
	if string(k.book) != "before" {
		t.Fatal("the script has run")
	}
	k.mu.Lock()
	k.take = nil
	k.mu.Unlock()
	e.retry(id)
	s := e.awaitStatus(id, rollout.Completed).State
	taken, err := e.client.Snapshot(t.Context(), e.taken(s).ID)
	e.must(err)
	if parts := taken.Services[0].Parts; len(parts) != 2 || parts[0].Bytes != uint64(len("before")) || parts[1].From != "agent db-2" || string(k.book) != "changed" {
		t.Errorf("it has taken %+v, and the book is %s", parts, k.book)
	}
}

// An orchestrator that is cut off in the middle of a take is missed by whoever gives the state, and
// another one takes it anew.
func TestATakeFromAServiceGoesOnElsewhere(t *testing.T) {
	relaytest.Long(t)
	t.Parallel()
	e := newEnvironment(t)
	doomed := e.connect()
	ctx, end := context.WithCancel(t.Context())
	defer end()
	dying, ended := e.orchestrator(doomed), make(chan error, 1)
	go func() { ended <- dying.Run(ctx) }()
	next(e, "readiness", dying.Ready())
	begun, broken := make(chan bool, 1), make(chan error, 1)
	k := &keeping{book: []byte("an entry"), take: func(ctx context.Context, w io.Writer) error {
		_, _ = w.Write(make([]byte, 300<<10))
		begun <- true
		<-ctx.Done()
		broken <- context.Cause(ctx)
		return ctx.Err()
	}}
	e.serve("1.0.0", k)
	m := e.keeps("1.0.0", fine, nil)
	m.Services[0].State.Timeout = rollout.Duration(10 * time.Minute)
	e.agent("db-1", nil, m)
	e.awaitStatus(e.deploy(m.Release()), rollout.Completed)
	q := api.TakeRequest{App: "shop", Snapshot: newID(t)}
	_, err := e.client.TakeSnapshot(t.Context(), q)
	e.must(err)
	next(e, "the take", begun)
	doomed.Conn().Close()
	next(e, "its end", ended)
	k.mu.Lock()
	k.take = nil
	k.mu.Unlock()
	if err := next(e, "the end of the take", broken); err == nil {
		t.Error("the service was not told")
	}
	e.orchestrate()
	taken, err := e.done(func() (api.SnapshotWork, error) { return e.client.TakeSnapshot(t.Context(), q) })
	e.must(err)
	if len(taken.Services[0].Parts) != 2 || taken.Services[0].Parts[0].Bytes != uint64(len("an entry")) {
		t.Errorf("it has taken %+v", taken.Services)
	}
}

// What a service keeps itself, and what a command takes, is put back by a restore, which can be
// undone itself.
func TestARestorePutsStateOutsideOfJetStreamBack(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	k := &keeping{book: []byte("before")}
	e.serve("1.0.0", k)
	accounts := filepath.Join(t.TempDir(), "accounts")
	write := func(text string) { e.must(os.WriteFile(accounts, []byte(text), 0o600)) }
	script := "case $1 in\ntake) cp " + accounts + " $GOLIVE_SNAPSHOT_DIR/a ;;\nput) cp $GOLIVE_SNAPSHOT_DIR/a " + accounts + ".new && mv " + accounts + ".new " + accounts + " ;;\nesac\n"
	write("before")
	old := e.keeps("1.0.0", script, nil)
	stop := e.agent("db-1", nil, old)
	e.awaitStatus(e.deploy(old.Release()), rollout.Completed)
	stop()
	next := e.keeps("1.1.0", script, nil)
	next.Services[0].Migrations = []protocol.Phase{protocol.Offline}
	e.agent("db-2", nil, next)
	e.serve("1.1.0", k)
	e.setup(sdk.SetupService{Service: "cart", Version: "1.1.0", Offline: func(context.Context, *sdk.Run) error {
		k.mu.Lock()
		k.book = []byte("changed")
		k.mu.Unlock()
		write("changed")
		return nil
	}})
	id := e.deploy(next.Release())
	e.awaitStatus(id, rollout.Completed)
	r, err := e.client.Restore(t.Context(), api.RestoreRequest{App: "shop", Rollout: newID(t), Target: id, By: "ann"})
	e.must(err)
	s := e.awaitStatus(r.ID, rollout.Completed).State
	read := func() string {
		data, err := os.ReadFile(accounts)
		e.must(err)
		k.mu.Lock()
		defer k.mu.Unlock()
		return string(data) + ", " + string(k.book)
	}
	if got := read(); got != "before, before" {
		t.Errorf("it is %s", got)
	}
	taken, err := e.client.Snapshot(t.Context(), e.taken(s).ID)
	e.must(err)
	if len(taken.Services[0].Parts) != 2 {
		t.Errorf("the restore has taken %+v", taken.Services)
	}
}

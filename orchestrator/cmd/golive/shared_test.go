package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/relaytest"
	"github.com/golive-dev/golive/sdk"
)

// violations are what a server has refused to its users. It is a logger of the server, and safe for
// concurrent use.
type violations struct {
	mu  sync.Mutex
	all []string
}

func (v *violations) Errorf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !strings.Contains(text, "iolation") {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.all = append(v.all, text)
}
func (v *violations) Noticef(string, ...any) {}
func (v *violations) Warnf(string, ...any)   {}
func (v *violations) Fatalf(string, ...any)  {}
func (v *violations) Debugf(string, ...any)  {}
func (v *violations) Tracef(string, ...any)  {}

// taken gives what was refused since the last time.
func (v *violations) taken() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	all := v.all
	v.all = nil
	return all
}

// sharedBus is a bus with the users that golive bus config has made for the app in folder.
type sharedBus struct {
	t        *testing.T
	folder   string // of the manifests of versions, and of the bus
	refused  *violations
	running  sync.WaitGroup
	stop     context.CancelFunc
	stopping context.Context
}

const sharedManifest = `app: shop
version: VERSION
snapshot: before-offline
services:
  stock:
    version: VERSION
    state: {kv: [stock], messages: true, command: [sh, -c, 'test $0 != take || echo x >$GOLIVE_SNAPSHOT_DIR/x'], on: {role: web}}
  search:
    version: VERSION
    migrations: [offline, online]
steps:
  - {name: go, approval: Shall it?}
  - {phase: offline}
  - {name: work, command: [echo, worked], backward: true, on: {role: web}}
  - {name: looks, check: {message: stock.count}}
  - {phase: online}
environments:
  test: {approvals: {by: [ann]}}
`

func newSharedBus(t *testing.T) *sharedBus {
	t.Helper()
	b := &sharedBus{t: t, folder: t.TempDir(), refused: &violations{}}
	for _, version := range []string{"1.0.0", "2.0.0"} {
		dir := filepath.Join(b.folder, version)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(sharedManifest, "VERSION", version)
		if err := os.WriteFile(filepath.Join(dir, "golive.yaml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	address := relaytest.FreeAddresses(t, 1)[0]
	b.mustRun("", "bus", "config", "1.0.0", "--env", "test", "--listen", address, "--storage", t.TempDir(),
		"--deployer", "ci", "--observer", "obs", "--agent", "web-1", "--rehearser", "eve")
	o, err := server.ProcessConfigFile(filepath.Join(b.folder, "bus", "nats-server.conf"))
	if err != nil {
		t.Fatal(err)
	}
	o.NoSigs = true
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.SetLogger(b.refused, false, false)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("the server did not start")
	}
	t.Cleanup(func() {
		for _, text := range b.refused.taken() {
			t.Error("the server has refused:", text)
		}
	})
	b.stopping, b.stop = context.WithCancel(context.Background())
	t.Cleanup(func() { b.stop(); b.running.Wait() })
	return b
}

// context is the file by which a user connects.
func (b *sharedBus) context(user string) string {
	return filepath.Join(b.folder, "bus", "contexts", user+".json")
}

// run runs the command line as a user.
func (b *sharedBus) run(ctx context.Context, user string, args ...string) (code int, out string) {
	var all bytes.Buffer
	both := &shown{}
	s := terminal.Streams{Out: both, Err: both, Dir: b.folder, Getenv: func(string) string { return "" }}
	if user != "" {
		args = append(args, "--context", b.context(user))
	}
	code = run(ctx, s, args)
	all.WriteString(both.String())
	return code, all.String()
}

func (b *sharedBus) mustRun(user string, args ...string) string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	code, out := b.run(ctx, user, args...)
	if code != 0 {
		b.t.Fatalf("golive %s as %q ends with %d:\n%s", strings.Join(args, " "), user, code, out)
	}
	return out
}

// await runs a command again and again until it succeeds.
func (b *sharedBus) await(user string, args ...string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		code, out := b.run(ctx, user, args...)
		if code == 0 {
			return
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			b.t.Fatalf("golive %s as %s ends with %d:\n%s", strings.Join(args, " "), user, code, out)
		}
	}
}

// keep has something run until the test is over.
func (b *sharedBus) keep(user string, args ...string) {
	b.running.Go(func() {
		if code, out := b.run(b.stopping, user, args...); code != 0 {
			b.t.Errorf("golive %s as %s has ended with %d:\n%s", strings.Join(args, " "), user, code, out)
		}
	})
}

// connect reaches the bus as a user, for whatever runs until the test is over.
func (b *sharedBus) connect(user string) *relay.Relay {
	b.t.Helper()
	r, err := relay.Connect(b.t.Context(), relay.Config{Context: b.context(user)})
	if err != nil {
		b.t.Fatal(err)
	}
	b.running.Go(func() { <-b.stopping.Done(); r.Close() })
	return r
}

// serve starts a version of both services and of the setup service.
func (b *sharedBus) serve(version string) {
	stock, search, setup := b.connect("stock"), b.connect("search"), b.connect("search-setup")
	b.running.Go(func() {
		_ = stock.Serve(b.stopping, relay.Service{Name: "stock", Version: version, State: ownState(),
			Handlers: map[string]relay.Handler{"count": func(context.Context, *relay.Message) (any, error) { return 100, nil }},
			Streams: map[string]relay.StreamHandler{"list": func(_ context.Context, m *relay.Message, out *relay.Sender) error {
				n, _ := strconv.Atoi(m.Cursor)
				for n++; n <= 100; n++ {
					if err := out.Send(n, strconv.Itoa(n)); err != nil {
						return err
					}
				}
				return nil
			}}})
	})
	b.running.Go(func() {
		_ = search.Serve(b.stopping, relay.Service{Name: "search", Version: version,
			Handlers: map[string]relay.Handler{"add": func(context.Context, *relay.Message) (any, error) { return nil, nil }}})
	})
	fill := sdk.Backfill[int]{
		Source: sdk.FromStream[int]("stock.list", nil),
		Each: func(ctx context.Context, run *sdk.Run, r sdk.Record[int]) error {
			if r.Value == 7 {
				return sdk.Permanent(fmt.Errorf("bad luck"))
			}
			return run.Request(ctx, "search.add", r.Value, nil)
		},
		BatchSize: 5, PutAside: true,
	}
	nothing := func(context.Context, *sdk.Run) error { return nil }
	b.running.Go(func() {
		_ = sdk.SetupService{Service: "search", Version: version, Offline: nothing, Online: fill.Run,
			RevertOffline: nothing, RevertOnline: nothing}.Run(b.stopping, setup)
	})
}

// ownState is what the service stock keeps itself: a megabyte.
func ownState() relay.State {
	read := func(_ context.Context, _ string, r io.Reader) error { _, err := io.Copy(io.Discard, r); return err }
	return relay.State{Check: read, Put: read, Take: func(_ context.Context, _ string, w io.Writer) error {
		_, err := w.Write(make([]byte, 1<<20))
		return err
	}}
}

// store makes what the service stock keeps, which it cannot.
func (b *sharedBus) store() {
	b.t.Helper()
	js, err := jetstream.New(b.connect("orchestrator").Conn())
	if err == nil {
		_, err = js.CreateKeyValue(b.t.Context(), jetstream.KeyValueConfig{Bucket: "stock"})
	}
	var kv jetstream.KeyValue
	if err == nil {
		js, err = jetstream.New(b.connect("stock").Conn())
	}
	if err == nil {
		kv, err = js.KeyValue(b.t.Context(), "stock")
	}
	if err == nil {
		_, err = kv.PutString(b.t.Context(), "one", "1")
	}
	if err == nil {
		_, err = kv.Keys(b.t.Context())
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

var rolloutID = regexp.MustCompile(`rollout ([0-9a-f-]{36}): shop`)

// deploy brings a version live as ci, and approves as ann.
func (b *sharedBus) deploy(version string) (id string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	code, out := b.run(ctx, "ci", "deploy", version, "--env", "test")
	if code != exitPerson {
		b.t.Fatalf("deploy ends with %d:\n%s", code, out)
	}
	id = rolloutID.FindStringSubmatch(out)[1]
	b.mustRun("ann", "approve", id, "--yes", "--reason", "it is time")
	b.mustRun("ci", "watch", id)
	return id
}

// newLiveShop is a shared bus with an orchestrator and an agent, on which version 1.0.0 is live.
func newLiveShop(t *testing.T) (b *sharedBus, rollout string) {
	t.Helper()
	b = newSharedBus(t)
	b.store()
	b.keep("orchestrator", "serve", "--env", "test", "1.0.0")
	b.keep("agent-web-1", "agent", "--env", "test", "1.0.0", "2.0.0", "--name", "web-1", "--label", "role=web")
	b.await("obs", "status")
	b.serve("1.0.0")
	return b, b.deploy("1.0.0")
}

// A whole life needs no right but those that golive bus config gives: the server refuses nothing.
func TestALifeOnASharedBus(t *testing.T) {
	t.Parallel()
	b, first := newLiveShop(t)
	b.serve("2.0.0")
	second := b.deploy("2.0.0")
	for _, user := range []string{"ann", "ci", "obs"} {
		for _, args := range [][]string{
			{"status"}, {"history"}, {"show", second}, {"routes"}, {"ledger"}, {"plan", "2.0.0", "--env", "test"}, {"version"},
			{"watch", second}, {"report", first}, {"snapshot", "list", "shop"},
		} {
			b.mustRun(user, args...)
		}
	}
	if out := b.mustRun("ann", "snapshot", "take", "shop"); !strings.Contains(out, "1.1 MB") {
		t.Errorf("the snapshot does not hold what the service keeps itself: %s", out)
	}
	b.mustRun("ann", "show", second, "--failed-records")
	b.mustRun("ann", "show", second, "--hosts", "work")
	if code, out := b.run(t.Context(), "ann", "retry", second, "search/online", "--failed-records"); code != exitFailed || !strings.Contains(out, "1 record is still put aside") {
		t.Errorf("retry ends with %d:\n%s", code, out)
	}
	b.mustRun("ann", "snapshot", "take", "shop")
	b.rehearse("eve")
	b.mustRun("ann", "backward", "shop", "1.0.0", "--yes")
}

package sdk_test

import (
	"context"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sync/errgroup"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/sdk"
)

// permissions is what the package's comment says that the setup service of todo-search
// 0.0.1, with an online script that moves todos, needs.
const permissions = `
jetstream { store_dir: "DATA" }
authorization { users: [
  { user: admin, password: admin }
  { user: setup, password: setup, permissions: {
    publish: [
      "deployment-todo-search-0.0.1-online-progress", "deployment-todo-search-0.0.1-online-start",
      "deployment-todo-search-0.0.1-online-done", "deployment-todo-search-0.0.1-online-failed",
      "golive.hello", "golive.log.*", "golive.share.todo-search.>",
      "$JS.API.STREAM.INFO.KV_golive-claims", "$JS.API.STREAM.MSG.GET.KV_golive-claims", "$KV.golive-claims.*.todo-search.>",
      "$JS.API.STREAM.INFO.KV_golive-checkpoints", "$JS.API.STREAM.MSG.GET.KV_golive-checkpoints", "$KV.golive-checkpoints.*.todo-search.>",
      "$JS.API.STREAM.INFO.KV_golive-failed-records", "$JS.API.STREAM.MSG.GET.KV_golive-failed-records", "$KV.golive-failed-records.*.todo-search.>",
      "$JS.API.CONSUMER.CREATE.KV_golive-failed-records.>", "$JS.API.CONSUMER.DELETE.KV_golive-failed-records.*", "$JS.FC.KV_golive-failed-records.>",
      "$JS.API.STREAM.INFO.KV_golive-routes", "$JS.API.STREAM.MSG.GET.KV_golive-routes",
      "todos.>", "golive.service.todos.>", "todo-search.>", "golive.service.todo-search.>" ]
    subscribe: [
      "_INBOX.>", "golive.script.todo-search.>", "golive.share.todo-search.>",
      "deployment-todo-search-0.0.1-online-start",
      "deployment-todo-search-0.0.1-online-cancel", "deployment-todo-search-0.0.1-online-pause",
      "deployment-todo-search-0.0.1-online-resume", "deployment-todo-search-0.0.1-online-pace" ]
    allow_responses: { max: 256, expires: "1m" } } }
] }
`

// startGuarded starts a server with these permissions, and gives the URL of each user.
func startGuarded(t *testing.T) (url func(user string) string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "nats-server.conf")
	must(t, os.WriteFile(file, []byte(strings.Replace(permissions, "DATA", t.TempDir(), 1)), 0o600))
	options, err := server.ProcessConfigFile(file)
	must(t, err)
	options.Host, options.Port, options.NoSigs, options.NoLog = "127.0.0.1", -1, true, true
	s, err := server.NewServer(options)
	must(t, err)
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(patience) {
		t.Fatal("the server did not start")
	}
	return func(user string) string {
		return "nats://" + user + ":" + user + "@" + s.Addr().String()
	}
}

// A backfill that does all there is to do needs no permission but those that are told.
func TestASetupServiceNeedsNoMorePermissions(t *testing.T) {
	t.Parallel()
	url := startGuarded(t)
	refused, log := observer.New(zap.ErrorLevel)
	connect := func(user string) *relay.Relay {
		r, err := relay.Connect(t.Context(), relay.Config{URL: url(user), Logger: zap.New(refused)})
		must(t, err)
		t.Cleanup(r.Close)
		return r
	}
	admin := connect("admin")
	s := &stage{t: t, r: admin, nc: admin.Conn()}
	for _, bucket := range []bus.Bucket{bus.Claims, bus.Checkpoints, bus.FailedRecords} {
		_, err := bus.Make(s.within(), s.nc, bucket, "", 1)
		must(t, err)
	}
	_, _, err := bus.MakeRoutes(s.within(), s.nc, "", 1)
	must(t, err)
	serving, stop := context.WithCancel(t.Context())
	var services errgroup.Group
	t.Cleanup(func() { stop(); must(t, services.Wait()) })
	services.Go(func() error {
		return admin.Serve(serving, relay.Service{Name: "todos", Version: "0.0.1", Streams: map[string]relay.StreamHandler{"list": listed}})
	})
	var taken atomic.Int64
	services.Go(func() error {
		return admin.Serve(serving, relay.Service{Name: "todo-search", Version: "0.0.1", Handlers: map[string]relay.Handler{
			"add": func(context.Context, *relay.Message) (any, error) { taken.Add(1); return nil, nil },
		}})
	})
	from := sdk.FromStream[int]("todos.list", nil)
	b := sdk.Backfill[int]{
		Name: "todos",
		Source: sdk.Source[int]{
			Records: func(ctx context.Context, run *sdk.Run, _, after string) iter.Seq2[sdk.Record[int], error] {
				return from.Records(ctx, run, "", after)
			},
			Partitions: func(context.Context, *sdk.Run) ([]string, error) { return []string{"a", "b", "c"}, nil },
		},
		Each: func(ctx context.Context, run *sdk.Run, r sdk.Record[int]) error {
			if r.Value == 7 {
				return sdk.Permanent(errors.New("bad luck"))
			}
			return run.Request(ctx, "todo-search.add", r.Value, nil)
		},
		BatchSize: 5, Rate: 200, PutAside: true,
	}
	service := setup(b.Run)
	service.Shared = []sdk.Shareable{b}
	for range 2 {
		s.runOn(connect("setup"), service)
	}
	m := start(protocol.Online, 1)
	m.Services = map[string]string{"todos": "0.0.1"}
	heard := s.accept(m)
	s.send(m)
	if h := mustDone(t, heard.next()); h.Items != 297 || h.PutAside != 3 || taken.Load() != 297 {
		t.Errorf("answered %s, %d came", h.msg.Data, taken.Load())
	}
	m.Attempt, m.FailedRecords = 2, true
	s.send(m)
	if h := mustDone(t, heard.next()); h.PutAside != 3 {
		t.Errorf("answered %s", h.msg.Data)
	}
	for _, entry := range log.All() {
		t.Errorf("something was not permitted: %s %v", entry.Message, entry.ContextMap())
	}
}

// listed streams the numbers to 100.
func listed(_ context.Context, m *relay.Message, out *relay.Sender) error {
	n, _ := strconv.Atoi(m.Cursor) // 0: from the beginning
	for n++; n <= 100; n++ {
		if err := out.Send(n, strconv.Itoa(n)); err != nil {
			return err
		}
	}
	return nil
}

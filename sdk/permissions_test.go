package sdk_test

import (
	"github.com/golive-dev/golive/relay/embedded"
	"github.com/golive-dev/golive/relay/relaytest"

	"context"
	"errors"
	"iter"
	"strconv"
	"sync/atomic"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sync/errgroup"

	"github.com/golive-dev/golive/relay"
	buckets "github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/sdk"
)

// A backfill that does all there is to do needs no permission but those that are told.
func TestASetupServiceNeedsNoMorePermissions(t *testing.T) {
	t.Parallel()
	bus := relaytest.StartGuarded(t, embedded.User{Name: "admin"},
		relaytest.With("setup", protocol.SetupRights("setup", "todo-search", false, []uint64{0}, "todos", "todo-search")))
	refused, log := observer.New(zap.ErrorLevel)
	connect := func(user string) *relay.Relay {
		r, err := relay.Connect(t.Context(), relay.Config{URL: bus.URLOf(user), Inbox: protocol.Inbox(user), Logger: zap.New(refused)})
		must(t, err)
		t.Cleanup(r.Close)
		return r
	}
	admin := connect("admin")
	s := &stage{t: t, r: admin, nc: admin.Conn()}
	for _, bucket := range []buckets.Bucket{buckets.Claims, buckets.Checkpoints, buckets.FailedRecords} {
		_, err := buckets.Make(s.within(), s.nc, bucket, "", 1)
		must(t, err)
	}
	_, _, err := buckets.MakeRoutes(s.within(), s.nc, "", 1)
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

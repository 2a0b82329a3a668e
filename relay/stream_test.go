package relay_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/relaytest"
)

// streams is a service whose message "list" is answered by a stream.
func streams(version string, h relay.StreamHandler) relay.Service {
	return relay.Service{Name: "todos", Version: version, Streams: map[string]relay.StreamHandler{"list": h}}
}

// numbers sends 1 to n, each with itself as cursor, from where it is taken up again.
func numbers(n int) relay.StreamHandler {
	return relay.JSONStream(func(_ context.Context, _ any, after string, out *relay.Sender) error {
		begin := 0
		if after != "" {
			var err error
			if begin, err = strconv.Atoi(after); err != nil {
				return &relay.Error{Code: "400", Message: "no cursor: " + after}
			}
		}
		out.Total(int64(n))
		for i := begin + 1; i <= n; i++ {
			if err := out.Send(i, strconv.Itoa(i)); err != nil {
				return err
			}
		}
		return nil
	})
}

// upTo is 1 to n, or from m.
func upTo(m, n int) []int {
	var all []int
	for i := m; i <= n; i++ {
		all = append(all, i)
	}
	return all
}

// collect reads a stream of numbers to its end.
func collect(t *testing.T, r *relay.Relay, opts ...relay.Option) (got []int, last string, err error) {
	t.Helper()
	for record, failure := range r.Stream(within(t, patience), "todos.list", nil, opts...) {
		if failure != nil {
			return got, last, failure
		}
		var n int
		must(t, record.Decode(&n))
		got, last = append(got, n), record.Cursor
	}
	return got, last, nil
}

func TestARequestIsAnsweredByManyRecords(t *testing.T) {
	bus := relaytest.Start(t)
	for _, n := range []int{0, 1, 2, 100_000} {
		stop := bus.Serve(streams("0.0.1", numbers(n)))
		r := bus.Connect()
		var total atomic.Int64
		total.Store(-1)
		got, last, err := collect(t, r, relay.ToVersion("0.0.1"), relay.TotalTo(&total))
		if err != nil || !slices.Equal(got, upTo(1, n)) || total.Load() != int64(n) || n > 0 && last != strconv.Itoa(n) {
			t.Errorf("%d of %d records, last cursor %q, total %d, error %v", len(got), n, last, total.Load(), err)
		}
		stop()
	}
}

func TestAStreamIsTakenUpAgainWhereItWas(t *testing.T) {
	bus := relaytest.Start(t)
	bus.Serve(streams("0.0.1", numbers(1000)))
	r := bus.Connect()
	var cursor string
	for record, err := range r.Stream(within(t, patience), "todos.list", nil, relay.ToVersion("0.0.1")) {
		must(t, err)
		if cursor = record.Cursor; cursor == "400" {
			break
		}
	}
	var total atomic.Int64
	got, _, err := collect(t, r, relay.ToVersion("0.0.1"), relay.After(cursor), relay.TotalTo(&total))
	if err != nil || !slices.Equal(got, upTo(401, 1000)) || total.Load() != 1000 {
		t.Errorf("%d records, total %d, error %v", len(got), total.Load(), err)
	}
}

func TestAnErrorInTheMiddleArrivesBehindWhatWasSent(t *testing.T) {
	bus := relaytest.Start(t)
	for name, tt := range map[string]struct {
		end  func() error
		want string
	}{
		"an error":        {func() error { return errors.New("the disk\nis full") }, "todos.list answered 500: the disk is full"},
		"one with a code": {func() error { return fmt.Errorf("list: %w", &relay.Error{Code: "418", Message: "tea"}) }, "todos.list answered 418: list: tea"},
		"one that is 503": {func() error { return &relay.Error{Code: "503", Message: "not now"} }, "todos.list answered 503: not now"},
		"a panic":         {func() error { panic("out of ideas") }, "todos.list answered 500: panic: out of ideas"},
	} {
		t.Run(name, func(t *testing.T) {
			stop := bus.Serve(streams("0.0.1", func(ctx context.Context, m *relay.Message, out *relay.Sender) error {
				return errors.Join(numbers(3)(ctx, m, out), tt.end())
			}))
			defer stop()
			got, _, err := collect(t, bus.Connect(), relay.ToVersion("0.0.1"))
			var answered *relay.Error
			if !slices.Equal(got, upTo(1, 3)) || !errors.As(err, &answered) || err.Error() != tt.want || errors.Is(err, relay.ErrStreamLost) {
				t.Errorf("%v, error %v", got, err)
			}
		})
	}
}

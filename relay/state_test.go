package relay_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
	"github.com/golive-dev/golive/relay/transfer"
)

// kept is the state of a service, in memory.
type kept struct {
	mu   sync.Mutex
	data []byte
	puts []string
}

func (k *kept) state() relay.State {
	return relay.State{
		Take: func(_ context.Context, _ string, w io.Writer) error {
			k.mu.Lock()
			defer k.mu.Unlock()
			_, err := w.Write(k.data)
			return err
		},
		Check: func(_ context.Context, _ string, r io.Reader) error {
			data, err := io.ReadAll(r)
			if err == nil && !bytes.HasPrefix(data, []byte("book")) {
				err = errors.New("it is no book")
			}
			return err
		},
		Put: func(_ context.Context, snapshot string, r io.Reader) error {
			data, err := io.ReadAll(r)
			k.mu.Lock()
			defer k.mu.Unlock()
			if err == nil {
				k.data, k.puts = data, append(k.puts, snapshot)
			}
			return err
		},
	}
}

func stateAsk(r *relay.Relay, do string) transfer.Ask {
	return transfer.Ask{Conn: r.Conn(), Subject: protocol.StateSubject("book", "0.0.1", do), Inbox: r.Conn().NewInbox(), Order: protocol.StateOrder{
		Snapshot: "0199c6d2", App: "ledger", Service: "book", Version: "0.0.1", Do: do, Timeout: protocol.Duration(time.Minute), Most: 1 << 20,
	}}
}

func TestAServiceTakesAndPutsItsOwnState(t *testing.T) {
	t.Parallel()
	bus := relaytest.Start(t)
	k := &kept{data: []byte("book of 2026")}
	s := says("book", "0.0.1", "")
	s.State = k.state()
	bus.Serve(s)
	bus.Serve(s) // a second instance: one of them answers
	r := bus.Connect()
	var taken bytes.Buffer
	who, err := transfer.Fetch(t.Context(), stateAsk(r, protocol.StateTake), &taken)
	if err != nil || taken.String() != "book of 2026" {
		t.Fatalf("took %q: %v", taken.String(), err)
	}
	if name := transfer.Name(who); !strings.HasPrefix(name, "instance ") || !strings.Contains(name, " on ") {
		t.Errorf("it was taken by %q", name)
	}
	k.data = []byte("book that was closed")
	if _, err := transfer.Deliver(t.Context(), stateAsk(r, protocol.StateCheck), strings.NewReader("leaf")); err == nil || !strings.Contains(err.Error(), "it is no book") {
		t.Errorf("what is none is checked: %v", err)
	}
	for range 2 {
		for _, do := range []string{protocol.StateCheck, protocol.StatePut} {
			if _, err := transfer.Deliver(t.Context(), stateAsk(r, do), bytes.NewReader(taken.Bytes())); err != nil {
				t.Fatalf("%s: %v", do, err)
			}
		}
	}
	if string(k.data) != "book of 2026" || strings.Join(k.puts, " ") != "0199c6d2 0199c6d2" {
		t.Errorf("it is %q, put for %q", k.data, k.puts)
	}
}

// An order that names another thing, or is to be answered where others read, is not followed.
func TestAStateIsNotForEverybody(t *testing.T) {
	t.Parallel()
	bus := relaytest.Start(t)
	called := make(chan string, 10)
	k := &kept{data: []byte("book")}
	s := says("book", "0.0.1", "")
	s.State = k.state()
	take := s.State.Take
	s.State.Take = func(ctx context.Context, snapshot string, w io.Writer) error {
		called <- snapshot
		return take(ctx, snapshot, w)
	}
	bus.Serve(s)
	r := bus.Connect()
	to := protocol.StateSubject("book", "0.0.1", protocol.StateTake)
	for _, order := range []string{`{}`, `{"do":"put","service":"book","timeout":"1m","most":1}`, `{"do":"take","service":"other","timeout":"1m","most":1}`, `{"do":"take","service":"book","timeout":"1m"}`, `{"do":"take","service":"book","most":1}`, `x`} {
		if err := r.Conn().PublishRequest(to, r.Conn().NewInbox(), []byte(order)); err != nil {
			t.Fatal(err)
		}
	}
	whole := `{"do":"take","snapshot":"bad","service":"book","timeout":"1m","most":100}`
	if err := r.Conn().Publish(to, []byte(whole)); err != nil {
		t.Fatal(err)
	}
	for _, reply := range []string{"golive.rollout.a.b", "elsewhere"} {
		if err := r.Conn().PublishRequest(to, reply, []byte(whole)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := transfer.Fetch(t.Context(), stateAsk(r, protocol.StateTake), io.Discard); err != nil {
		t.Fatal(err)
	}
	if first := <-called; first != "0199c6d2" || len(called) > 0 {
		t.Errorf("it was taken for %q, and %d more", first, len(called))
	}
}

// While one order is followed another is refused; one that stops breaks it off.
func TestAStateIsTakenOnceAtATime(t *testing.T) {
	t.Parallel()
	bus := relaytest.Start(t)
	begun, broken := make(chan bool, 1), make(chan error, 1)
	s := says("book", "0.0.1", "")
	s.State = (&kept{}).state()
	s.State.Take = func(ctx context.Context, _ string, _ io.Writer) error {
		begun <- true
		<-ctx.Done()
		broken <- context.Cause(ctx)
		return ctx.Err()
	}
	stop := bus.Serve(s)
	r := bus.Connect()
	ended := make(chan error, 1)
	go func() {
		_, err := transfer.Fetch(t.Context(), stateAsk(r, protocol.StateTake), io.Discard)
		ended <- err
	}()
	<-begun
	var refused *transfer.Error
	if _, err := transfer.Fetch(t.Context(), stateAsk(r, protocol.StateTake), io.Discard); !errors.As(err, &refused) || refused.Code != protocol.CodeBusy {
		t.Errorf("the second one: %v", err)
	}
	stop()
	if err := <-broken; err == nil {
		t.Error("it was not broken off")
	}
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "instance") {
		t.Errorf("the first one: %v", err)
	}
}

func TestHalfAStateIsRefused(t *testing.T) {
	s := says("book", "0.0.1", "")
	s.State.Take = func(context.Context, string, io.Writer) error { return nil }
	err := relaytest.Start(t).Connect().Serve(t.Context(), s)
	if want := "service book 0.0.1: State needs Take, Check and Put: give all three, or none"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

package transfer_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
	"github.com/golive-dev/golive/relay/transfer"
)

const subject = "golive.state.book.0_0_1.any"

// keeper keeps a state in memory, or does what a test has it do.
type keeper struct {
	take func(context.Context, io.Writer) error
	read func(context.Context, io.Reader) error

	nc    *nats.Conn
	mu    sync.Mutex
	ended []error
	work  sync.WaitGroup
}

// listen has the keeper answer on the bus until the test ends.
func (k *keeper) listen(t *testing.T, bus *relaytest.Bus) {
	t.Helper()
	k.nc = bus.Connect().Conn()
	ctx, stop := context.WithCancel(context.Background())
	_, err := k.nc.Subscribe(subject, func(m *nats.Msg) {
		var o protocol.StateOrder
		if err := json.Unmarshal(m.Data, &o); err != nil {
			t.Error(err)
			return
		}
		who := protocol.StateAnswer{From: "instance 1", Host: "db-1"}
		k.work.Go(func() {
			var err error
			if o.Do == protocol.StateTake {
				err = transfer.Give(ctx, k.nc, m.Reply, o, who, k.take)
			} else {
				err = transfer.Receive(ctx, k.nc, m.Reply, o, who, k.read)
			}
			k.mu.Lock()
			defer k.mu.Unlock()
			k.ended = append(k.ended, err)
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		k.work.Wait()
	})
}

func ask(bus *relaytest.Bus, do string) transfer.Ask {
	nc := bus.Connect().Conn()
	return transfer.Ask{Conn: nc, Subject: subject, Inbox: nc.NewInbox(), Order: protocol.StateOrder{
		Snapshot: "s", App: "ledger", Service: "book", Version: "0.0.1", Do: do, Timeout: protocol.Duration(time.Minute), Most: 64 << 20,
	}}
}

func TestAStateIsCarriedThereAndBack(t *testing.T) {
	t.Parallel()
	bus := relaytest.Start(t)
	for _, size := range []int{1, protocol.StatePiece - 1, protocol.StatePiece, protocol.StatePiece + 1, 5 << 20} {
		state := make([]byte, size)
		_, _ = rand.Read(state)
		var put []byte
		k := &keeper{
			take: func(_ context.Context, w io.Writer) error { _, err := io.Copy(w, bytes.NewReader(state)); return err },
			read: func(_ context.Context, r io.Reader) (err error) { put, err = io.ReadAll(r); return err },
		}
		one := relaytest.Start(t)
		k.listen(t, one)
		var taken bytes.Buffer
		who, err := transfer.Fetch(t.Context(), ask(one, protocol.StateTake), &taken)
		if err != nil || !bytes.Equal(taken.Bytes(), state) || transfer.Name(who) != "instance 1 on db-1" {
			t.Fatalf("%d bytes: took %d of %q: %v", size, taken.Len(), transfer.Name(who), err)
		}
		if _, err := transfer.Deliver(t.Context(), ask(one, protocol.StatePut), bytes.NewReader(state)); err != nil || !bytes.Equal(put, state) {
			t.Fatalf("%d bytes: put %d: %v", size, len(put), err)
		}
	}
	if _, err := transfer.Fetch(t.Context(), ask(bus, protocol.StateTake), io.Discard); !errors.Is(err, transfer.ErrNobody) {
		t.Errorf("nobody keeps it: %v", err)
	}
}

// What a keeper does wrong is said, with its name, and nothing of it runs on.
func TestAKeeperThatFails(t *testing.T) {
	t.Parallel()
	hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	for name, c := range map[string]struct {
		take func(context.Context, io.Writer) error
		want string
	}{
		"fails": {func(_ context.Context, w io.Writer) error {
			_, err := w.Write([]byte("half"))
			return errors.Join(err, errors.New("the disk\nis full"))
		}, "instance 1 on db-1: the disk is full"},
		"nothing":  {func(context.Context, io.Writer) error { return nil }, "instance 1 on db-1: it has ended without any data"},
		"too much": {func(_ context.Context, w io.Writer) error { _, err := w.Write(make([]byte, 1001)); return err }, "it has written more than 1000 bytes"},
		"just":     {func(_ context.Context, w io.Writer) error { _, err := w.Write(make([]byte, 1000)); return err }, ""},
		"panics":   {func(context.Context, io.Writer) error { panic("oh") }, "instance 1 on db-1: panic: oh"},
		"hangs":    {func(ctx context.Context, _ io.Writer) error { return hang(ctx) }, "instance 1 on db-1: it has not ended within 1.5s"},
		"hangs in the middle": {func(ctx context.Context, w io.Writer) error { _, _ = w.Write([]byte("half")); return hang(ctx) },
			"instance 1 on db-1: it has not ended within 1.5s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bus := relaytest.Start(t)
			k := &keeper{take: c.take}
			k.listen(t, bus)
			q := ask(bus, protocol.StateTake)
			q.Order.Most, q.Order.Timeout = 1000, protocol.Duration(1500*time.Millisecond)
			_, err := transfer.Fetch(t.Context(), q, io.Discard)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			k.work.Wait()
			if k.ended[0] == nil && c.want != "" {
				t.Error("the keeper was not told")
			}
		})
	}
}

func TestAReaderThatFails(t *testing.T) {
	t.Parallel()
	state := make([]byte, 3*protocol.StatePiece)
	for name, c := range map[string]struct {
		read func(context.Context, io.Reader) error
		want string
	}{
		"refuses":  {func(context.Context, io.Reader) error { return errors.New("it is of another book") }, "instance 1 on db-1: it is of another book"},
		"too soon": {func(context.Context, io.Reader) error { return nil }, "it has ended before it had read all of it"},
		"leaves the last": {func(_ context.Context, r io.Reader) error {
			_, err := io.CopyN(io.Discard, r, int64(len(state)-1))
			return err
		}, "it has ended before it had read all of it"},
		"to the last byte": {func(_ context.Context, r io.Reader) error {
			_, err := io.CopyN(io.Discard, r, int64(len(state)))
			return err
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bus := relaytest.Start(t)
			k := &keeper{read: c.read}
			k.listen(t, bus)
			_, err := transfer.Deliver(t.Context(), ask(bus, protocol.StatePut), bytes.NewReader(state))
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// A put whose sender breaks off never sees the end of what was to be put.
func TestWhatWasCutOffIsNotPut(t *testing.T) {
	t.Parallel()
	bus := relaytest.Start(t)
	seen := make(chan error, 1)
	k := &keeper{read: func(_ context.Context, r io.Reader) error { _, err := io.Copy(io.Discard, r); seen <- err; return err }}
	k.listen(t, bus)
	broken := errors.New("the archive is damaged")
	_, err := transfer.Deliver(t.Context(), ask(bus, protocol.StatePut), io.MultiReader(bytes.NewReader(make([]byte, 1<<20)), failing{broken}))
	if !errors.Is(err, broken) {
		t.Errorf("the sender says %v", err)
	}
	if err := <-seen; err == nil {
		t.Error("the reader saw the end of what was cut off")
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// A keeper that dies in the middle is missed within seconds.
func TestAKeeperThatDies(t *testing.T) {
	t.Parallel()
	bus := relaytest.Start(t)
	k := &keeper{}
	k.take = func(ctx context.Context, w io.Writer) error {
		_, _ = w.Write(make([]byte, 2*protocol.StatePiece))
		k.nc.Close()
		return errors.New("dead")
	}
	k.listen(t, bus)
	began := time.Now()
	_, err := transfer.Fetch(t.Context(), ask(bus, protocol.StateTake), io.Discard)
	if err == nil || !strings.Contains(err.Error(), "instance 1 on db-1: it has died in the middle") || time.Since(began) > 15*time.Second {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
}

func TestAFolderIsPackedAndUnpacked(t *testing.T) {
	t.Parallel()
	from, to := t.TempDir(), t.TempDir()
	want := fill(t, from, map[string]string{"a": "1", "b/c/d": strings.Repeat("x", 1<<20), "b/ü": ""})
	var archive, again bytes.Buffer
	if err := errors.Join(transfer.Pack(t.Context(), from, &archive), transfer.Pack(t.Context(), from, &again)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(archive.Bytes(), again.Bytes()) {
		t.Error("the same folder gives another archive")
	}
	if err := transfer.Unpack(t.Context(), &archive, to); err != nil {
		t.Fatal(err)
	}
	if got := content(t, to); got != want {
		t.Errorf("unpacked %s, want %s", got, want)
	}
	var none bytes.Buffer
	if err := transfer.Pack(t.Context(), t.TempDir(), &none); err != nil || none.Len() != 0 {
		t.Errorf("an empty folder: %d bytes, %v", none.Len(), err)
	}
	if err := transfer.Unpack(t.Context(), bytes.NewReader(again.Bytes()[:5000]), t.TempDir()); err == nil {
		t.Error("an archive that was cut off is unpacked")
	}
	if err := transfer.Unpack(t.Context(), bytes.NewReader(again.Bytes()), to); err == nil {
		t.Error("files are overwritten")
	}
	if got := fmt.Sprint(content(t, from)); got != want {
		t.Errorf("the folder was changed: %s", got)
	}
}

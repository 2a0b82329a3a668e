package snapshot_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/golive-dev/golive/orchestrator/mask"
	"github.com/golive-dev/golive/orchestrator/snapshot"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
	"github.com/golive-dev/golive/relay/transfer"
)

// asking reaches the service book on a bus.
type asking struct{ *world }

func (k asking) ask(w snapshot.Want) transfer.Ask {
	return transfer.Ask{Conn: k.nc, Subject: protocol.StateSubject("book", "0.0.1", w.Do), Inbox: k.nc.NewInbox(), Order: protocol.StateOrder{
		Snapshot: w.Snapshot, App: w.App, Service: "book", Version: "0.0.1", Do: w.Do, Timeout: w.Part.Timeout, Most: w.Part.Most,
	}}
}

func (k asking) Fetch(ctx context.Context, w snapshot.Want, to io.Writer) (string, error) {
	who, err := transfer.Fetch(ctx, k.ask(w), to)
	return transfer.Name(who), err
}

func (k asking) Deliver(ctx context.Context, w snapshot.Want, r io.Reader) (string, error) {
	who, err := transfer.Deliver(ctx, k.ask(w), r)
	return transfer.Name(who), err
}

// wantedBook is a snapshot that is to hold what the service book keeps.
func wantedBook(t testing.TB) snapshot.Snapshot {
	t.Helper()
	id, err := uuid.NewV7()
	must(t, err)
	return snapshot.Snapshot{ID: id.String(), App: "ledger", Version: "0.0.1", Services: []snapshot.Service{{
		Name: "book", Version: "0.0.1",
		Parts: []snapshot.Part{{Kind: snapshot.KindMessages, Name: "book", Timeout: snapshot.Duration(10 * time.Minute), Most: 4 << 30}},
	}}}
}

// serveBook runs the service.
func serveBook(t testing.TB, server *relaytest.Bus, s relay.State) {
	t.Helper()
	server.Serve(relay.Service{Name: "book", Version: "0.0.1", State: s, Handlers: map[string]relay.Handler{
		"any": func(context.Context, *relay.Message) (any, error) { return nil, nil },
	}})
}

// memory is a state in memory.
func memory(book *[]byte) relay.State {
	all := func(_ context.Context, _ string, r io.Reader) error { _, err := io.Copy(io.Discard, r); return err }
	return relay.State{
		Take:  func(_ context.Context, _ string, w io.Writer) error { _, err := w.Write(*book); return err },
		Check: all,
		Put: func(_ context.Context, _ string, r io.Reader) error {
			put, err := io.ReadAll(r)
			if err == nil {
				*book = put
			}
			return err
		},
	}
}

func TestWhatAServiceKeepsIsPutBack(t *testing.T) {
	t.Parallel()
	server := relaytest.Start(t)
	w := on(t, server)
	book := []byte("before")
	serveBook(t, server, memory(&book))
	for name, store := range stores(w) {
		book = []byte("before")
		s := &snapshot.Snapshots{JetStream: w.bus, Store: store, Keeper: asking{w}, Now: time.Now}
		taken, err := s.Take(w.ctx, wantedBook(t), silent)
		must(t, err)
		part := taken.Services[0].Parts[0]
		for range 2 {
			book = []byte("after")
			must(t, s.PutPart(w.ctx, taken, "book", part, silent))
			if string(book) != "before" {
				t.Errorf("%s: put %q", name, book)
			}
		}
		if err := s.PutPart(w.ctx, taken, "other", part, silent); !errors.Is(err, snapshot.ErrNotFound) {
			t.Errorf("%s: of a service that it does not hold: %v", name, err)
		}
		if err := (&snapshot.Snapshots{Store: store, Now: time.Now}).PutPart(w.ctx, taken, "book", part, silent); err == nil {
			t.Errorf("%s: it is put by nobody", name)
		}
	}
}

// A damaged archive is neither put nor checked well, and the service is not touched.
func TestADamagedStateIsNotPut(t *testing.T) {
	t.Parallel()
	server := relaytest.Start(t)
	w := on(t, server)
	book := bytes.Repeat([]byte("an entry "), 10_000)
	serveBook(t, server, memory(&book))
	folder := t.TempDir()
	s := &snapshot.Snapshots{JetStream: w.bus, Store: snapshot.Folder(folder), Keeper: asking{w}, Now: time.Now}
	taken, err := s.Take(w.ctx, wantedBook(t), silent)
	must(t, err)
	path := filepath.Join(folder, "ledger", taken.ID, "book", "messages-book.s2")
	whole, err := os.ReadFile(path)
	must(t, err)
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	for name, archive := range map[string][]byte{"cut off": whole[:len(whole)/2], "empty": {}, "longer": append(bytes.Clone(whole), 1), "flipped": flipped} {
		must(t, os.WriteFile(path, archive, 0o600))
		book = []byte("after")
		if err := s.PutPart(w.ctx, taken, "book", taken.Services[0].Parts[0], silent); !errors.Is(err, snapshot.ErrDamaged) || string(book) != "after" {
			t.Errorf("%s: %v, and the book is %.20q", name, err, book)
		}
		if _, err := s.Check(w.ctx, taken, silent); !errors.Is(err, snapshot.ErrDamaged) {
			t.Errorf("%s: checked: %v", name, err)
		}
	}
	must(t, os.Remove(path))
	if _, err := s.Check(w.ctx, taken, silent); !errors.Is(err, snapshot.ErrDamaged) {
		t.Errorf("missing: %v", err)
	}
}

// BenchmarkKeeper takes, checks and puts what a service keeps, half of it random, and tells the
// memory in use at most, of all in this process: the service, the server and the orchestrator's side.
func BenchmarkKeeper(b *testing.B) {
	server := relaytest.Start(b)
	w := on(b, server)
	w.ctx = b.Context()
	size := int64(*benchMegabytes) * 1_000_000
	read := func(_ context.Context, _ string, r io.Reader) error { _, err := io.Copy(io.Discard, r); return err }
	serveBook(b, server, relay.State{Check: read, Put: read, Take: func(_ context.Context, _ string, w io.Writer) error {
		block, random := make([]byte, 64<<10), rand.NewChaCha8([32]byte{})
		for left := size; left > 0; left -= int64(len(block)) {
			_, _ = random.Read(block[:len(block)/2]) // never fails
			if _, err := w.Write(block[:min(left, int64(len(block)))]); err != nil {
				return err
			}
		}
		return nil
	}})
	s := &snapshot.Snapshots{JetStream: w.bus, Store: snapshot.Folder(b.TempDir()), Keeper: asking{w}, Now: time.Now}
	var taken snapshot.Snapshot
	b.Run("take", func(b *testing.B) {
		b.SetBytes(size)
		peak := heapPeak(func() {
			for b.Loop() {
				var err error
				taken, err = s.Take(w.ctx, wantedBook(b), silent)
				must(b, err)
			}
		})
		b.ReportMetric(float64(peak)/1e6, "MB-heap")
	})
	b.Run("put", func(b *testing.B) {
		b.SetBytes(size)
		peak := heapPeak(func() {
			for b.Loop() {
				must(b, s.PutPart(w.ctx, taken, "book", taken.Services[0].Parts[0], silent))
			}
		})
		b.ReportMetric(float64(peak)/1e6, "MB-heap")
	})
}

// A copy holds what a service keeps byte for byte, and none where something is to be masked: it
// cannot be read.
func TestWhatAServiceKeepsIsCopiedWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	server := relaytest.Start(t)
	w := on(t, server)
	book := []byte("before")
	serveBook(t, server, memory(&book))
	s := &snapshot.Snapshots{JetStream: w.bus, Store: snapshot.Folder(w.TempDir()), Keeper: asking{w}, Now: time.Now}
	taken, err := s.Take(w.ctx, wantedBook(t), silent)
	must(t, err)
	copied, err := s.Copy(w.ctx, taken, uuid.Must(uuid.NewV7()).String(), "", snapshot.Cut{Latest: 1}, silent)
	must(t, err)
	if is, was := copied.Services[0].Parts[0], taken.Services[0].Parts[0]; is.SHA256 != was.SHA256 || is.Size != was.Size || is.Size == 0 {
		t.Errorf("the copy is %+v of %+v", is, was)
	}
	masks := snapshot.Cut{Mask: snapshot.MaskedParts{"other": {"name": mask.Text}}}
	if _, err := s.Copy(w.ctx, taken, uuid.Must(uuid.NewV7()).String(), "", masks, silent); !errors.Is(err, snapshot.ErrMask) {
		t.Errorf("beside what is masked: %v", err)
	}
}

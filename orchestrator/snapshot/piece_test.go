package snapshot_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/snapshot"
)

// What was taken is the same in pieces of any size, also where other objects were stored between
// its chunks, and nothing but what the manifest names is given.
func TestAnArchiveInPieces(t *testing.T) {
	w := start(t)
	wanted := shop(w)
	for name, store := range stores(w) {
		s := snapshot.Snapshots{JetStream: w.bus, Store: store, Now: time.Now}
		body := bytes.Repeat([]byte("0123456789abcde\n"), 100_000)
		wanted.Services[0].Parts[0].Name = "ORDERS"
		taken, err := s.Take(w.ctx, wanted, silent)
		must(t, err)
		long := taken
		p := taken.Services[0].Parts[0]
		must(t, store.Write(w.ctx, "shop/"+taken.ID+"/orders/stream-ORDERS.s2", func(out io.Writer) error {
			for rest := body; len(rest) > 0; rest = rest[min(len(rest), 300_000):] {
				if _, err := out.Write(rest[:min(len(rest), 300_000)]); err != nil {
					return err
				}
				if err := store.Write(w.ctx, "shop/between", func(io.Writer) error { return nil }); err != nil {
					return err
				}
			}
			return nil
		}))
		p.Size = int64(len(body))
		for _, length := range []int{1 << 18, snapshot.MaxPiece, 777_777} {
			var got []byte
			for offset := int64(0); ; offset += int64(length) {
				piece, err := s.Piece(w.ctx, long, "orders", p, offset, length)
				must(t, err)
				if len(piece) == 0 {
					break
				}
				got = append(got, piece...)
			}
			if !bytes.Equal(got, body) {
				t.Errorf("%s: %d bytes in pieces of %d are not the %d that were stored", name, len(got), length, len(body))
			}
		}
		for _, wrong := range []struct {
			offset int64
			length int
		}{{-1, 1}, {0, 0}, {0, snapshot.MaxPiece + 1}} {
			if _, err := s.Piece(w.ctx, long, "orders", p, wrong.offset, wrong.length); err == nil {
				t.Errorf("%s: %d bytes at %d are given", name, wrong.length, wrong.offset)
			}
		}
		p.Size++
		if _, err := s.Piece(w.ctx, long, "orders", p, int64(len(body)), 1); !errors.Is(err, snapshot.ErrDamaged) {
			t.Errorf("%s: behind the end of what is stored: %v", name, err)
		}
		must(t, store.Remove(w.ctx, "shop/"+taken.ID+"/orders/stream-ORDERS.s2"))
		if _, err := s.Piece(w.ctx, long, "orders", p, 0, 1); !errors.Is(err, snapshot.ErrDamaged) {
			t.Errorf("%s: of what is not there: %v", name, err)
		}
		if _, err := taken.Part("orders", snapshot.KindKV, "ORDERS"); !errors.Is(err, snapshot.ErrNotFound) {
			t.Errorf("a bucket that is a stream: %v", err)
		}
	}
}

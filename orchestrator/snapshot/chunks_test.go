package snapshot_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/snapshot"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/embedded"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

var benchDelay = flag.Duration("snapshot.delay", 0, "how far the server of BenchmarkObjects is, one way")

// BenchmarkObjects writes objects of -snapshot.mb megabytes, to a server that syncs each write.
func BenchmarkObjects(b *testing.B) {
	server, err := embedded.Start(embedded.Config{Data: b.TempDir(), Listen: "127.0.0.1:0"})
	must(b, err)
	b.Cleanup(func() { must(b, server.Stop()) })
	url := server.URL()
	if *benchDelay > 0 {
		cable := relaytest.NewCable(b, strings.TrimPrefix(url, "nats://"))
		cable.Delay(*benchDelay)
		url = cable.URL()
	}
	nc, err := nats.Connect(url)
	must(b, err)
	b.Cleanup(nc.Close)
	ctx := b.Context()
	objects, err := snapshot.MakeObjects(ctx, nc, "of-this-test", 1)
	must(b, err)
	data := make([]byte, 1_000_000)
	b.SetBytes(int64(*benchMegabytes * len(data)))
	for b.Loop() {
		must(b, objects.Write(ctx, "shop/one", func(to io.Writer) error {
			for range *benchMegabytes {
				if _, err := to.Write(data); err != nil {
					return err
				}
			}
			return nil
		}))
	}
}

// chunkBytes is how large a chunk of an object is.
const chunkBytes = 256 << 10

// room is an object store, and the stream that keeps it.
type room struct {
	*world
	objects *snapshot.Objects
	stream  jetstream.Stream
}

func newRoom(t *testing.T) *room {
	w := start(t)
	objects, err := snapshot.MakeObjects(w.ctx, w.nc, "of-this-test", 1)
	must(t, err)
	stream, err := w.js.Stream(w.ctx, "OBJ_"+protocol.SnapshotsStore)
	must(t, err)
	return &room{w, objects, stream}
}

// kept is how many messages the store has.
func (r *room) kept() uint64 {
	r.Helper()
	info, err := r.stream.Info(r.ctx)
	must(r, err)
	return info.State.Msgs
}

// change changes the configuration of the stream.
func (r *room) change(f func(*jetstream.StreamConfig)) {
	r.Helper()
	info, err := r.stream.Info(r.ctx)
	must(r, err)
	f(&info.Config)
	_, err = r.js.UpdateStream(r.ctx, info.Config)
	must(r, err)
}

// holds reports where what is stored differs from data.
func (r *room) holds(data []byte) {
	r.Helper()
	from, err := r.objects.Open(r.ctx, "shop/one")
	must(r, err)
	got, err := io.ReadAll(from)
	must(r, errors.Join(err, from.Close()))
	if !bytes.Equal(got, data) {
		r.Errorf("%d bytes were stored, and %d others were read", len(data), len(got))
	}
	if n := r.kept(); n != uint64((len(data)+chunkBytes-1)/chunkBytes)+1 {
		r.Errorf("%d messages are stored of %d bytes", n, len(data))
	}
}

func randomBytes(n int) []byte {
	data := make([]byte, n)
	source := rand.NewPCG(1, uint64(n))
	for i := range data {
		data[i] = byte(source.Uint64())
	}
	return data
}

// Objects of any number of chunks are what was written: fewer than may be under way, as many, more.
func TestObjectsOfAnySizeAreWhatWasWritten(t *testing.T) {
	r := newRoom(t)
	for _, size := range []int{0, 1, chunkBytes - 1, chunkBytes, chunkBytes + 1, 4 * chunkBytes, 4*chunkBytes + 1, 5 * chunkBytes, 13*chunkBytes + 7} {
		data := randomBytes(size)
		must(t, r.objects.Write(r.ctx, "shop/one", func(to io.Writer) error {
			_, err := io.Copy(to, struct{ io.Reader }{bytes.NewReader(data)}) // in pieces
			return err
		}))
		r.holds(data)
	}
}

// A chunk that nobody stores, as when the stream has no leader for a moment, is sent again with
// those behind it, so that all are stored in order.
func TestAChunkThatNobodyStoredIsSentAgainInOrder(t *testing.T) {
	const chunks = 9
	for lost := range chunks {
		r := newRoom(t)
		data := randomBytes(chunks * chunkBytes)
		must(t, r.objects.Write(r.ctx, "shop/one", func(to io.Writer) error {
			for part := range slices.Chunk(data, chunkBytes) {
				at := &part[0] == &data[lost*chunkBytes]
				if at {
					must(t, r.nc.FlushWithContext(r.ctx))
					r.change(func(c *jetstream.StreamConfig) { c.Subjects = []string{"elsewhere"} })
				}
				if _, err := to.Write(part); err != nil {
					return err
				}
				if at {
					must(t, r.nc.FlushWithContext(r.ctx))
					r.change(func(c *jetstream.StreamConfig) { c.Subjects = []string{"$O." + protocol.SnapshotsStore + ".>"} })
				}
			}
			return nil
		}))
		r.holds(data)
	}
}

// A write that fails leaves none of the chunks that were under way, and what was stored before.
func TestAWriteThatFailsLeavesNoChunk(t *testing.T) {
	failed := errors.New("the disk is on fire")
	data := randomBytes(3*chunkBytes + 1)
	for name, c := range map[string]struct {
		fail func(r *room, cancel func()) error
		want error
	}{
		"its source fails":       {func(*room, func()) error { return failed }, failed},
		"its caller has no time": {func(_ *room, cancel func()) error { cancel(); return nil }, context.Canceled},
		"there is no room": {func(r *room, _ func()) error {
			r.change(func(c *jetstream.StreamConfig) { c.MaxBytes = 12 * chunkBytes })
			return nil
		}, bus.ErrFull},
	} {
		r := newRoom(t)
		must(t, r.objects.Write(r.ctx, "shop/one", func(to io.Writer) error {
			_, err := to.Write(data)
			return err
		}))
		ctx, cancel := context.WithCancel(r.ctx)
		err := r.objects.Write(ctx, "shop/one", func(to io.Writer) error {
			if _, err := to.Write(randomBytes(5 * chunkBytes)); err != nil {
				return err
			}
			if err := c.fail(r, cancel); err != nil {
				return err
			}
			_, err := to.Write(randomBytes(20 * chunkBytes))
			return err
		})
		cancel()
		if !errors.Is(err, c.want) {
			t.Errorf("%s: the error is %v", name, err)
		}
		r.holds(data)
		if r.nc.NumSubscriptions() > 1 {
			t.Errorf("%s: %d subscriptions are left", name, r.nc.NumSubscriptions())
		}
	}
}

package snapshot_test

import (
	"context"
	"crypto/rand"
	"flag"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/snapshot"
)

var (
	benchMegabytes = flag.Int("snapshot.mb", 1, "megabytes in the stream of BenchmarkSnapshot")
	benchMessage   = flag.Int("snapshot.message", 1000, "bytes of a message of it, half of them random")
)

// BenchmarkSnapshot takes a stream into a file, reads it there, and puts it back; beside the take
// a writer goes on with another stream. It tells the memory in use at most, of all in this
// process, the server with it.
func BenchmarkSnapshot(b *testing.B) {
	w := start(b)
	w.ctx = b.Context()
	_, err := w.js.CreateStream(w.ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	must(b, err)
	_, err = w.js.CreateStream(w.ctx, jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"other"}})
	must(b, err)
	size := fillForBench(w)
	file := filepath.Join(b.TempDir(), "archive")
	var taken snapshot.Taken
	alone := writes(w, func() {}, 300)
	b.Run("take", func(b *testing.B) {
		b.SetBytes(size)
		var beside []time.Duration
		peak := heapPeak(func() {
			for b.Loop() {
				f, err := os.Create(file)
				must(b, err)
				beside = append(beside, writes(w, func() { taken, err = snapshot.Take(w.ctx, w.bus, "S", f) }, 0)...)
				must(b, err)
				must(b, f.Close())
			}
		})
		b.ReportMetric(float64(peak)/1e6, "MB-heap")
		b.ReportMetric(p99(alone).Seconds()*1000, "ms-p99-alone")
		b.ReportMetric(p99(beside).Seconds()*1000, "ms-p99-beside")
	})
	open := func() (io.ReadCloser, error) { return os.Open(file) }
	b.Run("check", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			r, err := open()
			must(b, err)
			_, err = snapshot.Read(r)
			must(b, err)
			must(b, r.Close())
		}
	})
	b.Run("put", func(b *testing.B) {
		b.SetBytes(size)
		peak := heapPeak(func() {
			for b.Loop() {
				must(b, w.js.DeleteStream(w.ctx, "S"))
				_, err := snapshot.Put(w.ctx, w.bus, snapshot.Source{Config: taken.Config, Archive: open})
				must(b, err)
			}
		})
		b.ReportMetric(float64(peak)/1e6, "MB-heap")
	})
}

// fillForBench fills the stream, and gives how many bytes it has then.
func fillForBench(w *world) int64 {
	w.Helper()
	body := make([]byte, *benchMessage)
	count := *benchMegabytes * 1_000_000 / len(body)
	for range count {
		_, err := rand.Read(body[:len(body)/2])
		must(w, err)
		_, err = w.js.PublishAsync("s", slices.Clone(body))
		must(w, err)
	}
	select {
	case <-w.js.PublishAsyncComplete():
	case <-w.ctx.Done():
		w.Fatal(w.ctx.Err())
	}
	s, err := w.js.Stream(w.ctx, "S")
	must(w, err)
	if is := s.CachedInfo().State.Msgs; is != uint64(count) {
		w.Fatalf("%d messages are there, want %d", is, count)
	}
	return int64(s.CachedInfo().State.Bytes)
}

// writes is how long each write to another stream takes while f runs, of least so many.
func writes(w *world, f func(), least int) []time.Duration {
	ctx, stop := context.WithCancel(w.ctx)
	var all []time.Duration
	var writing sync.WaitGroup
	writing.Go(func() {
		for ctx.Err() == nil || len(all) < least {
			began := time.Now()
			if _, err := w.js.Publish(w.ctx, "other", []byte("text")); err == nil {
				all = append(all, time.Since(began))
			}
		}
	})
	f()
	stop()
	writing.Wait()
	return all
}

func p99(all []time.Duration) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)*99/100]
}

// heapPeak is how much memory is in use at most while f runs, looked at now and then.
func heapPeak(f func()) uint64 {
	done := make(chan struct{})
	peak := uint64(0)
	var looking sync.WaitGroup
	looking.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapInuse)
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	})
	f()
	close(done)
	looking.Wait()
	return peak
}

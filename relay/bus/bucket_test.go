package bus_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/relaytest"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// within gives a context for what must happen in time.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestABucketIsReadFromItsLeader(t *testing.T) {
	r := relaytest.Start(t).Connect()
	ctx := within(t, patience)
	kv, err := bus.Make(ctx, r.Conn(), bus.Bucket{Name: "test", MaxAge: time.Hour}, "", 1)
	must(t, err)
	js, err := jetstream.New(r.Conn())
	must(t, err)
	stream, err := js.Stream(ctx, "KV_test")
	must(t, err)
	c := stream.CachedInfo().Config
	if c.AllowDirect || c.MaxAge != time.Hour || c.Replicas != 1 || c.MaxMsgsPerSubject != 1 || c.Storage != jetstream.FileStorage {
		t.Errorf("the stream is %+v", c)
	}
	first, err := kv.Create(ctx, "a", []byte("1"))
	must(t, err)
	if _, err := kv.Create(ctx, "a", []byte("2")); err == nil {
		t.Error("a key was created twice")
	}
	if _, err := kv.Update(ctx, "a", []byte("2"), first+1); err == nil {
		t.Error("a key was written on a revision that it has not")
	}
	_, err = kv.Update(ctx, "a", []byte("2"), first)
	must(t, err)
	must(t, kv.Delete(ctx, "a"))
	_, err = kv.Create(ctx, "a", []byte("3"))
	must(t, err)
}

func TestManyCanOpenABucketAtOnce(t *testing.T) {
	server := relaytest.Start(t)
	var opening sync.WaitGroup
	for range 8 {
		r := server.Connect()
		opening.Go(func() {
			kv, err := bus.Make(within(t, patience), r.Conn(), bus.Bucket{Name: "test"}, "", 1)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := kv.Put(within(t, patience), "a", nil); err != nil {
				t.Error(err)
			}
		})
	}
	opening.Wait()
	again, err := bus.Open(within(t, patience), server.Connect().Conn(), bus.Bucket{Name: "test"})
	must(t, err)
	entry, err := again.Get(within(t, patience), "a")
	must(t, err)
	if entry.Revision() != 8 {
		t.Errorf("%d writes, want 8", entry.Revision())
	}
}

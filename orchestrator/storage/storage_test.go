package storage_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/golive-dev/golive/orchestrator/storage"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/embedded"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

const patience = 30 * time.Second // of everything a test waits for

func TestMain(m *testing.M) {
	relaytest.Parallel(4)
	m.Run()
}

// bench is a probe of a bus.
type bench struct {
	t      *testing.T
	server *embedded.Server
	relay  *relay.Relay
	js     jetstream.JetStream
	probe  *storage.Probe
	logs   *observer.ObservedLogs
}

func newBench(t *testing.T, c embedded.Config) *bench {
	t.Helper()
	if c.Data == "" {
		c.Data = t.TempDir()
	}
	server, err := embedded.Start(c)
	must(t, err)
	t.Cleanup(func() { must(t, server.Stop()) })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := relay.Connect(ctx, relay.Config{URL: server.URL()})
	must(t, err)
	t.Cleanup(r.Close)
	_, _, err = bus.MakeRoutes(ctx, r.Conn(), "", 1)
	must(t, err)
	js, err := jetstream.New(r.Conn())
	must(t, err)
	core, logs := observer.New(zap.InfoLevel)
	probe, err := storage.New(storage.Config{Conn: r.Conn(), Version: "1.0.0", ID: "one", Every: 20 * time.Millisecond, Log: zap.New(core)})
	must(t, err)
	working, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- probe.Run(working) }()
	t.Cleanup(func() {
		stop()
		must(t, <-ended)
	})
	return &bench{t, server, r, js, probe, logs}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (b *bench) until(what string, ok func() bool) {
	b.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); !ok(); {
		select {
		case <-tick.C:
		case <-deadline:
			b.t.Fatalf("not within %s: %s; the trouble is %q", patience, what, b.probe.Trouble())
		}
	}
}

// troubled waits until the bus stores nothing for a reason, which is told once.
func (b *bench) troubled(why string) {
	b.t.Helper()
	b.until("the trouble: "+why, func() bool { return strings.HasSuffix(b.probe.Trouble(), ": "+why) })
	if !strings.HasPrefix(b.probe.Trouble(), "the bus has stored nothing for ") {
		b.t.Errorf("the trouble is %q", b.probe.Trouble())
	}
	if n := b.logs.FilterField(zap.String("why", why)).Len(); n != 1 {
		b.t.Errorf("it was told %d times", n)
	}
}

// recovered waits until the bus stores again.
func (b *bench) recovered() {
	b.t.Helper()
	b.until("the end of the trouble", func() bool { return b.probe.Trouble() == "" })
	if n := b.logs.FilterMessage("the bus stores again").Len(); n != 1 {
		b.t.Errorf("that the bus stores again was told %d times", n)
	}
}

// leased waits until a further lease of the probe is stored.
func (b *bench) leased() {
	b.t.Helper()
	stream, err := b.js.Stream(b.t.Context(), "KV_"+protocol.LeasesBucket)
	must(b.t, err)
	before := stream.CachedInfo().State.LastSeq
	b.until("a lease", func() bool {
		info, err := stream.Info(b.t.Context())
		must(b.t, err)
		return info.State.LastSeq > before
	})
}

func TestABusThatStoresIsNoTrouble(t *testing.T) {
	t.Parallel()
	b := newBench(t, embedded.Config{})
	b.leased()
	if trouble := b.probe.Trouble(); trouble != "" {
		t.Errorf("the trouble is %q", trouble)
	}
	must(t, b.server.Stop()) // it is away: that is another story
	b.until("the loss of the bus", func() bool { return !b.relay.Conn().IsConnected() })
	if trouble := b.probe.Trouble(); trouble != "" {
		t.Errorf("while the bus is away the trouble is %q", trouble)
	}
	if none := (*storage.Probe)(nil).Trouble(); none != "" {
		t.Errorf("the trouble of no probe is %q", none)
	}
}

func TestAFullJetStreamIsNamed(t *testing.T) {
	t.Parallel()
	b := newBench(t, embedded.Config{MaxStore: 1 << 20, Unsynced: true})
	b.leased()
	filler, err := b.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "filler", Subjects: []string{"filler"}})
	must(t, err)
	for size := 1 << 16; size > 0; {
		if _, err = b.js.Publish(t.Context(), "filler", make([]byte, size)); err != nil {
			size /= 2
		}
	}
	var refused *jetstream.APIError
	if !errors.As(err, &refused) {
		t.Fatalf("what does not fit any more gives %v", err)
	}
	b.troubled("JetStream is full (insufficient resources): raise max_file_store of the server, or drop what is not needed")
	must(t, filler.Purge(t.Context()))
	b.recovered()
}

func TestABucketThatIsGoneIsNamed(t *testing.T) {
	t.Parallel()
	b := newBench(t, embedded.Config{})
	must(t, b.js.DeleteStream(t.Context(), "KV_"+protocol.LeasesBucket))
	b.troubled("the bucket golive-leases is gone")
	_, err := bus.Make(t.Context(), b.relay.Conn(), bus.Leases, "", 1)
	must(t, err)
	b.recovered()
}

package ledger_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/ledger"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

func newID(t testing.TB) string {
	t.Helper()
	id, err := uuid.NewV7()
	must(t, err)
	return id.String()
}

// BenchmarkStart is what the ledger adds to the start of an orchestrator in an environment
// with 100,000 finished rollouts of 1,000 apps, and what the first question about one of
// the apps costs.
func BenchmarkStart(b *testing.B) {
	const rollouts, apps = 100_000, 1_000
	store, nc := newStore(b)
	p := fill(b, store, nc, rollouts, apps)
	b.Run("environment", func(b *testing.B) {
		for b.Loop() {
			env, err := openStore(b, nc).Load(b.Context())
			must(b, err)
			if x := ledger.NewIndex(env, store, p.Tail); x.Sequence() != 2*rollouts || len(x.Apps()) != apps {
				b.Fatalf("the environment reaches %d", x.Sequence())
			}
		}
	})
	b.Run("book", func(b *testing.B) {
		env, err := store.Load(b.Context())
		must(b, err)
		for b.Loop() {
			book, err := ledger.NewIndex(env, store, p.Tail).Book(b.Context(), "app-7")
			must(b, err)
			if n := len(book.Versions()); n != rollouts/apps {
				b.Fatalf("the book holds %d versions", n)
			}
		}
	})
}

// fill plays finished rollouts of two events each into the journal's stream and the
// ledger. It gives back the tape of what is not saved: nothing.
func fill(b *testing.B, store *ledger.Store, nc *nats.Conn, rollouts, apps int) *tape {
	b.Helper()
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(1000))
	must(b, err)
	_, err = js.CreateStream(b.Context(), jetstream.StreamConfig{Name: protocol.Stream, Subjects: []string{protocol.AllRollouts}})
	must(b, err)
	p := &tape{}
	x := ledger.NewIndex(ledger.Environment{}, store, p.Tail)
	sequence := uint64(0)
	for n := range rollouts {
		app, id := fmt.Sprintf("app-%d", n%apps), newID(b)
		s := ran(app, id, n)
		s.Release.Services = []rollout.Service{{Name: app + "-web"}, {Name: app + "-search"}, {Name: app + "-billing"}}
		s.Event.Type = rollout.Created
		end := completed(app, id, n)
		end.Event = rollout.Event{Type: rollout.StepAnswered, Step: "todos/before", At: noon}
		for _, s := range []rollout.State{s, end} {
			sequence++
			x.Apply(s, sequence)
			data, err := json.Marshal(s)
			must(b, err)
			_, err = js.PublishAsync(protocol.RolloutSubject(app, id), data, jetstream.WithStallWait(time.Minute))
			must(b, err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(time.Minute):
		b.Fatal("the journal is not filled within a minute")
	}
	must(b, x.Save(b.Context()))
	return p
}

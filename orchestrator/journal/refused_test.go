package journal

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/relaytest"
)

// refusing is JetStream as a cluster is at times: it refuses a publish with "wrong last
// sequence" where there is no conflict. A real one cannot be made to.
type refusing struct {
	publisher
	left  int  // how often it refuses
	store bool // it stores the message all the same, and the answer is lost
}

func (r *refusing) PublishMsg(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	if r.left == 0 {
		return r.publisher.PublishMsg(ctx, m, opts...)
	}
	r.left--
	if r.store {
		if _, err := r.publisher.PublishMsg(ctx, m, opts...); err != nil {
			return nil, err
		}
	}
	return nil, &jetstream.APIError{Code: 400, ErrorCode: codeWrongLastSequenceCluster}
}

func TestRefusalWithoutConflictIsNoConflict(t *testing.T) {
	j, err := Make(t.Context(), relaytest.Start(t).Connect().Conn(), 1)
	if err != nil {
		t.Fatal(err)
	}
	bus := &refusing{publisher: j.js}
	j.js, j.queue.js = bus, bus
	s := rollout.State{ID: "r1", Release: rollout.Release{App: "todo-app"}}
	sequence := uint64(0)
	for _, store := range []bool{false, true} {
		bus.left, bus.store = 2, store
		if store {
			bus.left = 1
		}
		next, err := j.Append(t.Context(), s, sequence)
		if err != nil || next != sequence+1 {
			t.Fatalf("stored: %v: the append gives %d, %v, want %d", store, next, err, sequence+1)
		}
		sequence = next
	}
	bus.left, bus.store = maxTries, false
	if _, err := j.Append(t.Context(), s, sequence); err == nil || errors.Is(err, rollout.ErrConflict) {
		t.Errorf("an append that is refused for ever gives %v, want another error than ErrConflict", err)
	}
	bus.left = 1
	if err := j.Remind(t.Context(), s, sequence, time.Now().Add(time.Hour)); err == nil || errors.Is(err, rollout.ErrConflict) {
		t.Errorf("a timer that is refused gives %v, want another error than ErrConflict", err)
	}
}

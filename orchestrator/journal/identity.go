package journal

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// ErrBehind says that the journal has gone back: it does not reach as far as is known.
var ErrBehind = errors.New("the journal does not reach as far as it did")

// Fate is what has become of an event that somebody remembers.
type Fate int

// The fates. A journal that was put back from a backup ends before the event, or has another
// one in its place by now.
const (
	Held    Fate = iota // the journal has it
	Missing             // it was removed, and later ones are there, or were
	Another             // another message has its sequence
	Ahead               // the journal ends before it
)

// identity tells this journal from one that it was, or that another one is.
type identity struct{ states *states }

// FateOf asks the leader for an event. A zero position is held.
func (i identity) FateOf(ctx context.Context, p rollout.Position) (Fate, error) {
	if p.Sequence == 0 {
		return Held, nil
	}
	m, err := i.states.message(ctx, p.Sequence)
	if err == nil {
		return fateIn(m, p), nil
	}
	if !errors.Is(err, jetstream.ErrMsgNotFound) {
		return Held, fmt.Errorf("look for event %d: %w", p.Sequence, err)
	}
	last, err := i.End(ctx)
	if err != nil {
		return Held, err
	}
	if last.Sequence < p.Sequence {
		return Ahead, nil
	}
	return Missing, nil
}

func fateIn(m *jetstream.RawStreamMsg, p rollout.Position) Fate {
	ref, ok := parseRef(m.Subject)
	at, err := time.Parse(time.RFC3339Nano, m.Header.Get("ce-time"))
	if !ok || ref.ID != p.Rollout || err != nil || !p.At.IsZero() && !at.Equal(p.At) {
		return Another
	}
	return Held
}

// End is where the stream of the journal ends.
type End struct {
	Sequence uint64    // of its last message; 0: it never had one
	At       time.Time // when that was stored, by the clock of the bus
}

// End asks the leader for the end of the stream.
func (i identity) End(ctx context.Context) (End, error) {
	state, err := i.states.state(ctx)
	return End{state.LastSeq, state.LastTime}, err
}

// Empty reports whether the journal holds no message about any rollout.
func (i identity) Empty(ctx context.Context) (bool, error) {
	_, err := i.states.lastMessage(ctx, protocol.AllRollouts)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return true, nil
	}
	return false, err
}

// Forget drops what is remembered of the stream, which has been found to be another one.
func (i identity) Forget() { i.states.cache.forget() }

package journal

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// history reads what has happened to rollouts.
type history struct{ states *states }

// Load gives the newest state of a rollout; [rollout.ErrNotFound] when there is none.
func (h history) Load(ctx context.Context, app, id string) (Record, error) {
	return h.states.newest(ctx, protocol.RolloutSubject(app, id))
}

// LoadAny is [Journal.Load] where the app is not known.
func (h history) LoadAny(ctx context.Context, id string) (Record, error) {
	return h.states.newest(ctx, anyApp(id))
}

// NewestOf gives the sequence of the newest message about any rollout of the app; 0 when
// there is none.
func (h history) NewestOf(ctx context.Context, app string) (uint64, error) {
	return h.states.last(ctx, protocol.AppRollouts(app))
}

// History gives every event of a rollout, oldest first.
func (h history) History(ctx context.Context, app, id string) ([]Record, error) {
	return h.HistoryFrom(ctx, app, id, 1)
}

// HistoryFrom gives the events of a rollout from a sequence on, oldest first; none if the
// rollout has none there.
func (h history) HistoryFrom(ctx context.Context, app, id string, first uint64) ([]Record, error) {
	subject := protocol.RolloutSubject(app, id)
	last, err := h.states.last(ctx, subject)
	if err != nil {
		return nil, err
	}
	var records []Record
	err = h.states.events(ctx, stretch{subject: subject, first: first, last: last}, func(r Record) error {
		records = append(records, r)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("history of rollout %s: %w", id, err)
	}
	return records, nil
}

// Tail calls each with every event of an app that comes after sequence after, in order,
// up to the newest one at the time of the call, and returns. What is no event is left
// out. It holds these events in memory all at once: they come rollout by rollout, because
// the server finds a rollout's events by their subject, and an app's only by searching
// through those of all the others.
func (h history) Tail(ctx context.Context, app string, after uint64, each func(rollout.State, uint64)) error {
	records, err := h.states.tail(ctx, app, after)
	if err != nil {
		return fmt.Errorf("read what has happened to app %s: %w", app, err)
	}
	for _, r := range records {
		each(r.State, r.Sequence)
	}
	return nil
}

func (s *states) tail(ctx context.Context, app string, after uint64) ([]Record, error) {
	last, err := s.last(ctx, protocol.AppRollouts(app))
	if err != nil || last <= after {
		return nil, err
	}
	ends, err := s.ends(ctx, app, last)
	if err != nil {
		return nil, err
	}
	var records []Record
	for subject, end := range ends {
		if end <= after {
			continue
		}
		err := s.events(ctx, stretch{subject: subject, first: after + 1, last: last}, func(r Record) error {
			records = append(records, r)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(records, func(a, b Record) int { return cmp.Compare(a.Sequence, b.Sequence) })
	return records, nil
}

// ends gives the sequence of the newest message of each rollout of app, by subject, once
// they hold what had reached the leader by sequence last.
func (s *states) ends(ctx context.Context, app string, last uint64) (map[string]uint64, error) {
	for {
		ends := make(map[string]uint64)
		reached := uint64(0)
		_, err := s.consume(ctx, jetstream.ConsumerConfig{
			FilterSubject: protocol.AppRollouts(app), DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, HeadersOnly: true,
		}, func(m message) error {
			ends[m.Subject()], reached = m.sequence, max(reached, m.sequence)
			return nil
		})
		if err != nil || reached >= last {
			return ends, err
		}
		// The consumer's replica is behind, unless what was the newest has been dropped.
		if err := pause(ctx, readPause); err != nil {
			return nil, err
		}
		if last, err = s.last(ctx, protocol.AppRollouts(app)); err != nil {
			return nil, err
		}
	}
}

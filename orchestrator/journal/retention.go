package journal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// retention is the part of the journal that removes what is old.
type retention struct {
	js     publisher
	states *states
}

// Finished gives the newest records of at most limit rollouts that are final and to
// which nothing has happened since the given time, by the clock of the bus: those whose
// newest event has a sequence greater than after, in that order. Whoever goes on after
// the last of them meets each rollout once; fewer than limit are all.
//
// It reads the names of what is older than that time, from sequence after on.
func (t retention) Finished(ctx context.Context, since time.Time, after uint64, limit int) ([]Record, error) {
	info, err := t.states.stream.Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("find finished rollouts: %w", err)
	}
	var found []Record
	ends := make(map[string]uint64) // by subject: the newest message
	s := stretch{subject: protocol.AllRollouts, first: after + 1, last: info.State.LastSeq, headersOnly: true}
	err = t.states.read(ctx, s, func(m message) error {
		if !m.stored.Before(since) {
			return errEnough
		}
		if end, known := ends[m.Subject()]; known && end != m.sequence {
			return nil
		}
		newest, err := t.states.lastMessage(ctx, m.Subject())
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil // dropped meanwhile
		}
		if err != nil {
			return err
		}
		ends[m.Subject()] = newest.Sequence
		if newest.Header.Get(headerDropped) != "" { // whoever dropped it died before it was gone
			return t.purge(ctx, m.Subject(), newest.Sequence)
		}
		if newest.Sequence != m.sequence {
			return nil
		}
		r, err := t.states.newest(ctx, m.Subject())
		if err != nil && !errors.Is(err, rollout.ErrNotFound) && !errors.Is(err, rollout.ErrUnknown) {
			return err
		}
		if err == nil && r.State.Status.Final() {
			found = append(found, r)
		}
		if len(found) == limit {
			return errEnough
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("find finished rollouts: %w", err)
	}
	return found, nil
}

// Drop removes a rollout from the journal: its replies, its timer and then its events, after
// a last message that keeps others from being added.
// Its newest event must be the one at sequence upTo, else nothing is removed and the
// error is [rollout.ErrConflict]. A rollout that is not there is no error. After any
// other error it is gone in part, and dropping it again goes on.
func (t retention) Drop(ctx context.Context, app, id string, upTo uint64) error {
	subject := protocol.RolloutSubject(app, id)
	newest, err := t.states.last(ctx, subject)
	if err != nil {
		return err
	}
	if newest > upTo {
		if r, err := t.states.newestEvent(ctx, subject, newest); err != nil || r.Sequence > upTo {
			return fmt.Errorf("drop rollout %s: %w", id, errors.Join(rollout.ErrConflict, err))
		}
	}
	// The events go last: as long as there are any, the rollout is found again.
	for _, subject := range []string{repliesOf(id), protocol.TimerSubject(app, id), protocol.DueSubject(app, id)} {
		if err := t.states.stream.Purge(ctx, jetstream.WithPurgeSubject(subject)); err != nil {
			return fmt.Errorf("drop rollout %s: %w", id, err)
		}
	}
	if newest == 0 {
		return nil
	}
	// Events make sense only together: from now on there is no next one.
	end := nats.NewMsg(subject)
	end.Header.Set(headerDropped, "1")
	ack, err := t.js.PublishMsg(ctx, end, jetstream.WithExpectLastSequenceForSubject(newest, subject))
	if isWrongSequence(err) {
		return fmt.Errorf("drop rollout %s: %w", id, rollout.ErrConflict)
	}
	if err != nil {
		return fmt.Errorf("drop rollout %s: %w", id, err)
	}
	return t.purge(ctx, subject, ack.Sequence)
}

// purge removes what a rollout has up to the message that is its end.
func (t retention) purge(ctx context.Context, subject string, end uint64) error {
	if err := t.states.stream.Purge(ctx, jetstream.WithPurgeSubject(subject), jetstream.WithPurgeSequence(end+1)); err != nil {
		return fmt.Errorf("drop %s: %w", subject, err)
	}
	return nil
}

// DropReplies removes the plain replies that are older than the given time, by the clock
// of the bus, and belong to no rollout, or to one that is final and to which nothing has
// happened since. A reply that nobody has looked at yet stays as long as its rollout
// waits for it.
func (t retention) DropReplies(ctx context.Context, since time.Time) error {
	info, err := t.states.stream.Info(ctx)
	if err != nil {
		return fmt.Errorf("drop replies: %w", err)
	}
	over := make(map[string]bool) // by rollout
	s := stretch{subject: protocol.AllAnswers, first: 1, last: info.State.LastSeq, headersOnly: true}
	err = t.states.read(ctx, s, func(m message) error {
		if !m.stored.Before(since) {
			return errEnough
		}
		id := replyOf(m.Subject())
		if _, known := over[id]; known {
			return nil
		}
		gone, err := t.over(ctx, id, since)
		over[id] = gone
		return err
	})
	if err != nil {
		return fmt.Errorf("drop replies: %w", err)
	}
	for id, gone := range over {
		if !gone {
			continue
		}
		if err := t.states.stream.Purge(ctx, jetstream.WithPurgeSubject(repliesOf(id))); err != nil {
			return fmt.Errorf("drop replies: %w", err)
		}
	}
	return nil
}

// over reports whether nobody waits for replies of a rollout, and has not since then.
func (t retention) over(ctx context.Context, id string, since time.Time) (bool, error) {
	newest, err := t.states.lastMessage(ctx, anyApp(id))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	r, err := t.states.newest(ctx, newest.Subject)
	return err == nil && r.State.Status.Final() && newest.Time.Before(since), nil
}

// repliesOf matches the replies of one rollout.
func repliesOf(id string) string { return strings.TrimSuffix(protocol.AllAnswers, ">") + id + ".>" }

// replyOf is the rollout that a reply names.
func replyOf(subject string) string {
	id, _, _ := strings.Cut(strings.TrimPrefix(subject, strings.TrimSuffix(protocol.AllAnswers, ">")), ".")
	return id
}

package kept

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// compareJournal finds out whether the journal is the one that was opened and read.
func (w *Watch) compareJournal(ctx context.Context, js bus.JetStream) error {
	info, err := find(ctx, js, protocol.Stream)
	if err != nil {
		return err
	}
	if info == nil {
		return w.gone("stream " + protocol.Stream + ", the journal of all rollouts, was deleted: restore it from a backup and start the orchestrators again, or remove the buckets golive-… too, and begin with an empty environment")
	}
	if is, was := bus.Environment(info.Config), w.Journal.Environment(); is != was {
		return w.gone(fmt.Sprintf("stream %s is the journal of environment %s now, that of environment %s was deleted: restore that one and start the orchestrators again, or remove the buckets golive-… of it, and start them", protocol.Stream, is, was))
	}
	w.mu.Lock()
	known := w.known
	w.mu.Unlock()
	last := known.Last()
	fate, err := w.Journal.FateOf(ctx, last)
	if err != nil {
		return err
	}
	switch fate {
	case journal.Ahead, journal.Another:
		return w.behind(ctx, info, last, known)
	case journal.Missing:
		empty, err := w.Journal.Empty(ctx)
		if err != nil || !empty {
			return err
		}
		return w.purged(ctx, last, known)
	}
	return nil
}

func (w *Watch) gone(text string) error {
	w.alarm(protocol.Stream, text)
	return fmt.Errorf("%w: %s", ErrGone, text)
}

// behind says what is gone with the events that the journal does not hold.
func (w *Watch) behind(ctx context.Context, info *jetstream.StreamInfo, last rollout.Position, known Known) error {
	text := fmt.Sprintf("the journal was put back: it ends with message %d, stored at %s, and message %d%s was known here; what happened between is gone%s. Scripts that have run meanwhile count as not run. Restore the data of the apps to the same time, and stop everything before you restore (README of cmd/golive, Restoring a backup)",
		info.State.LastSeq, clock(info.State.LastTime), last.Sequence, at(last), w.missing(ctx, known))
	w.alarm(protocol.Stream, text)
	return fmt.Errorf("%w: %s", ErrBehind, text)
}

// purged says what is gone with a journal that has been emptied. What has run is known from the
// ledger, which goes on; what is in memory of open rollouts does not.
func (w *Watch) purged(ctx context.Context, last rollout.Position, known Known) error {
	w.mu.Lock()
	told := w.alarms[protocol.Stream] != ""
	w.mu.Unlock()
	if told {
		return nil // it was read anew since
	}
	text := fmt.Sprintf("stream %s, the journal of all rollouts, was purged: all that had happened until message %d%s is gone%s. The ledger still knows which scripts have run. Restore the journal from a backup, or deploy what was under way again",
		protocol.Stream, last.Sequence, at(last), w.missing(ctx, known))
	w.alarm(protocol.Stream, text)
	return fmt.Errorf("%w: %s", ErrBehind, text)
}

// putBack says that the bus was put back, though the journal holds all that is known here of it:
// leases are stored every few seconds, and one of this orchestrator is gone. Others may have done
// what is not known here.
func (w *Watch) putBack(ctx context.Context) error {
	end, err := w.Journal.End(ctx)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("the bus was put back: its journal ends with message %d, stored at %s; what happened since is gone, of which this orchestrator knows nothing. Scripts that have run meanwhile count as not run. Restore the data of the apps to the same time, and stop everything before you restore (README of cmd/golive, Restoring a backup)",
		end.Sequence, clock(end.At))
	w.alarm(protocol.Stream, text)
	return fmt.Errorf("%w: %s", ErrBehind, text)
}

func clock(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func at(p rollout.Position) string {
	if p.At.IsZero() {
		return ""
	}
	return " of " + clock(p.At)
}

const (
	missingFor  = 5 * time.Second // for the names of what is gone
	missingMost = 10
)

// missing names rollouts that are gone, if that can be found out soon.
func (w *Watch) missing(ctx context.Context, known Known) string {
	ctx, cancel := context.WithTimeout(ctx, missingFor)
	defer cancel()
	var gone []string
	for app, id := range known.Newest() {
		if id == "" {
			continue
		}
		if _, err := w.Journal.Load(ctx, app, id); errors.Is(err, rollout.ErrNotFound) {
			gone = append(gone, app+" "+id)
		}
		if ctx.Err() != nil || len(gone) == missingMost {
			break
		}
	}
	if len(gone) == 0 {
		return ""
	}
	slices.Sort(gone)
	return fmt.Sprintf(", with the rollouts %s", gone)
}

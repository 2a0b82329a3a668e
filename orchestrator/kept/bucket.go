package kept

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// What may have become of a bucket.
const (
	madeAnew = "was deleted, and has been made anew"
	putBack  = "was put back from a backup"
	purged   = "was purged"
)

// compareBucket finds out whether a bucket is there and reaches as far as it did.
func (w *Watch) compareBucket(ctx context.Context, js bus.JetStream, b Kept) error {
	name := "KV_" + b.Name
	w.mu.Lock()
	was, known := w.seen[name]
	lost := w.known.Lost
	leased, back := uint64(0), uint64(0) // before the bucket is looked at: more are stored meanwhile
	if b.Name == protocol.LeasesBucket {
		leased, back = w.known.Leased()
	}
	w.mu.Unlock()
	info, err := find(ctx, js, name)
	if err != nil {
		return err
	}
	what := ""
	if info == nil {
		if _, err := bus.Make(ctx, w.Conn, b.Bucket, w.Journal.Environment(), w.Replicas); err != nil {
			w.alarm(name, fmt.Sprintf("bucket %s was deleted, and cannot be made anew: %v", b.Name, err))
			return err
		}
		if info, err = find(ctx, js, name); err != nil || info == nil {
			return err
		}
		what = madeAnew
	} else {
		what = b.changed(info, was, known)
		if what == "" && known && (info.State.LastSeq < leased && leased != was.gone || back > 0 && back != was.gone) {
			what = putBack
		}
	}
	is := seen{info.Created, info.State.LastSeq, info.State.Msgs, was.gone}
	w.mu.Lock()
	if known && !info.Created.Equal(was.created) && b.Name == protocol.LeasesBucket {
		is.gone, _ = w.known.Leased()
	}
	w.seen[name] = is
	w.mu.Unlock()
	if what == "" {
		return nil
	}
	if what == putBack && b.Name == protocol.LeasesBucket {
		return w.putBack(ctx)
	}
	text := fmt.Sprintf("bucket %s %s", b.Name, what)
	switch {
	case what == putBack:
		w.Log.Warn(text)
	case b.Lost == "":
		w.Log.Error(text + ": nothing is lost")
	default:
		w.alarm(name, text+": "+b.Lost)
	}
	lost(ctx, b.Name)
	return nil
}

// changed says what has become of a bucket that is there since it was looked at last, if known;
// empty: nothing of note.
func (b Kept) changed(is *jetstream.StreamInfo, was seen, known bool) string {
	switch {
	case b.Fills && is.State.Msgs == 0 && is.State.LastSeq > 0 && (was.held > 0 || was.last != is.State.LastSeq):
		return purged
	case known && !is.Created.Equal(was.created):
		return madeAnew
	case known && is.State.LastSeq < was.last:
		return putBack
	}
	return ""
}

// Package kept compares what golive keeps in JetStream with what is known here of it: the stream
// of the journal and the buckets have to be there, to be those that were opened, and to reach as
// far as they did. An operator may delete or purge one, or put the bus back from a backup while
// orchestrators run; what they have in memory is of another history then.
//
// A [Watch] compares at the start, after each new connection to the bus, now and then, and
// whenever somebody suspects that something is gone. It makes a bucket anew where that does no
// harm, says what is lost, and ends where the journal is not that which was opened any more.
package kept

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// DefaultEvery is how often a watch that is not told another period compares.
const DefaultEvery = time.Minute

// Errors with which a watch ends.
var (
	// ErrBehind says that the journal does not hold what is known here: all of it has to be read
	// anew. The watch may be run again then.
	ErrBehind = errors.New("the journal is not the one that was read")
	// ErrJoined says that there is an orchestrator of another environment on the bus.
	ErrJoined = errors.New("two environments are on one bus")
	// ErrGone says that the journal was deleted, or is that of another environment.
	ErrGone = errors.New("the journal is gone")
)

// Suspicious reports whether an error says that a stream or a bucket is not there, or is not what
// it was: [Watch.Compare] finds out.
func Suspicious(err error) bool {
	for _, sign := range []error{
		ErrBehind, ErrGone, journal.ErrBehind, jetstream.ErrStreamNotFound, jetstream.ErrBucketNotFound, jetstream.ErrNoStreamResponse,
	} {
		if errors.Is(err, sign) {
			return true
		}
	}
	return false
}

// Kept is a bucket, and what of it matters here.
type Kept struct {
	bus.Bucket
	Lost  string // what is not known any more when it was deleted or purged; empty: nothing of value
	Fills bool   // once something is in it, it is never empty again unless somebody purges it
}

// Config is how a watch works.
type Config struct {
	Conn     *nats.Conn       // required
	ID       string           // of the orchestrator
	Journal  *journal.Journal // required
	Buckets  []Kept
	Replicas int           // of a bucket that is made anew, at least; 0 means 1
	Every    time.Duration // how often it compares; 0: [DefaultEvery]
	Log      *zap.Logger   // nil: silence
}

// Known is what somebody has read of the journal, and what is to be done about a bucket.
type Known struct {
	Last   func() rollout.Position  // the newest event that is known here
	Newest func() map[string]string // the newest rollout of each app, by app
	// Leased is the highest sequence of a lease that was stored from here, and what that was when
	// a later one got a lower sequence; 0 of both says that there was none.
	Leased func() (last, back uint64)
	// Lost is called when a bucket was made anew, was emptied, or was put back.
	Lost func(ctx context.Context, bucket string)
}

// Watch compares. Make it with [New]; it is safe for concurrent use.
type Watch struct {
	Config
	suspected chan struct{} // capacity 1

	mu        sync.Mutex
	known     Known
	seen      map[string]seen // by stream
	compared  uint64          // the connection that was compared on last, see connection
	ended     error           // why it compares no more
	further   chan struct{}   // closed and replaced with each comparison
	alarms    map[string]string
	others    map[string]told // by orchestrator
	comparing sync.Mutex
}

// seen is what a stream was like when it was looked at last.
type seen struct {
	created time.Time
	last    uint64 // sequence
	held    uint64 // messages
	gone    uint64 // the highest sequence of a lease in the bucket that was there before
}

// New makes a watch. It starts nothing.
func New(c Config) *Watch {
	c.Every = cmp.Or(c.Every, DefaultEvery)
	c.Replicas = max(c.Replicas, 1)
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	return &Watch{
		Config: c, suspected: make(chan struct{}, 1), seen: make(map[string]seen),
		further: make(chan struct{}), alarms: make(map[string]string), others: make(map[string]told),
	}
}

// Suspect has the watch compare soon. It does not block.
func (w *Watch) Suspect() {
	select {
	case w.suspected <- struct{}{}:
	default:
	}
}

// Compare compares at once, and returns when that is done; what is found stands in
// [Watch.Alarms]. The error is that of the watch's end, or ctx's.
func (w *Watch) Compare(ctx context.Context) error {
	w.mu.Lock()
	ended, further := w.ended, w.further
	w.mu.Unlock()
	if ended != nil {
		return ended
	}
	w.Suspect()
	select {
	case <-further:
	case <-ctx.Done():
		return ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ended
}

// Sure blocks until the journal has been compared on the connection that there is now: the bus
// may have been put back while there was none. The error is that of the watch's end, or ctx's.
func (w *Watch) Sure(ctx context.Context) error {
	for {
		w.mu.Lock()
		ended, sure, further := w.ended, w.compared == w.connection() && w.Conn.IsConnected(), w.further
		w.mu.Unlock()
		if ended != nil || sure {
			return ended
		}
		w.Suspect()
		select {
		case <-further:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// connection is the number of the connection to the bus, from 1.
func (w *Watch) connection() uint64 { return w.Conn.Stats().Reconnects + 1 }

// Begin takes what is known from now on, and compares with it. It is called before Run, each
// time that the journal is read from the beginning.
func (w *Watch) Begin(ctx context.Context, k Known) error {
	w.mu.Lock()
	w.known, w.ended, w.compared = k, nil, 0
	w.mu.Unlock()
	return w.compare(ctx)
}

// Run compares until ctx ends, which is no error; the errors are [ErrBehind], [ErrGone] and
// [ErrJoined].
func (w *Watch) Run(ctx context.Context) error {
	connected := w.Conn.StatusChanged(nats.CONNECTED)
	defer w.Conn.RemoveStatusListener(connected)
	tick := time.NewTicker(w.Every)
	defer tick.Stop()
	hellos := make(chan *nats.Msg, maxHellos)
	sub, err := w.Conn.ChanSubscribe(protocol.EnvironmentSubject, hellos)
	if err != nil {
		return fmt.Errorf("listen to other orchestrators: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection may be gone
	w.sayHello()
	for {
		select {
		case m := <-hellos:
			if err := w.meet(m); err != nil {
				return err
			}
			continue
		case <-connected:
		case <-tick.C:
		case <-w.suspected:
		case <-ctx.Done():
			return nil
		}
		w.sayHello() // never because of a hello, which would be answered without end
		err := w.compare(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, ErrBehind) || errors.Is(err, ErrGone) {
			return err
		}
		if err != nil && w.Conn.IsConnected() {
			w.Log.Warn("what is kept could not be compared, trying again", zap.Error(err))
			pause(ctx, lookAgain)
			w.Suspect()
		}
	}
}

const (
	answerFor = 20 * time.Second       // for an answer about one stream: longer than an election
	lookAgain = 500 * time.Millisecond // before a stream that is not there is asked for again
	looks     = 4                      // so often it has to be missing
)

// compare looks at the journal, and then at the buckets.
func (w *Watch) compare(ctx context.Context) error {
	w.comparing.Lock()
	defer w.comparing.Unlock()
	connection := w.connection()
	js, err := bus.NewJetStream(w.Conn)
	if err != nil {
		return err
	}
	err = w.compareJournal(ctx, js)
	for _, b := range w.Buckets {
		if err == nil {
			err = w.compareBucket(ctx, js, b)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if errors.Is(err, ErrBehind) || errors.Is(err, ErrGone) {
		w.ended = err
	}
	if err == nil {
		w.compared = connection
	}
	close(w.further)
	w.further = make(chan struct{})
	return err
}

// find looks for a stream; nil says that it is not there, and has not been for a while.
func find(ctx context.Context, js bus.JetStream, name string) (info *jetstream.StreamInfo, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerFor)
	defer cancel()
	for look := 1; ; look++ {
		err = bus.AskLeader(ctx, func(ctx context.Context) error {
			s, err := js.Stream(ctx, name)
			if err == nil {
				info = s.CachedInfo()
			}
			return err
		})
		if !errors.Is(err, jetstream.ErrStreamNotFound) {
			break
		}
		if look == looks {
			return nil, nil
		}
		pause(ctx, lookAgain)
	}
	if err != nil {
		return nil, fmt.Errorf("look at stream %s: %w", name, err)
	}
	return info, nil
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/transfer"
)

// State is how a service takes, checks and puts back its own state, for snapshots of its app: its
// manifest says so with state: {messages: true}. Orchestrators ask one of the instances of the
// version that is live. All three are required. They are called one at a time in an instance, with
// the id of the snapshot; ctx ends when the time that the manifest gives them is over, when the
// orchestrator is gone, and when the instance stops.
type State struct {
	// Take writes the state as it is at one moment to w, in a form of its own, and changes nothing.
	// Nothing written is an error, and so is more than the manifest allows.
	Take func(ctx context.Context, snapshot string, w io.Writer) error

	// Check reads what Take has written to its end, and says whether a Put of it would succeed. It
	// changes nothing.
	Check func(ctx context.Context, snapshot string, r io.Reader) error

	// Put makes the state what Take has written: all of it or, with an error, none. So it puts it
	// aside until r has ended with [io.EOF]; any other error says that some of it is missing. Put
	// once more with the same snapshot, it changes nothing. The service gets no traffic meanwhile.
	Put func(ctx context.Context, snapshot string, r io.Reader) error
}

// empty reports whether the service takes no state itself.
func (s State) empty() bool { return s.Take == nil && s.Check == nil && s.Put == nil }

func (s State) check() error {
	if !s.empty() && (s.Take == nil || s.Check == nil || s.Put == nil) {
		return errors.New("State needs Take, Check and Put: give all three, or none")
	}
	return nil
}

// stateKeeper answers orchestrators that ask for the state of a service.
type stateKeeper struct {
	*identity
	ctx  context.Context // of the state's functions
	busy sync.Mutex      // held while one of them runs
	work sync.WaitGroup
}

// listen has the instance answer whoever asks for its state, until stop is called, which blocks
// until nothing of it runs.
func (k *stateKeeper) listen() (stop func(), err error) {
	var all []*nats.Subscription
	ctx, end := context.WithCancelCause(k.ctx)
	stop = func() {
		for _, sub := range all {
			closed := make(chan struct{})
			sub.SetClosedHandler(func(string) { close(closed) })
			if sub.Unsubscribe() == nil {
				<-closed // nothing is begun any more
			}
		}
		end(errStopping)
		k.work.Wait()
	}
	s := k.service
	for _, do := range []string{protocol.StateTake, protocol.StateCheck, protocol.StatePut} {
		to := protocol.StateSubject(s.Name, s.Version, do)
		sub, err := k.relay.nc.QueueSubscribe(to, s.Name, func(m *nats.Msg) { k.answer(ctx, do, m) })
		if err != nil {
			stop()
			return nil, fmt.Errorf("listen to %s: %w", to, err)
		}
		all = append(all, sub)
	}
	return stop, nil
}

// answer answers one order.
func (k *stateKeeper) answer(ctx context.Context, do string, m *nats.Msg) {
	var o protocol.StateOrder
	log := k.log.With(zap.String("do", do))
	if !protocol.IsInbox(m.Reply) || json.Unmarshal(m.Data, &o) != nil || o.Do != do || o.Service != k.service.Name || o.Timeout <= 0 || o.Most <= 0 {
		log.Warn("an order for the state that cannot be followed")
		return
	}
	if !k.busy.TryLock() {
		_ = transfer.Refuse(k.relay.nc, m.Reply, protocol.CodeBusy, "instance "+k.id+" is still at an earlier order")
		return
	}
	k.work.Go(func() {
		free := sync.OnceFunc(k.busy.Unlock)
		defer free()
		if err := k.follow(ctx, m.Reply, o, free); err != nil {
			log.Warn("state", zap.String("snapshot", o.Snapshot), zap.Error(err))
			return
		}
		log.Info("state", zap.String("snapshot", o.Snapshot))
	})
}

// follow follows an order, and calls free when the state's function has returned: whoever is told
// how it has ended may give the next order.
func (k *stateKeeper) follow(ctx context.Context, reply string, o protocol.StateOrder, free func()) error {
	host, _ := os.Hostname() // empty: it is not told
	who := protocol.StateAnswer{From: fmt.Sprintf("instance %s of %s", k.id, k.service.Version), Host: host}
	nc, s := k.relay.nc, k.service.State
	if o.Do == protocol.StateTake {
		return transfer.Give(ctx, nc, reply, o, who, func(ctx context.Context, w io.Writer) error {
			defer free()
			return s.Take(ctx, o.Snapshot, w)
		})
	}
	read := s.Check
	if o.Do == protocol.StatePut {
		read = s.Put
	}
	return transfer.Receive(ctx, nc, reply, o, who, func(ctx context.Context, r io.Reader) error {
		defer free()
		return read(ctx, o.Snapshot, r)
	})
}

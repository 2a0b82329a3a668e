package spec

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
)

// startTimeout is how long a double may take to be on the bus, and to deal with what
// it has got.
const startTimeout = 10 * time.Second

// servedDouble is a double in a scenario.
type servedDouble struct {
	Double
	entries
	relay *relay.Relay
	end   context.CancelFunc
	ended chan error
}

// serve puts d on the bus, in production when it is to be online, and returns once it
// answers.
func (b *testBus) serve(ctx context.Context, d Double, online bool) (*servedDouble, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	nc := b.relay.Conn()
	instances, err := listenToInstances(nc, d.Service)
	if err != nil {
		return nil, err
	}
	defer instances.stop()
	expected := protocol.StateOffline
	if online {
		expected = protocol.StateOnline
		if _, err := putRoute(ctx, nc, onlineRoute(newRolloutID(), d.Service, d.Version)); err != nil {
			return nil, err
		}
	}
	s, err := b.run(ctx, d)
	if err != nil {
		return nil, err
	}
	err = instances.await(ctx, 1, func(c protocol.Confirmation) bool {
		return c.Version == d.Version && c.State == expected
	})
	if err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

// run serves d until it is stopped.
func (b *testBus) run(ctx context.Context, d Double) (*servedDouble, error) {
	r, err := b.connect(ctx, "double "+d.Name)
	if err != nil {
		return nil, err
	}
	serving, end := context.WithCancel(context.WithoutCancel(ctx))
	s := &servedDouble{Double: d, relay: r, end: end, ended: make(chan error, 1)}
	service := relay.Service{
		Name: d.Service, Version: d.Version, Handlers: d.handlers(&s.entries), Streams: d.streams(&s.entries),
		Concurrency: 1, // settle counts on it
	}
	go func() { s.ended <- r.Serve(serving, service) }()
	return s, nil
}

// stop blocks until the double is off the bus.
func (s *servedDouble) stop() error {
	s.end()
	err := <-s.ended
	s.relay.Close()
	return err
}

// headerSettling marks a message that [servedDouble.settle] sends.
const headerSettling = "Golive-Spec-Settling"

// settle blocks until the double has dealt with all that was sent to it before: a
// script may send without waiting for an answer. NATS keeps the order of a subject and
// the double takes one message at a time, so whoever is answered last has the rest
// behind him.
func (s *servedDouble) settle(ctx context.Context, nc *nats.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for message := range s.handlers(&s.entries) {
		for _, subject := range []string{
			protocol.PrivateSubject(s.Service, s.Version, message), protocol.ProductionSubject(s.Service, message),
		} {
			m := nats.NewMsg(subject)
			m.Header.Set(headerSettling, "1")
			_, err := nc.RequestMsgWithContext(ctx, m)
			if err != nil && !errors.Is(err, nats.ErrNoResponders) { // it is not in production
				return fmt.Errorf("the %s service does not come to rest: %s: %w", s.Name, message, err)
			}
		}
	}
	return nil
}

// unlessSettling is h for all messages but those of settle.
func unlessSettling(h relay.Handler) relay.Handler {
	return func(ctx context.Context, m *relay.Message) (any, error) {
		if m.Header.Get(headerSettling) != "" {
			return nil, nil
		}
		return h(ctx, m)
	}
}

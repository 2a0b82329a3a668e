package relay

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/relay/protocol"
)

// Defaults of [Service].
const (
	DefaultConcurrency  = 256
	DefaultDrainTimeout = 5 * time.Second
)

// Service is one version of a service as this process runs it.
type Service struct {
	Name     string             // required
	Version  string             // required
	Handlers map[string]Handler // by message, without the service's name; required

	Metadata     map[string]string // shown by `nats micro info`; the key url is shown by `golive up`
	Concurrency  int               // how many messages are handled at once; 0: [DefaultConcurrency]
	DrainTimeout time.Duration     // how long handlers may take to finish when Serve is told to stop; 0: [DefaultDrainTimeout]
}

func (s *Service) check() error {
	if err := protocol.ValidateName(s.Name); err != nil {
		return fmt.Errorf("service: %w", err)
	}
	if err := protocol.ValidateVersion(s.Version); err != nil {
		return fmt.Errorf("service %s: %w", s.Name, err)
	}
	if len(s.Handlers) == 0 {
		return fmt.Errorf("service %s %s: Handlers is empty: give a handler for each message", s.Name, s.Version)
	}
	for message := range s.Handlers {
		if err := protocol.ValidateMessage(message); err != nil {
			return fmt.Errorf("service %s %s: %w", s.Name, s.Version, err)
		}
	}
	return nil
}

// Serve keeps an instance of s on the bus until ctx ends: at its private address
// always, and on its production subjects while the route says so. It then takes no
// more messages, lets those it has finish, and returns nil. An error means that the
// service could not be registered. Serve may be called for several services at once.
func (r *Relay) Serve(ctx context.Context, s Service) error {
	if err := s.check(); err != nil {
		return err
	}
	if s.Concurrency == 0 {
		s.Concurrency = DefaultConcurrency
	}
	if s.DrainTimeout == 0 {
		s.DrainTimeout = DefaultDrainTimeout
	}
	handling, abandon := context.WithCancel(context.WithoutCancel(ctx))
	defer abandon()
	i := &instance{
		relay: r, service: s, id: strings.ReplaceAll(uuid.NewString(), "-", ""), ctx: handling,
		slots: make(chan struct{}, s.Concurrency),
		log:   r.log.With(zap.String("service", s.Name), zap.String("version", s.Version)),
	}
	private, err := i.listenPrivately()
	if err != nil {
		return fmt.Errorf("serve %s %s: %w", s.Name, s.Version, err)
	}
	i.followRoute(ctx)
	_ = private.Stop() // only fails when already stopped
	i.finish(abandon)
	return nil
}

// instance is one Serve.
type instance struct {
	relay   *Relay
	service Service
	id      string
	ctx     context.Context // of handlers
	slots   chan struct{}
	busy    sync.WaitGroup
	log     *zap.Logger

	production []*nats.Subscription // only the goroutine of followRoute touches it
}

// listenPrivately registers the instance as a NATS micro service whose endpoints are
// its private address.
func (i *instance) listenPrivately() (micro.Service, error) {
	metadata := map[string]string{"golive-instance": i.id}
	maps.Copy(metadata, i.service.Metadata)
	m, err := micro.AddService(i.relay.nc, micro.Config{
		Name: i.service.Name, Version: i.service.Version, Metadata: metadata, QueueGroup: i.service.Name,
	})
	if err != nil {
		return nil, err
	}
	for _, message := range slices.Sorted(maps.Keys(i.service.Handlers)) {
		to := protocol.PrivateSubject(i.service.Name, i.service.Version, message)
		handler := micro.HandlerFunc(func(q micro.Request) {
			i.handle(message, q.Data(), nats.Header(q.Headers()), q.Reply())
		})
		name := strings.ReplaceAll(message, ".", "-")
		if err := m.AddEndpoint(name, handler, micro.WithEndpointSubject(to)); err != nil {
			_ = m.Stop()
			return nil, fmt.Errorf("listen to %s: %w", to, err)
		}
	}
	if err := i.relay.nc.Flush(); err != nil {
		i.log.Warn("flush", zap.Error(err)) // the reconnect subscribes again
	}
	return m, nil
}

// handle answers one message in a goroutine of its own, as soon as a slot is free.
func (i *instance) handle(message string, data []byte, header nats.Header, reply string) {
	i.slots <- struct{}{}
	i.busy.Add(1)
	go func() {
		defer func() { <-i.slots; i.busy.Done() }()
		m := &Message{Name: message, Data: data, Header: header}
		answer, failure := call(i.ctx, i.service.Handlers[message], m, i.log)
		if err := respond(i.relay.nc, reply, answer, failure); err != nil {
			i.log.Error("answer", zap.String("message", message), zap.Error(describe(err, i.relay.nc)))
			_ = respond(i.relay.nc, reply, nil, describe(err, i.relay.nc))
		}
	}()
}

// finish waits for the handlers that run; those that take too long are told to end.
func (i *instance) finish(abandon context.CancelFunc) {
	done := make(chan struct{})
	go func() { defer close(done); i.busy.Wait() }()
	select {
	case <-done:
	case <-time.After(i.service.DrainTimeout):
		i.log.Warn("handlers did not finish in time, ending them", zap.Duration("after", i.service.DrainTimeout))
		abandon()
		<-done
	}
	if err := i.relay.nc.FlushTimeout(time.Second); err != nil {
		i.log.Warn("flush", zap.Error(err))
	}
}

// subscribe connects the instance to production traffic.
func (i *instance) subscribe() error {
	if i.production != nil {
		return nil
	}
	for message := range i.service.Handlers {
		to := protocol.ProductionSubject(i.service.Name, message)
		sub, err := i.relay.nc.QueueSubscribe(to, i.service.Name, func(m *nats.Msg) {
			i.handle(message, m.Data, m.Header, m.Reply)
		})
		if err != nil {
			i.unsubscribe()
			return fmt.Errorf("subscribe %s: %w", to, err)
		}
		i.production = append(i.production, sub)
	}
	return i.relay.nc.Flush()
}

// unsubscribe takes the instance off production traffic; what it has got already is
// still answered.
func (i *instance) unsubscribe() {
	for _, sub := range i.production {
		if err := sub.Drain(); err != nil {
			i.log.Warn("drain", zap.String("subject", sub.Subject), zap.Error(err))
		}
	}
	i.production = nil
}

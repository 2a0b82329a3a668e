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

// flushTimeout bounds how long the server may take to get what was sent to it.
const flushTimeout = 2 * time.Second

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
	for _, message := range slices.Sorted(maps.Keys(s.Handlers)) {
		if err := protocol.ValidateMessage(message); err != nil {
			return fmt.Errorf("service %s %s: %w", s.Name, s.Version, err)
		}
		if s.Handlers[message] == nil {
			return fmt.Errorf("service %s %s: the handler of %s is nil: give a function", s.Name, s.Version, message)
		}
	}
	if s.Concurrency < 0 || s.DrainTimeout < 0 {
		return fmt.Errorf("service %s %s: Concurrency and DrainTimeout must not be negative: 0 is their default", s.Name, s.Version)
	}
	return nil
}

// Serve keeps an instance of s on the bus until ctx ends: at its private address
// always, and on its production subjects while the route says so. It then takes no
// more messages, answers those that it has, and returns nil; handlers that take longer
// than the DrainTimeout find their context ended, and are waited for. An error means
// that the service could not be registered, or that the relay was closed. Serve may be
// called for several services at once.
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
	private, err := i.listenPrivately(ctx)
	if err != nil {
		return fmt.Errorf("serve %s %s: %w", s.Name, s.Version, err)
	}
	err = i.followRoute(ctx)
	_ = private.Stop() // only fails when already stopped
	i.finish(abandon)
	if err != nil {
		return fmt.Errorf("serve %s %s: %w", s.Name, s.Version, err)
	}
	return nil
}

// instance is one Serve.
type instance struct {
	relay   *Relay
	service Service
	id      string
	ctx     context.Context // of handlers
	slots   chan struct{}
	log     *zap.Logger

	mu    sync.Mutex
	busy  sync.WaitGroup // messages begun with
	ended bool           // no message is begun with any more

	// Only the goroutine of followRoute touches these.
	production []*nats.Subscription
	unread     bool // the route could not be read
}

// listenPrivately registers the instance as a NATS micro service whose endpoints are
// its private address.
func (i *instance) listenPrivately(ctx context.Context) (micro.Service, error) {
	metadata := map[string]string{"golive-instance": i.id}
	maps.Copy(metadata, i.service.Metadata)
	m, err := micro.AddService(i.relay.nc, micro.Config{
		Name: i.service.Name, Version: i.service.Version, Metadata: metadata, QueueGroup: i.service.Name,
	})
	if err != nil {
		return nil, err
	}
	for message, name := range endpointNames(i.service.Handlers) {
		to := protocol.PrivateSubject(i.service.Name, i.service.Version, message)
		handler := micro.HandlerFunc(func(q micro.Request) {
			i.handle(message, q.Data(), nats.Header(q.Headers()), q.Reply())
		})
		if err := m.AddEndpoint(name, handler, micro.WithEndpointSubject(to)); err != nil {
			_ = m.Stop()
			return nil, fmt.Errorf("listen to %s: %w", to, err)
		}
	}
	if err := i.flush(ctx); err != nil && ctx.Err() == nil {
		i.log.Warn("flush", zap.Error(err)) // the reconnect subscribes again
	}
	return m, nil
}

// endpointNames gives each message a name of its own that NATS allows for an endpoint:
// one without dots.
func endpointNames(handlers map[string]Handler) map[string]string {
	names, taken := make(map[string]string, len(handlers)), make(map[string]bool)
	for _, message := range slices.Sorted(maps.Keys(handlers)) {
		name := strings.ReplaceAll(message, ".", "_")
		for taken[name] {
			name += "_"
		}
		names[message], taken[name] = name, true
	}
	return names
}

// flush blocks until the server has got what was sent to it, at most for flushTimeout.
// On a closed relay there is nothing to flush.
func (i *instance) flush(ctx context.Context) error {
	if i.relay.nc.IsClosed() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	return i.relay.nc.FlushWithContext(ctx)
}

// handle answers one message in a goroutine of its own, as soon as a slot is free.
func (i *instance) handle(message string, data []byte, header nats.Header, reply string) {
	if !i.begin() {
		i.respond(message, reply, nil, &Error{Code: CodeFailed, Message: "the instance was stopped before it could begin"})
		return
	}
	i.slots <- struct{}{}
	go func() {
		defer func() { <-i.slots; i.busy.Done() }()
		m := &Message{Name: message, Data: data, Header: header}
		answer, failure := call(i.ctx, i.service.Handlers[message], m, i.log)
		i.respond(message, reply, answer, failure)
	}()
}

// respond answers a message; an answer that cannot be sent is answered as an error.
func (i *instance) respond(message, reply string, answer []byte, failure error) {
	err := respond(i.relay.nc, reply, answer, failure)
	if err == nil {
		return
	}
	err = describe(err, i.relay.nc)
	i.log.Error("answer", zap.String("message", message), zap.Error(err))
	_ = respond(i.relay.nc, reply, nil, err) // it has been logged
}

// begin counts one more message, unless the instance takes none any more.
func (i *instance) begin() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.ended {
		return false
	}
	i.busy.Add(1)
	return true
}

func (i *instance) end() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ended = true
}

// finish waits for the messages that the instance has got before it left; handlers
// that take too long are told to end.
func (i *instance) finish(abandon context.CancelFunc) {
	tooLong := time.AfterFunc(i.service.DrainTimeout, func() {
		i.log.Warn("handlers did not finish in time, ending them", zap.Duration("after", i.service.DrainTimeout))
		abandon()
	})
	defer tooLong.Stop()
	i.awaitTaken()
	i.end()
	i.busy.Wait()
	if err := i.flush(context.Background()); err != nil {
		i.log.Warn("flush", zap.Error(err))
	}
}

// awaitTaken blocks until every message that the server has sent to this instance has
// been begun with, or handlers are told to end.
func (i *instance) awaitTaken() {
	if err := i.flush(i.ctx); err != nil {
		i.log.Warn("flush", zap.Error(err)) // the bus is lost: what came before is all there is
	}
	taken := make(chan struct{})
	if err := i.relay.nc.Barrier(func() { close(taken) }); err != nil {
		return // the connection is closed: nothing can be answered
	}
	select {
	case <-taken:
	case <-i.ctx.Done():
	}
}

// subscribe connects the instance to production traffic.
func (i *instance) subscribe(ctx context.Context) error {
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
	return i.flush(ctx)
}

// unsubscribe takes the instance off production traffic; what it has got already is
// still answered.
func (i *instance) unsubscribe() {
	for _, sub := range i.production {
		if err := sub.Drain(); err != nil && !i.relay.nc.IsClosed() {
			i.log.Warn("drain", zap.String("subject", sub.Subject), zap.Error(err))
		}
	}
	i.production = nil
}

package relay

import (
	"cmp"
	"context"
	"encoding/json"
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
	DefaultMaxHeld      = 65_536
	DefaultLease        = protocol.LeaseFor
	MinLease            = 2 * time.Second
)

// flushTimeout bounds how long the server may take to get what was sent to it.
const flushTimeout = 2 * time.Second

// Service is one version of a service as this process runs it.
type Service struct {
	Name     string             // required
	Version  string             // required
	Handlers map[string]Handler // by message, without the service's name; required, unless there are Streams

	Streams map[string]StreamHandler // by message; one may have a Handler as well, for plain requests
	State   State                    // how the service takes and puts its own state; the zero value: it does not

	Metadata     map[string]string // shown by `nats micro info`; the key url is shown by `golive up`
	Concurrency  int               // how many messages are handled at once; 0: [DefaultConcurrency]
	DrainTimeout time.Duration     // how long handlers may take to finish when Serve is told to stop; 0: [DefaultDrainTimeout]
	MaxHeld      int               // how many production requests are held at most in a cutover, the next being answered with code 503; 0: [DefaultMaxHeld]
	Lease        time.Duration     // how long the instance may answer production requests without hearing from the bus, in whole seconds, and a cutover waits for it when it hangs; 0: [DefaultLease], at least [MinLease]
	Schemas      map[string]Schema // by message; shown by `nats micro info`
}

// Schema describes a message and its answer, as text or as the URL of one: usually
// JSON Schema.
type Schema struct {
	Request, Response string
}

func (s *Service) check() error {
	if err := protocol.ValidateName(s.Name); err != nil {
		return fmt.Errorf("service: %w", err)
	}
	if err := protocol.ValidateVersion(s.Version); err != nil {
		return fmt.Errorf("service %s: %w", s.Name, err)
	}
	if len(s.Handlers)+len(s.Streams) == 0 {
		return fmt.Errorf("service %s %s: Handlers is empty: give a handler for each message", s.Name, s.Version)
	}
	if err := s.State.check(); err != nil {
		return fmt.Errorf("service %s %s: %w", s.Name, s.Version, err)
	}
	for _, message := range slices.Sorted(maps.Keys(s.Handlers)) {
		if err := protocol.ValidateMessage(message); err != nil {
			return fmt.Errorf("service %s %s: %w", s.Name, s.Version, err)
		}
		if s.Handlers[message] == nil {
			return fmt.Errorf("service %s %s: the handler of %s is nil: give a function", s.Name, s.Version, message)
		}
	}
	for _, message := range slices.Sorted(maps.Keys(s.Streams)) {
		if err := protocol.ValidateMessage(message); err != nil {
			return fmt.Errorf("service %s %s: %w", s.Name, s.Version, err)
		}
		if s.Streams[message] == nil {
			return fmt.Errorf("service %s %s: the stream handler of %s is nil: give a function", s.Name, s.Version, message)
		}
	}
	for _, message := range slices.Sorted(maps.Keys(s.Schemas)) {
		if s.Handlers[message] == nil && s.Streams[message] == nil {
			return fmt.Errorf("service %s %s: a schema is given for %s, which has no handler", s.Name, s.Version, message)
		}
	}
	if s.Concurrency < 0 || s.DrainTimeout < 0 || s.MaxHeld < 0 {
		return fmt.Errorf("service %s %s: Concurrency, DrainTimeout and MaxHeld must not be negative: 0 is their default", s.Name, s.Version)
	}
	if s.Lease != 0 && (s.Lease < MinLease || s.Lease%time.Second != 0) {
		return fmt.Errorf("service %s %s: Lease is %s, it must be whole seconds and at least %s", s.Name, s.Version, s.Lease, MinLease)
	}
	return nil
}

// withDefaults fills in what was left at zero.
func (s Service) withDefaults() Service {
	s.Concurrency = cmp.Or(s.Concurrency, DefaultConcurrency)
	s.DrainTimeout = cmp.Or(s.DrainTimeout, DefaultDrainTimeout)
	s.MaxHeld = cmp.Or(s.MaxHeld, DefaultMaxHeld)
	s.Lease = cmp.Or(s.Lease, DefaultLease)
	return s
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
	handling, abandon := context.WithCancel(context.WithoutCancel(ctx))
	defer abandon()
	i := newInstance(handling, r, s.withDefaults())
	private, err := i.listenPrivately(ctx)
	if err != nil {
		return fmt.Errorf("serve %s %s: %w", s.Name, s.Version, err)
	}
	address, err := i.listenAtAddress()
	if err != nil {
		_ = private.Stop() // only fails when already stopped
		return fmt.Errorf("serve %s %s: %w", s.Name, s.Version, err)
	}
	defer func() { _ = address.Unsubscribe() }() // the connection may be gone
	if !s.State.empty() {
		stop, err := (&stateKeeper{identity: i.identity, ctx: handling}).listen()
		if err != nil {
			_ = private.Stop() // only fails when already stopped
			return fmt.Errorf("serve %s %s: %w", s.Name, s.Version, err)
		}
		defer stop()
	}
	alive, end := context.WithCancel(handling)
	var keeping sync.WaitGroup
	keeping.Go(func() {
		select {
		case <-ctx.Done():
			i.requests.streams.end() // at once
		case <-alive.Done():
		}
	})
	keeping.Go(func() { i.leases.keepLease(alive) })
	err = i.follower.followRoute(ctx)
	_ = private.Stop() // only fails when already stopped
	i.requests.finish(abandon)
	end()
	keeping.Wait()
	i.leases.leave()
	if err != nil {
		return fmt.Errorf("serve %s %s: %w", s.Name, s.Version, err)
	}
	return nil
}

// instance is one Serve.
type instance struct {
	*identity
	requests *requests
	leases   *leaseKeeper
	follower *follower
}

// identity is who an instance is, and how it speaks to others.
type identity struct {
	relay   *Relay
	service Service
	id      string
	log     *zap.Logger

	patience *patience
}

func newInstance(ctx context.Context, r *Relay, s Service) *instance {
	who := &identity{
		relay: r, service: s, id: strings.ReplaceAll(uuid.NewString(), "-", ""),
		log:      r.log.With(zap.String("service", s.Name), zap.String("version", s.Version)),
		patience: new(patience),
	}
	q := newRequests(ctx, who)
	stored := make(chan *lease, 1)
	return &instance{
		identity: who,
		requests: q,
		leases:   &leaseKeeper{identity: who, traffic: &q.traffic, stored: stored},
		follower: &follower{
			identity: who, requests: q, traffic: &q.traffic, stored: stored, began: r.clock(), drained: make(chan struct{}, 1),
		},
	}
}

// listenPrivately registers the instance as a NATS micro service whose endpoints are
// its private address.
func (i *instance) listenPrivately(ctx context.Context) (micro.Service, error) {
	metadata := map[string]string{"golive-instance": i.id}
	maps.Copy(metadata, i.service.Metadata)
	m, err := micro.AddService(i.relay.nc, micro.Config{
		Name: i.service.Name, Version: i.service.Version, Metadata: metadata, QueueGroup: i.service.Name,
		StatsHandler: func(e *micro.Endpoint) any { return i.requests.stats(i.requests.endpoints[e.Name]) },
	})
	if err != nil {
		return nil, err
	}
	for name, e := range i.requests.endpoints {
		to := protocol.PrivateSubject(i.service.Name, i.service.Version, e.message)
		handler := micro.HandlerFunc(func(q micro.Request) {
			i.requests.receive(request{to: e, data: q.Data(), header: nats.Header(q.Headers()), reply: q.Reply()})
		})
		err := m.AddEndpoint(name, handler, micro.WithEndpointSubject(to), micro.WithEndpointMetadata(i.service.metadata(e.message)))
		if err != nil {
			_ = m.Stop()
			return nil, fmt.Errorf("listen to %s: %w", to, err)
		}
	}
	if err := i.flush(ctx); err != nil && ctx.Err() == nil {
		i.log.Warn("flush", zap.Error(err)) // the reconnect subscribes again
	}
	return m, nil
}

// listenAtAddress has the instance answer whoever asks whether it is there.
func (i *instance) listenAtAddress() (*nats.Subscription, error) {
	to := protocol.InstanceSubject(i.service.Name, i.service.Version, i.id)
	sub, err := i.relay.nc.QueueSubscribe(to, i.service.Name, func(m *nats.Msg) {
		if protocol.IsInbox(m.Reply) { // else nobody has asked
			_ = m.Respond(nil) // the connection may be gone
		}
	})
	if err != nil {
		return nil, fmt.Errorf("listen to %s: %w", to, err)
	}
	return sub, nil
}

// metadata is what an endpoint tells of itself beside its name.
func (s *Service) metadata(message string) map[string]string {
	m := map[string]string{"production": protocol.ProductionSubject(s.Name, message)}
	if schema := s.Schemas[message]; schema != (Schema{}) {
		m["request-schema"], m["response-schema"] = schema.Request, schema.Response
	}
	return m
}

// endpointsOf gives each message a name of its own that NATS allows for an endpoint: one
// without dots.
func endpointsOf(s Service) map[string]*endpoint {
	messages := slices.AppendSeq(slices.Collect(maps.Keys(s.Handlers)), maps.Keys(s.Streams))
	slices.Sort(messages)
	messages = slices.Compact(messages)
	named := make(map[string]*endpoint, len(messages))
	for _, message := range messages {
		name := strings.ReplaceAll(message, ".", "_")
		for named[name] != nil {
			name += "_"
		}
		e := &endpoint{message: message, handler: s.Handlers[message], stream: s.Streams[message]}
		if e.handler == nil {
			e.handler = onlyStream
		}
		named[name] = e
	}
	return named
}

// flush blocks until the server has got what was sent to it, at most for flushTimeout where the bus
// is near.
// On a closed relay there is nothing to flush.
func (i *identity) flush(ctx context.Context) error {
	if i.relay.nc.IsClosed() {
		return nil
	}
	return i.patience.ask(ctx, flushTimeout, 1, i.relay.nc.FlushWithContext)
}

// respond answers a message; an answer that cannot be sent is answered as an error.
func (i *identity) respond(q *request, answer []byte, failure error) {
	err := respond(i.relay.nc, q.reply, answer, failure)
	if err == nil {
		return
	}
	err = describe(err, i.relay.nc)
	i.log.Error("answer", zap.String("message", q.to.message), zap.Error(err))
	_ = respond(i.relay.nc, q.reply, nil, err) // it has been logged
}

// refuse answers a request that no handler has seen, and tells why in a header. Answers of
// handlers never carry it: one may pass on an error that it has got from another service.
func (i *identity) refuse(q *request, e *Error) {
	if q.reply == "" {
		return
	}
	h := failureHeader(e)
	h.Set(protocol.HeaderReason, e.reason)
	if err := i.relay.nc.PublishMsg(&nats.Msg{Subject: q.reply, Header: h}); err != nil {
		i.log.Error("answer", zap.String("message", q.to.message), zap.Error(err))
	}
}

func (i *identity) pass(m *nats.Msg) {
	if err := i.relay.nc.PublishMsg(m); err != nil {
		i.log.Error("pass on", zap.String("subject", m.Subject), zap.Error(err))
	}
}

// confirm publishes a confirmation of this instance.
func (i *identity) confirm(c protocol.Confirmation) {
	c.Version, c.Address = i.service.Version, true
	data, err := json.Marshal(c)
	if err != nil {
		return // a Confirmation can always be written
	}
	if err := i.relay.nc.Publish(protocol.ConfirmSubject(i.service.Name, i.id), data); err != nil {
		i.log.Debug("confirm", zap.Error(err))
	}
}

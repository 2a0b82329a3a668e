package relay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/synadia-io/orbit.go/natscontext"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/relay/bus"
)

// connectTimeout bounds each attempt to reach a server, and its greeting: NATS's own, 2 s, is
// too short for one that is more than a second away.
const connectTimeout = 10 * time.Second

// The line that says that the bus is waited for comes once a first attempt has failed or has
// taken a while, and again when there is another reason, at most that often.
const (
	tellWaitAfter = 500 * time.Millisecond
	tellWaitEvery = 5 * time.Second
)

// dialer makes the TCP connections of a relay. The client keeps everybody waiting who wants
// something of it while it makes one; whoever cannot wait that long breaks it off.
type dialer struct {
	domain string      // of JetStream, which all find with the connection; empty: none
	off    atomic.Bool // no connection is made any more
	making atomic.Pointer[cancelable]
}

type cancelable struct{ cancel func() }

// addTo has connections be made by the dialer; where the options have one already, such as a
// proxy's, by way of that one.
func (d *dialer) addTo(o *nats.Options) error {
	dial := (&net.Dialer{Timeout: connectTimeout}).DialContext
	if inner := o.CustomDialer; inner != nil {
		dial = func(_ context.Context, network, address string) (net.Conn, error) {
			return inner.Dial(network, address)
		}
	}
	o.CustomDialer = dialing{d, func(network, address string) (net.Conn, error) {
		ctx, cancel := context.WithCancel(context.Background())
		d.making.Store(&cancelable{cancel})
		if d.off.Load() {
			cancel()
		}
		conn, err := dial(ctx, network, address)
		if err != nil {
			cancel()
			return nil, err
		}
		return &cuttable{Conn: newGreeting(conn), forget: context.AfterFunc(ctx, func() { _ = conn.Close() }), cancel: cancel}, nil
	}}
	return nil
}

// breakOff ends the newest connection, also one that is being made, and has no other be made.
func (d *dialer) breakOff() {
	d.off.Store(true)
	if newest := d.making.Load(); newest != nil {
		newest.cancel()
	}
}

// dialing is a dialer as the client of NATS takes it.
type dialing struct {
	of   *dialer
	dial func(network, address string) (net.Conn, error)
}

func (d dialing) Dial(network, address string) (net.Conn, error) { return d.dial(network, address) }

// JetStreamDomain makes it a [bus.InDomain].
func (d dialing) JetStreamDomain() string { return d.of.domain }

var _ bus.InDomain = dialing{}

// cuttable is a connection that a dialer can end.
type cuttable struct {
	net.Conn
	forget func() bool
	cancel func()
}

func (c *cuttable) Close() error {
	c.forget()
	c.cancel()
	return c.Conn.Close()
}

// dial begins to connect.
func (r *Relay) dial(c Config, url string, connected chan<- struct{}) (*nats.Conn, error) {
	slow := time.AfterFunc(tellWaitAfter, func() { r.log.Info("waiting for the bus", zap.String("url", redact(url))) })
	defer slow.Stop()
	opts := append(r.options(c, connected), r.dialer.addTo)
	if c.Context == "" {
		nc, err := nats.Connect(url, opts...)
		if err != nil {
			return nil, fmt.Errorf("connect to %s: %w", redact(url), err)
		}
		return nc, nil
	}
	nc, settings, err := natscontext.Connect(c.Context, opts...)
	if err != nil {
		return nil, fmt.Errorf("the bus of the nats context %q: %w", c.Context, err)
	}
	r.dialer.domain = cmp.Or(c.Domain, settings.JSDomain)
	return nc, nil
}

// awaitConnection blocks until the bus is reached or ctx ends, and tells why it is not reached.
func (r *Relay) awaitConnection(ctx context.Context, url string, connected <-chan struct{}) error {
	if r.nc.IsConnected() {
		return nil
	}
	poll := time.NewTicker(refusalPoll)
	defer poll.Stop()
	w := waiting{log: r.log, url: redact(url), began: time.Now()}
	for {
		select {
		case <-connected:
			return nil
		case <-poll.C:
			err := r.whyNot()
			if refused(err) {
				return fmt.Errorf("connect to %s: %w: correct its user and password, or the credentials file that %s names", redact(url), err, EnvCredentials)
			}
			w.tell(err)
		case <-ctx.Done():
			if w.why != nil {
				return fmt.Errorf("connect to %s: %w (%w)", redact(url), w.why, context.Cause(ctx))
			}
			return fmt.Errorf("connect to %s: %w", redact(url), ctx.Err())
		}
	}
}

// whyNot is why the newest attempt to connect that has ended was in vain; nil: none has ended,
// or it is not known.
func (r *Relay) whyNot() error {
	err := r.nc.LastError()
	if last := r.failed.Load(); err == nil && last != nil {
		err = *last
	}
	if errors.Is(err, nats.ErrNoServers) || errors.Is(err, net.ErrClosed) { // that says nothing, or it was broken off
		return nil
	}
	return err
}

// waiting tells that the bus is waited for, and why.
type waiting struct {
	log   *zap.Logger
	url   string
	began time.Time
	why   error     // the newest reason
	said  string    // of the newest line
	told  time.Time // when that was; zero: never
}

func (w *waiting) tell(why error) {
	if why != nil {
		w.why = why
	}
	text := reasonText(w.why)
	first := w.told.IsZero()
	switch {
	case first && w.why == nil && time.Since(w.began) < tellWaitAfter:
		return
	case !first && (text == w.said || w.said != "" && time.Since(w.told) < tellWaitEvery):
		return
	}
	w.said, w.told = text, time.Now()
	fields := []zap.Field{zap.String("url", w.url)}
	if text != "" {
		fields = append(fields, zap.String("error", text))
	}
	w.log.Info("waiting for the bus", fields...)
}

// reasonText is an error without what differs from one attempt to the next: the port that it
// was made from.
func reasonText(err error) string {
	var op *net.OpError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &op) && op.Addr != nil:
		return fmt.Sprintf("%s %s: %v", op.Op, op.Addr, op.Err)
	}
	return err.Error()
}

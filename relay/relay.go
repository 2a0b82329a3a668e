package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/Masterminds/semver/v3"
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// MinServer is the oldest nats-server that golive's guarantees hold on; [Connect] refuses
// older ones. They sync to disk and schedule messages differently, and 2.15.2 takes a message
// that it has had for a new one once its stream has been restored.
const MinServer = "2.15.3"

// Defaults of [Config].
const (
	DefaultURL            = nats.DefaultURL
	DefaultRequestTimeout = 30 * time.Second
)

// Names of the environment variables that [FromEnvironment] reads.
const (
	EnvURL         = "GOLIVE_NATS_URL"
	EnvCredentials = "GOLIVE_NATS_CREDS"
	EnvContext     = "GOLIVE_NATS_CONTEXT"
	EnvDomain      = "GOLIVE_JS_DOMAIN"
	EnvInbox       = "GOLIVE_INBOX_PREFIX"
	EnvService     = "GOLIVE_SERVICE"
	EnvVersion     = "GOLIVE_VERSION"
)

// Config says how to reach the bus.
type Config struct {
	URL            string                     // one or more NATS URLs, joined by commas; empty: [DefaultURL]. Of a cluster, give all: a server that dies may tell its clients that there are no others
	Name           string                     // how the server lists the connection
	Credentials    string                     // path of a NATS credentials file; empty: none
	Context        string                     // name of a context of the nats command line, used in place of URL and Credentials; empty: none
	Domain         string                     // of JetStream, where the environment is kept; empty: that of the context or, if it names none, the one that is near
	Inbox          string                     // prefix of the inboxes that answers come to, such as _INBOX.web, where each user may subscribe its own alone; empty: that of the context, or _INBOX
	Server         nats.InProcessConnProvider // a server in this process, used in place of URL
	RequestTimeout time.Duration              // of a request whose context has no deadline; 0: [DefaultRequestTimeout]
	Logger         *zap.Logger                // nil means silence
}

// FromEnvironment is the Config that GOLIVE_NATS_URL, GOLIVE_NATS_CREDS, GOLIVE_NATS_CONTEXT,
// GOLIVE_JS_DOMAIN and GOLIVE_INBOX_PREFIX describe; what they do not set is left at its default.
func FromEnvironment() Config {
	return Config{URL: os.Getenv(EnvURL), Credentials: os.Getenv(EnvCredentials), Context: os.Getenv(EnvContext), Domain: os.Getenv(EnvDomain), Inbox: os.Getenv(EnvInbox)}
}

// Relay is a connection to the bus. It is safe for concurrent use.
type Relay struct {
	nc      *nats.Conn
	log     *zap.Logger
	timeout time.Duration
	pulse   time.Duration // of streams
	clock   bus.Instants

	dialer dialer
	lost   atomic.Bool           // the connection was there, and is not
	failed atomic.Pointer[error] // of the newest attempt to connect that came to nothing
}

// refusalPoll is how often a connection that comes about slowly is asked whether it is
// the server that does not want us.
const refusalPoll = 100 * time.Millisecond

// Connect blocks until the bus is reached, however long that takes, or until ctx
// ends. The error tells at once when the server does not accept the credentials or is
// older than [MinServer], and when there can be none at the URL.
func Connect(ctx context.Context, c Config) (*Relay, error) {
	r := &Relay{log: c.Logger, timeout: c.RequestTimeout, pulse: protocol.StreamHeartbeat, clock: bus.NewInstants()}
	if r.log == nil {
		r.log = zap.NewNop()
	}
	if r.timeout == 0 {
		r.timeout = DefaultRequestTimeout
	}
	url := c.URL
	if url == "" || c.Server != nil {
		url = DefaultURL
	}
	if c.Context != "" {
		c.URL, c.Credentials = "", ""
	}
	if c.Domain != "" && !domainName.MatchString(c.Domain) {
		return nil, fmt.Errorf("connect to %s: the JetStream domain %q is no name: letters, digits, - and _", redact(url), c.Domain)
	}
	if err := CheckInbox(c.Inbox); c.Inbox != "" && err != nil {
		return nil, fmt.Errorf("connect to %s: %w", redact(url), err)
	}
	if err := check(c, url); err != nil {
		return nil, fmt.Errorf("connect to %s: %w", redact(url), err)
	}
	connected := make(chan struct{}, 1)
	r.dialer.domain = c.Domain
	inTime := context.AfterFunc(ctx, r.dialer.breakOff)
	defer inTime()
	nc, err := r.dial(c, url, connected)
	if err != nil {
		return nil, err
	}
	r.nc = nc
	if c.Context != "" {
		url = strings.Join(nc.Servers(), ",")
		if err := CheckURL(url); err != nil {
			nc.Close()
			return nil, fmt.Errorf("the bus of the nats context %q: %w", c.Context, err)
		}
	}
	if err := r.awaitConnection(ctx, url, connected); err != nil {
		nc.Close()
		return nil, err
	}
	err = checkVersion(nc.ConnectedServerName(), nc.ConnectedServerVersion())
	if err == nil && !inTime() {
		err = ctx.Err() // and the connection has been broken off
	}
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("connect to %s: %w", redact(url), err)
	}
	return r, nil
}

// inboxPrefix is what is an inbox for golive, see [protocol.IsInbox], and for servers.
var inboxPrefix = regexp.MustCompile(`^_[A-Za-z0-9_-]*(\.[A-Za-z0-9_=@-]+)*$`)

// CheckInbox refuses what can be no prefix of inboxes.
func CheckInbox(prefix string) error {
	if !inboxPrefix.MatchString(prefix) {
		return fmt.Errorf("%q is no prefix of inboxes: it begins with _, such as _INBOX.web, and holds no wildcard", prefix)
	}
	return nil
}

// domainName is what servers take for the name of a JetStream domain, and what fits into a
// subject.
var domainName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// check finds what would keep a connection from ever coming about. NATS's own errors
// repeat the URL, with its password.
func check(c Config, urls string) error {
	if err := CheckURL(urls); err != nil {
		return err
	}
	if c.Credentials == "" {
		return nil
	}
	if _, err := os.Stat(c.Credentials); err != nil {
		return fmt.Errorf("credentials: %w", err)
	}
	return nil
}

func (r *Relay) options(c Config, connected chan<- struct{}) []nats.Option {
	name := c.Name
	if name == "" {
		name = "golive relay"
	}
	opts := []nats.Option{
		nats.Name(name),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(), // once connected, also a refusal is waited out
		nats.CustomReconnectDelay(func(int) time.Duration {
			return 100*time.Millisecond + rand.N(150*time.Millisecond)
		}),
		nats.PingInterval(10 * time.Second),
		nats.Timeout(connectTimeout),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { r.failed.Store(&err) }),
		nats.ConnectHandler(func(*nats.Conn) {
			select {
			case connected <- struct{}{}:
			default:
			}
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			r.lost.Store(true)
			if err != nil { // nil: we have closed the connection ourselves
				r.log.Warn("bus lost", zap.Error(err))
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			r.lost.Store(false)
			r.log.Info("bus found again", zap.String("server", nc.ConnectedServerName()))
		}),
		// A refused subject shows up here alone: the call itself only times out.
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			r.log.Error("bus error", zap.String("subject", subject), zap.Error(err))
		}),
	}
	if c.Server != nil {
		opts = append(opts, nats.InProcessServer(c.Server))
	}
	if c.Inbox != "" {
		opts = append(opts, nats.CustomInboxPrefix(c.Inbox))
	}
	if c.Credentials != "" {
		opts = append(opts, nats.UserCredentials(c.Credentials))
	}
	return opts
}

// refused reports whether err says that the server is there but does not let us in.
func refused(err error) bool {
	return errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) ||
		errors.Is(err, nats.ErrAuthRevoked) || errors.Is(err, nats.ErrAccountAuthExpired)
}

func checkVersion(server, version string) error {
	found, err := semver.NewVersion(version)
	if err != nil {
		return fmt.Errorf("server %s tells no version that can be read: %q", server, version)
	}
	if found.LessThan(semver.MustParse(MinServer)) {
		return fmt.Errorf("server %s is nats-server %s, at least %s is needed: older ones sync, schedule or restore differently",
			server, version, MinServer)
	}
	return nil
}

// Conn is the connection itself, for what the relay has no words for. It must not
// be closed by the caller.
func (r *Relay) Conn() *nats.Conn { return r.nc }

// Close closes the connection at once. [Relay.Drain] first sends what is waiting.
func (r *Relay) Close() {
	r.letGo()
	r.nc.Close()
}

// letGo breaks off an attempt to find the bus again: the client would wait for its end.
func (r *Relay) letGo() {
	if r.lost.Load() {
		r.dialer.breakOff()
	}
}

// Drain sends what is still waiting to be sent, then closes the connection. It
// blocks until that is done or ctx ends; without a deadline at most for the configured
// time of a request.
func (r *Relay) Drain(ctx context.Context) error {
	ctx, cancel := r.withTimeout(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, r.letGo)
	defer stop()
	defer r.Close()
	for !r.nc.IsClosed() {
		err := r.nc.FlushWithContext(ctx)
		if errors.Is(err, nats.ErrConnectionClosed) {
			continue // the bus was lost meanwhile: what is waiting is sent when it is found again
		}
		if err != nil {
			return fmt.Errorf("drain: %w", err)
		}
		return nil
	}
	return nil
}

// Send publishes a message and does not wait for anybody to get it. Payload is sent
// as it is when it is nil, a []byte or a json.RawMessage, and as JSON otherwise.
func (r *Relay) Send(name string, payload any, opts ...SendOption) error {
	t := targetOf(opts, SendOption.toSend)
	to, err := t.subject(name)
	if err != nil {
		return fmt.Errorf("send %s: %w", name, err)
	}
	data, err := encode(payload)
	if err != nil {
		return fmt.Errorf("send %s: %w", name, err)
	}
	if t.id == "" {
		err = r.nc.Publish(to, data)
	} else {
		err = r.nc.PublishMsg(&nats.Msg{Subject: to, Data: data, Header: t.header()})
	}
	if err != nil {
		return fmt.Errorf("send %s: %w", name, describe(err, r.nc))
	}
	return nil
}

// Request sends a message and waits for the answer, at most until ctx ends or, when
// ctx has no deadline, for the configured time. Payload is encoded as by
// [Relay.Send]. The answer is stored in reply: nil drops it, *[]byte and
// *json.RawMessage take it as it is, anything else takes it as JSON.
//
// The error is [ErrNobodyListens] at once when no instance is there, [ErrMaintenance] when
// the service is under maintenance (see [AwaitMaintenance]), and an *[Error] when the
// handler answered with one.
func (r *Relay) Request(ctx context.Context, name string, payload, reply any, opts ...RequestOption) error {
	t := targetOf(opts, RequestOption.toRequest)
	to, err := t.subject(name)
	if err != nil {
		return fmt.Errorf("request %s: %w", name, err)
	}
	data, err := encode(payload)
	if err != nil {
		return fmt.Errorf("request %s: %w", name, err)
	}
	ctx, cancel := r.withTimeout(ctx)
	defer cancel()
	for {
		m, err := r.ask(ctx, t, to, data)
		if err != nil {
			return fmt.Errorf("request %s: %w", name, describe(err, r.nc))
		}
		if err := errorOf(name, m); err != nil {
			if t.patient && awaitMaintenance(ctx, err) {
				continue
			}
			return err
		}
		if err := decode(m.Data, reply); err != nil {
			return fmt.Errorf("answer to %s: %w", name, err)
		}
		return nil
	}
}

func (r *Relay) ask(ctx context.Context, t target, to string, data []byte) (*nats.Msg, error) {
	if t.id == "" {
		return r.nc.RequestWithContext(ctx, to, data) // without headers, which cost
	}
	return r.nc.RequestMsgWithContext(ctx, &nats.Msg{Subject: to, Data: data, Header: t.header()})
}

// maintenancePoll is how long a request waits at most before it is sent again: services
// come back when they come back, not when they said.
const maintenancePoll = time.Second

// awaitMaintenance waits as a service under maintenance says. False: it is another error,
// or there is no time left.
func awaitMaintenance(ctx context.Context, err error) bool {
	var answered *Error
	if !errors.As(err, &answered) || !errors.Is(err, ErrMaintenance) {
		return false
	}
	t := time.NewTimer(min(max(answered.RetryAfter, maintenancePoll/10), maintenancePoll))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (r *Relay) withTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, set := ctx.Deadline(); set {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, r.timeout)
}

func encode(payload any) ([]byte, error) {
	switch p := payload.(type) {
	case nil:
		return nil, nil
	case []byte:
		return p, nil
	case json.RawMessage:
		return p, nil
	}
	data, err := json.Marshal(payload)
	if err != nil {
		return nil, fmt.Errorf("write %T as JSON: %w", payload, err)
	}
	return data, nil
}

func decode(data []byte, into any) error {
	switch p := into.(type) {
	case nil:
		return nil
	case *[]byte:
		*p = data
		return nil
	case *json.RawMessage:
		*p = data
		return nil
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("read %T from JSON: %w", into, err)
	}
	return nil
}

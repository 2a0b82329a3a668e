package bus

import (
	"context"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// patience is how long one question to JetStream waits for its answer. One that was on its way
// when the bus was lost, or when a leader died, is never answered.
const patience = 5 * time.Second

// JetStream asks JetStream. Each question, of the streams and the buckets that it gives too,
// ends after five seconds, or with its context if that ends sooner; the error is
// [context.DeadlineExceeded] then. The client of NATS bounds a question only where the context
// has no deadline, so that one whose context ends in an hour waits for an hour. A bucket's
// watcher lasts as long as its context. Make it with [NewJetStream]; it is safe for concurrent
// use.
type JetStream struct {
	js     jetstream.JetStream
	prefix string // of the subjects of buckets in a domain; empty: none
}

// InDomain is a dialer of connections whose JetStream is that of a domain. A connection has no
// other place for what is to be known of it wherever it is used.
type InDomain interface {
	nats.CustomDialer
	JetStreamDomain() string // empty: the one that is near
}

// Domain is the JetStream domain of a connection; empty: none is named.
func Domain(nc *nats.Conn) string {
	if d, ok := nc.Opts.CustomDialer.(InDomain); ok {
		return d.JetStreamDomain()
	}
	return ""
}

// NewJetStream asks the JetStream of the account that nc is connected to, in the domain of the
// connection. It blocks for nothing.
func NewJetStream(nc *nats.Conn) (JetStream, error) {
	domain := Domain(nc)
	if domain == "" {
		js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(patience))
		return JetStream{js: js}, err
	}
	js, err := jetstream.NewWithDomain(nc, domain, jetstream.WithDefaultTimeout(patience))
	return JetStream{js, "$JS." + domain + ".API."}, err
}

// Conn is the connection that JetStream is asked over.
func (j JetStream) Conn() *nats.Conn { return j.js.Conn() }

// Stream is [jetstream.StreamManager.Stream].
func (j JetStream) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	return bounded(j.js.Stream(undated{ctx}, name))
}

// CreateStream is [jetstream.StreamManager.CreateStream].
func (j JetStream) CreateStream(ctx context.Context, c jetstream.StreamConfig) (jetstream.Stream, error) {
	return bounded(j.js.CreateStream(undated{ctx}, c))
}

// UpdateStream is [jetstream.StreamManager.UpdateStream].
func (j JetStream) UpdateStream(ctx context.Context, c jetstream.StreamConfig) (jetstream.Stream, error) {
	return bounded(j.js.UpdateStream(undated{ctx}, c))
}

// KeyValue is [jetstream.KeyValueManager.KeyValue].
func (j JetStream) KeyValue(ctx context.Context, bucket string) (jetstream.KeyValue, error) {
	kv, err := j.js.KeyValue(undated{ctx}, bucket)
	if err != nil {
		return nil, err
	}
	return keyValue{kv}, nil
}

// PublishMsg is [jetstream.Publisher.PublishMsg]; [ErrFull] says that there is no room. Servers
// keep the subjects of buckets to their domain: what is for another one is published to its API.
func (j JetStream) PublishMsg(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	if j.prefix != "" && strings.HasPrefix(m.Subject, "$KV.") {
		m = &nats.Msg{Subject: j.prefix + m.Subject, Header: m.Header, Data: m.Data}
	}
	ack, err := j.js.PublishMsg(undated{ctx}, m, opts...)
	return ack, stored(err)
}

// undated is a context that ends when the one in it does, and does not say beforehand when that
// is: the client of NATS gives each question its own patience then.
type undated struct{ context.Context }

// Deadline says that there is none.
func (undated) Deadline() (time.Time, bool) { return time.Time{}, false }

func bounded(s jetstream.Stream, err error) (jetstream.Stream, error) {
	if err != nil {
		return nil, err
	}
	return stream{s}, nil
}

package features

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
)

// outside is whoever looks at the bus from outside.
type outside struct {
	url      string // that it is connected to
	relay    *relay.Relay
	nc       *nats.Conn
	observed *observation // nil: it does not listen
	reply    string       // to the last request
}

// look connects to the bus, once.
func (s *scenario) look(ctx context.Context) (*outside, error) {
	url, err := s.addressOfBus()
	if err != nil {
		return nil, err
	}
	if s.outside != nil && s.outside.url == url {
		return s.outside, nil
	}
	s.outside.stop()
	ctx, cancel := withPatience(ctx)
	defer cancel()
	r, err := relay.Connect(ctx, relay.Config{URL: url, Name: "somebody outside"})
	if err != nil {
		return nil, err
	}
	s.outside = &outside{url: url, relay: r, nc: r.Conn()}
	return s.outside, nil
}

func (o *outside) stop() {
	if o != nil {
		o.relay.Close()
	}
}

// events are all that has happened, and happens, to an app.
func (s *scenario) events(ctx context.Context, app string) (jetstream.MessagesContext, error) {
	o, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(o.nc)
	if err != nil {
		return nil, err
	}
	consumer, err := js.OrderedConsumer(ctx, protocol.Stream, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{protocol.AppRollouts(app)},
	})
	if err != nil {
		return nil, fmt.Errorf("read what has happened to %s: %w", app, err)
	}
	return consumer.Messages()
}

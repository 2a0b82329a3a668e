package spec

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/embedded"
)

// testBus is the NATS server of one scenario.
type testBus struct {
	server *embedded.Server
	folder string
	relay  *relay.Relay // of the orchestrator that is played
}

func startBus(ctx context.Context) (*testBus, error) {
	folder, err := os.MkdirTemp("", "golive-spec-")
	if err != nil {
		return nil, fmt.Errorf("start a bus: %w", err)
	}
	b := &testBus{folder: folder}
	if b.server, err = embedded.Start(embedded.Config{Data: folder, Unsynced: true}); err != nil {
		return nil, errors.Join(err, b.stop())
	}
	if b.relay, err = b.connect(ctx, "spec"); err != nil {
		return nil, errors.Join(err, b.stop())
	}
	if err := makeBuckets(ctx, b.relay.Conn()); err != nil {
		return nil, errors.Join(err, b.stop())
	}
	return b, nil
}

// connect makes a connection of its own.
func (b *testBus) connect(ctx context.Context, name string) (*relay.Relay, error) {
	return relay.Connect(ctx, relay.Config{Server: b.server, Name: name})
}

func (b *testBus) stop() error {
	if b.relay != nil {
		b.relay.Close()
	}
	var err error
	if b.server != nil {
		err = b.server.Stop()
	}
	return errors.Join(err, os.RemoveAll(b.folder))
}

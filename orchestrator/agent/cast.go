package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
)

// cast reads which hosts an attempt was given to, from the bucket's leader.
func (a *Agent) cast(ctx context.Context, key string) (protocol.Cast, error) {
	var found jetstream.KeyValueEntry
	err := relay.AskLeader(ctx, func(ctx context.Context) (err error) {
		found, err = a.hosts.Get(ctx, key)
		return err
	})
	var cast protocol.Cast
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return cast, nil
	}
	if err == nil {
		err = json.Unmarshal(found.Value(), &cast)
	}
	if err != nil {
		return cast, fmt.Errorf("read %s: %w", key, err)
	}
	return cast, nil
}

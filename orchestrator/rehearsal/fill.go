package rehearsal

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/snapshot"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// Fill puts the copy on an empty bus on which no orchestrator is at work yet: the data without
// its consumers and without messages that would be sent later, the events of the rollouts, and
// the routes on the revisions that they have, so that a plan is the same.
func (c *Copy) Fill(ctx context.Context, nc *nats.Conn) error {
	js, err := bus.NewJetStream(nc)
	if err != nil {
		return err
	}
	for _, service := range c.Snapshot.Services {
		for _, p := range service.Parts {
			if p.Kept() {
				continue // it is put by its keeper, which does not run yet
			}
			if err := c.put(ctx, js, service.Name, p); err != nil {
				return fmt.Errorf("service %s: %w", service.Name, err)
			}
		}
	}
	j, err := journal.Make(ctx, nc, 1)
	if err != nil {
		return err
	}
	sequences, err := c.replay(ctx, j)
	if err != nil {
		return err
	}
	return c.lead(ctx, nc, js, j.Environment(), sequences)
}

// put puts a stream or bucket back.
func (c *Copy) put(ctx context.Context, js bus.JetStream, service string, p snapshot.Part) error {
	config, err := alone(p.Config)
	if err != nil {
		return fmt.Errorf("stream %s: %w", p.Stream(), err)
	}
	content, err := snapshot.Put(ctx, js, snapshot.Source{
		Config: config, Archive: func() (io.ReadCloser, error) { return c.Archives.Open(ctx, archive(service, p)) },
		Rewrite: snapshot.Rewrite{NoConsumers: true, NoSchedules: true},
	})
	if err == nil && content.Last > p.State.Last {
		err = fmt.Errorf("stream %s: %w", p.Stream(), snapshot.ErrDamaged)
	}
	return err
}

// alone is the configuration of a stream on a server that stands alone: what would lead to
// others, or need them, is left out.
func alone(config json.RawMessage) (json.RawMessage, error) {
	fields := make(map[string]json.RawMessage)
	if err := json.Unmarshal(config, &fields); err != nil {
		return nil, fmt.Errorf("%w: its configuration: %w", snapshot.ErrDamaged, err)
	}
	for _, name := range []string{"placement", "mirror", "sources", "republish"} {
		delete(fields, name)
	}
	fields["num_replicas"] = json.RawMessage("1")
	return json.Marshal(fields)
}

// replay stores the events of the rollouts as they have happened, and gives the sequences that
// they have now by those that they had.
func (c *Copy) replay(ctx context.Context, j *journal.Journal) (map[uint64]uint64, error) {
	sequences, last := make(map[uint64]uint64), make(map[string]uint64)
	for _, v := range c.Events {
		at, err := j.Append(ctx, v.State, last[v.ID])
		if err != nil {
			return nil, fmt.Errorf("copy what has happened to rollout %s: %w", v.ID, err)
		}
		last[v.ID], sequences[v.Sequence] = at, at
	}
	return sequences, nil
}

// lead writes the routes on the revisions that they have.
func (c *Copy) lead(ctx context.Context, nc *nats.Conn, js bus.JetStream, environment string, sequences map[uint64]uint64) error {
	if _, err := bus.Make(ctx, nc, bus.Routes, environment, 1); err != nil || len(c.Routes) == 0 {
		return err
	}
	name := snapshot.StreamOf(snapshot.KindKV, protocol.RoutesBucket)
	stream, err := js.Stream(ctx, name)
	if err != nil {
		return fmt.Errorf("copy the routes: %w", err)
	}
	config, err := json.Marshal(stream.CachedInfo().Config)
	if err != nil {
		return err
	}
	var messages []snapshot.Message
	for _, r := range c.Routes {
		if r.Revision == 0 { // nothing was ever written
			continue
		}
		route := r.Route.Route
		route.Sequence = sequences[route.Sequence]
		body, err := json.Marshal(route)
		if err != nil {
			return err
		}
		messages = append(messages, snapshot.Message{Subject: "$KV." + protocol.RoutesBucket + "." + r.Service, Sequence: r.Revision, Time: r.Since.UnixNano(), Body: body})
	}
	var b bytes.Buffer
	if err := snapshot.Write(&b, messages); err != nil {
		return err
	}
	if err := js.Ask(ctx, "STREAM.DELETE."+name, nil, nil); err != nil {
		return fmt.Errorf("copy the routes: %w", err)
	}
	_, err = snapshot.Put(ctx, js, snapshot.Source{Config: config, Archive: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil }})
	if err != nil {
		return fmt.Errorf("copy the routes: %w", err)
	}
	return nil
}

package features

import (
	"context"
	"fmt"

	"github.com/cucumber/godog"
	"github.com/nats-io/nats.go/jetstream"
)

func (s *scenario) snapshotSteps(sc *godog.ScenarioContext) {
	sc.Step(`^the stream (\S+) holds (\d+) messages$`, s.fillStream)
	sc.Step(`^(\d+) more messages are stored in the stream (\S+)$`, s.storeMore)
	sc.Step(`^there are (\d+) messages in the stream (\S+)$`, s.streamHas)
}

// fillStream makes a stream with messages, as a service does that keeps its data there.
func (s *scenario) fillStream(ctx context.Context, name string, messages int) error {
	o, err := s.look(ctx)
	if err != nil {
		return err
	}
	js, err := jetstream.New(o.nc)
	if err != nil {
		return err
	}
	ctx, cancel := withPatience(ctx)
	defer cancel()
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{name + ".>"}}); err != nil {
		return err
	}
	return store(ctx, js, name, messages)
}

// storeMore stores messages in a stream that is there.
func (s *scenario) storeMore(ctx context.Context, messages int, name string) error {
	o, err := s.look(ctx)
	if err != nil {
		return err
	}
	js, err := jetstream.New(o.nc)
	if err != nil {
		return err
	}
	ctx, cancel := withPatience(ctx)
	defer cancel()
	return store(ctx, js, name, messages)
}

// streamHas reports whether a stream holds so many messages.
func (s *scenario) streamHas(ctx context.Context, messages int, name string) error {
	o, err := s.look(ctx)
	if err != nil {
		return err
	}
	js, err := jetstream.New(o.nc)
	if err != nil {
		return err
	}
	ctx, cancel := withPatience(ctx)
	defer cancel()
	stream, err := js.Stream(ctx, name)
	if err != nil {
		return err
	}
	if n := stream.CachedInfo().State.Msgs; n != uint64(messages) {
		return fmt.Errorf("%d messages are in the stream %s, not %d", n, name, messages)
	}
	return nil
}

func store(ctx context.Context, js jetstream.JetStream, name string, messages int) error {
	for i := range messages {
		if _, err := js.Publish(ctx, fmt.Sprintf("%s.%d", name, i%7), fmt.Appendf(nil, `{"order": %d}`, i)); err != nil {
			return err
		}
	}
	return nil
}

package features

import (
	"context"
	"fmt"

	"github.com/cucumber/godog"
	"github.com/nats-io/nats.go/jetstream"
)

func (s *scenario) snapshotSteps(sc *godog.ScenarioContext) {
	sc.Step(`^the stream (\S+) holds (\d+) messages$`, s.fillStream)
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
	for i := range messages {
		if _, err := js.Publish(ctx, fmt.Sprintf("%s.%d", name, i%7), fmt.Appendf(nil, `{"order": %d}`, i)); err != nil {
			return err
		}
	}
	return nil
}

package features

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/cucumber/godog"
)

func (s *scenario) planSteps(sc *godog.ScenarioContext) {
	sc.Step(`^all that the release of the app (\S+) needs is there$`, s.awaitNeeds)
}

// awaitNeeds waits until no plan misses a program any more: they report to the scenario
// before they are on the bus.
func (s *scenario) awaitNeeds(ctx context.Context, app string) error {
	ctx, cancel := withPatience(ctx)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		t, err := s.open("golive plan --allow-older -o json "+app, s.home())
		if err != nil {
			return err
		}
		if err := t.await(ctx); err != nil {
			return err
		}
		if out := t.out.text(); t.code != 1 || !strings.Contains(out, `"not_alive"`) && !strings.Contains(out, `"not_listening"`) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the release of %s still lacks something: %w: %s", app, context.Cause(ctx), t.out.text())
		}
	}
}

package local

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/golive-dev/golive/orchestrator/report"
	"github.com/golive-dev/golive/orchestrator/terminal"
)

// seed runs the manifest's seed command to its end.
func (u *upRun) seed(ctx context.Context) error {
	m := u.app.manifest
	p, err := u.app.launch(command{
		label: m.App + " seed", folder: m.App + ".seed", args: m.Seed, version: m.Version, more: []string{"GOLIVE_SEED=" + strconv.Itoa(u.Seed)}, noInput: true,
	})
	if err != nil {
		return err
	}
	defer func() {
		_ = p.Stop(u.atOnce) // it has ended, or nobody waits for its work any more
		<-p.Done()
	}()
	if err := u.awaitSeed(ctx, p); err != nil {
		return err
	}
	if err := p.Err(); err != nil {
		return &report.Failure{Code: report.CodeFailed, Message: fmt.Sprintf("the seed command has failed: %s", err),
			Hint: "its last lines are above; see key seed in " + u.short(u.app.manifest.Path)}
	}
	u.Talk.Say(terminal.Green, "✓", "seeded: GOLIVE_SEED=%d", u.Seed)
	return nil
}

// awaitSeed blocks until the seed command has ended, and says from time to time that it runs.
func (u *upRun) awaitSeed(ctx context.Context, p *program) error {
	begun := time.Now()
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	for {
		select {
		case <-p.Done():
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case d := <-u.app.died:
			return u.ruin(d)
		case err := <-u.orchestrator.Ended:
			return fmt.Errorf("the orchestrator has ended: %w", err)
		case now := <-tick.C:
			u.Talk.Say(terminal.Dim, "…", "the seed command runs, for %s so far", now.Sub(begun).Round(time.Second))
		}
	}
}

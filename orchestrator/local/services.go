package local

import (
	"context"
	"fmt"
	"time"

	"github.com/golive-dev/golive/orchestrator/report"
	"github.com/golive-dev/golive/orchestrator/terminal"
)

// lookBefore remembers the instances that are on the bus: those of an up that was killed hold
// their leases for a while.
func (u *upRun) lookBefore(ctx context.Context) error {
	u.earlier = make(map[string]bool)
	for _, s := range u.app.manifest.Services {
		instances, err := u.orchestrator.Gate.Instances(ctx, s.Name)
		if err != nil {
			return err
		}
		for _, i := range instances {
			u.earlier[i.ID] = true
		}
	}
	return nil
}

// awaitServices blocks until what was started of an app is on the bus.
func (u *upRun) awaitServices(ctx context.Context, of *app) error {
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for {
		missing, err := u.missing(ctx, of)
		if err != nil {
			return err
		}
		if len(missing) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case d := <-of.died:
			return u.ruin(d)
		case err := <-u.orchestrator.Ended:
			return fmt.Errorf("the orchestrator has ended: %w", err)
		case <-look.C:
		case <-tick.C:
			for _, what := range missing {
				u.Talk.Say(terminal.Dim, "…", "waiting for %s", what)
			}
		}
	}
}

// missing lists the services of an app whose instances are not all there yet.
func (u *upRun) missing(ctx context.Context, of *app) ([]string, error) {
	var missing []string
	for _, s := range of.manifest.Services {
		if s.Run == nil || s.Instances == 0 {
			continue
		}
		instances, err := u.orchestrator.Gate.Instances(ctx, s.Name)
		if err != nil {
			return nil, err
		}
		alive := 0
		for _, i := range instances {
			if i.Version == s.Version && i.Alive() && (!u.earlier[i.ID] || !i.Seen.IsZero()) {
				alive++
			}
		}
		if alive < s.Instances {
			missing = append(missing, fmt.Sprintf("%s %s to come up: %d of %d instances on the bus", s.Name, s.Version, alive, s.Instances))
		}
	}
	return missing, nil
}

// ruin is the error for a program that has ended too early.
func (u *upRun) ruin(d death) *report.Failure {
	message := d.program.label + " has ended by itself"
	if d.err != nil {
		message = d.err.Error()
	}
	return &report.Failure{Code: report.CodeFailed, Message: message,
		Hint: "its last lines are above; see how it is started in " + u.short(u.app.manifest.Path)}
}

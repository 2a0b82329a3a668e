package local

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/report"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay/protocol"
)

// begin finds the rollout to follow: one of this very release that is under way or has
// failed is gone on with, else a new one begins.
func (u *upRun) begin(ctx context.Context) (rollout.State, error) {
	want := u.app.manifest.Release()
	if u.Release != nil {
		want = *u.Release
	}
	replaced := "" // what gives way
	page, err := u.client.List(ctx, api.ListRequest{App: want.App, Limit: 1})
	if err != nil {
		return rollout.State{}, err
	}
	if len(page.Rollouts) > 0 {
		found := page.Rollouts[0]
		if found.IsRepeat() { // then it goes on with the one that is repeated, if anything
			if story, err := u.client.Show(ctx, api.RolloutRequest{Rollout: found.Repeats}); err == nil {
				found = story.RolloutView
			}
		}
		same := found.Release.Version == want.Version && found.Release.Digest == want.Digest
		switch {
		case same && found.Status == rollout.Running && found.Until != "":
			u.Talk.Say(terminal.Plain, "*", "going on with rollout %s, which was to run to the end of phase %s", found.ID, found.Until)
		case same && (found.Status == rollout.Running || found.Status == rollout.Amending):
			u.Talk.Say(terminal.Plain, "*", "going on with rollout %s, which was under way", found.ID)
			return found.State, nil
		case same && found.Status == rollout.Failed:
			u.Talk.Say(terminal.Plain, "*", "rollout %s had failed: trying it again", found.ID)
			retried, err := u.client.Retry(ctx, api.RetryRequest{Rollout: found.ID, By: u.By, Reason: "golive up"})
			if err != nil || retried.Until == "" {
				return retried.State, err
			}
		case !found.Status.Final() && found.Status != rollout.Failed:
			replaced = fmt.Sprintf("rollout %s of %s was under way: %s takes its place", found.ID, found.Release.Version, want.Version)
			if found.Release.Version == want.Version {
				replaced = fmt.Sprintf("rollout %s of %s was under way, and golive.yaml has changed since: a new one takes its place", found.ID, want.Version)
			}
		}
	}
	id, err := uuid.NewV7()
	if err != nil {
		return rollout.State{}, err
	}
	begun, err := u.client.Deploy(ctx, api.DeployRequest{
		Rollout: id.String(), Release: want, By: u.By, Replace: true, AllowOlder: u.AllowOlder,
	})
	if err == nil && replaced != "" {
		u.Talk.Say(terminal.Yellow, "*", "%s", replaced)
	}
	return begun.State, u.older(err)
}

// older has a refusal of an older version tell what can be done where golive up ends with it:
// there is no bus then that another command could go to.
func (u *upRun) older(err error) error {
	var refused *protocol.ServiceError
	if !errors.As(err, &refused) || refused.Code != api.CodeOlder {
		return err
	}
	dir := u.short(u.app.manifest.Dir)
	return &report.Failure{Code: refused.Code, Message: refused.Message, Hint: "to begin with nothing, in a data folder of its own: golive up --data FOLDER " + dir +
		"\nto bring it on top of what the newer one has left: golive up --allow-older " + dir}
}

// follow tells the rollout's story, from behind an event on, until it has ended, or
// something has ended without which it cannot. It gives the last state and its
// sequence.
func (u *upRun) follow(ctx context.Context, begun rollout.State, after uint64) (rollout.State, uint64, error) {
	following, stop := context.WithCancel(ctx)
	defer stop()
	type result struct {
		last api.RolloutView
		err  error
	}
	results := make(chan result, 1)
	go func() {
		started, plan := false, begun
		last, err := u.Follow(following, Following{App: begun.Release.App, Rollout: begun.ID, Bus: u.app.bus.URL, After: after, Each: func(s rollout.State) error {
			if len(plan.Steps) == 0 { // it waited for the one before it to be aborted
				plan = s
			}
			if started || len(plan.Steps) == 0 {
				return nil
			}
			started = true // once, behind the plan
			return u.app.startSetups(plan)
		}})
		results <- result{last, err}
	}()
	var fatal error
	for {
		select {
		case r := <-results:
			if fatal != nil && r.err != nil {
				r.err = fatal
			}
			return r.last.State, r.last.Sequence, r.err
		case err := <-u.orchestrator.Ended:
			fatal = fmt.Errorf("the orchestrator has ended: %w", err)
			stop()
		case d := <-u.app.died:
			if err := u.consider(ctx, d, begun); err != nil && fatal == nil {
				fatal = err
				stop()
			}
		}
	}
}

// consider decides what a death means for the rollout: nothing if the program's work
// is done, else an error: nobody else is there who could run its scripts.
func (u *upRun) consider(ctx context.Context, d death, begun rollout.State) error {
	if !u.app.running(d.program) {
		return nil
	}
	if d.program.setup.Owner != "" {
		story, err := u.client.Show(ctx, api.RolloutRequest{Rollout: begun.ID})
		if err == nil && !unfinished(story.State, d.program.setup) {
			return nil
		}
	}
	f := u.ruin(d)
	f.Hint += "\nthen golive up again: the rollout goes on where it was"
	return f
}

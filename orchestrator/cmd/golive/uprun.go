package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/report"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
)

// upRun is the part of up for which everything is in place.
type upRun struct {
	Up
	app          *app
	orchestrator Orchestrator
	relay        *relay.Relay
	client       *api.Client
	atOnce       context.Context // ends when what is being stopped is to end at once
	before       map[string]bool // instances that were on the bus before anything was started
}

// tellEvery is how often it is said that something is waited for.
const tellEvery = 10 * time.Second

// errEnough ends following.
var errEnough = errors.New("it is known")

func (u *upRun) run(ctx context.Context) error {
	if err := u.lookBefore(ctx); err != nil {
		return interrupted(ctx, err, nil)
	}
	if err := u.app.startServices(); err != nil {
		return err
	}
	if err := u.awaitServices(ctx); err != nil {
		return interrupted(ctx, err, nil)
	}
	if u.Seed > 0 {
		if err := u.seed(ctx); err != nil {
			return interrupted(ctx, err, nil)
		}
	}
	agents, err := u.startAgents(ctx)
	if err != nil {
		return interrupted(ctx, err, nil)
	}
	defer agents.end()
	begun, err := u.begin(ctx)
	if err != nil {
		return err
	}
	for after := uint64(0); ; {
		last, sequence, err := u.follow(ctx, begun, after)
		if e := u.app.stopSetups(u.atOnce, u.keeps(ctx, last)); e != nil {
			return e
		}
		if err != nil {
			return interrupted(ctx, err, &last)
		}
		if err = nil; begun.Status != rollout.Amending {
			err = u.conclude(ctx, last)
		}
		if u.Once {
			return err
		}
		retried, e := u.stay(ctx, last, sequence)
		if e != nil {
			return e
		}
		if retried == nil {
			return err
		}
		if retried.Status == rollout.Running { // the cause may have been mended in its program
			if err := u.app.stopSetups(u.atOnce, none); err != nil {
				return err
			}
		}
		begun, after = *retried, sequence
	}
}

// keeps tells which setup services go on running when the rollout has ended: as long as up
// stays, what they did can be undone, and the records that they have put aside tried again.
func (u *upRun) keeps(ctx context.Context, last rollout.State) func(owner string) bool {
	if u.Once || last.Status != rollout.Completed && last.Status != rollout.Failed {
		return none
	}
	return func(owner string) bool { return asideIn(last, owner) || u.canUndo(ctx, last, owner) }
}

// undoTimeout is how long a setup service is asked whether it can undo what it did.
const undoTimeout = time.Second

// canUndo reports whether a setup service says that it has a revert script for something
// that it did.
func (u *upRun) canUndo(ctx context.Context, s rollout.State, owner string) bool {
	ctx, cancel := context.WithTimeout(ctx, undoTimeout)
	defer cancel()
	return slices.ContainsFunc(s.Steps, func(step *rollout.Step) bool {
		if step.Kind != rollout.Migration || step.Name != owner || step.Attempt == 0 {
			return false
		}
		m, err := u.relay.Conn().RequestWithContext(ctx, protocol.AboutScriptSubject(step.Script()), nil)
		var info protocol.ScriptInfo
		return err == nil && json.Unmarshal(m.Data, &info) == nil && info.Revert
	})
}

// conclude says how the rollout has ended.
func (u *upRun) conclude(ctx context.Context, last rollout.State) error {
	if last.Status == rollout.Completed { // also if Ctrl-C has come just now
		return u.tellOnline(context.WithoutCancel(ctx), last)
	}
	err := report.Failed(last)
	if last.Status == rollout.Failed && last.Backward == nil {
		retry := "golive retry " + last.ID
		err.Hint = strings.Replace(err.Hint, retry, retry+", or golive up again", 1)
	}
	if !u.Once {
		u.Fail(err)
		u.Talk.Say(terminal.Plain, "▪", "the services stay up for you to look at: Ctrl-C stops them")
	}
	return err
}

// interrupted is what is left to say when a person has ended up before the rollout.
func interrupted(ctx context.Context, err error, last *rollout.State) error {
	if ctx.Err() == nil {
		return err
	}
	f := &report.Failure{Code: report.CodeGaveUp, Message: "stopped before the rollout had begun"}
	if last != nil && last.ID != "" {
		f.Message = fmt.Sprintf("stopped while rollout %s was under way", last.ID)
		f.Hint = "run golive up again: it goes on where it was"
	}
	return f
}

// lookBefore remembers the instances that are on the bus: those of an up that was killed hold
// their leases for a while.
func (u *upRun) lookBefore(ctx context.Context) error {
	u.before = make(map[string]bool)
	for _, s := range u.app.manifest.Services {
		instances, err := u.orchestrator.Gate.Instances(ctx, s.Name)
		if err != nil {
			return err
		}
		for _, i := range instances {
			u.before[i.ID] = true
		}
	}
	return nil
}

// awaitServices blocks until what was started is on the bus.
func (u *upRun) awaitServices(ctx context.Context) error {
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for {
		missing, err := u.missing(ctx)
		if err != nil {
			return err
		}
		if len(missing) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case d := <-u.app.died:
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

// missing lists the services whose instances are not all there yet.
func (u *upRun) missing(ctx context.Context) ([]string, error) {
	var missing []string
	for _, s := range u.app.manifest.Services {
		if s.Run == nil || s.Instances == 0 {
			continue
		}
		instances, err := u.orchestrator.Gate.Instances(ctx, s.Name)
		if err != nil {
			return nil, err
		}
		alive := 0
		for _, i := range instances {
			if i.Version == s.Version && (!u.before[i.ID] || !i.Seen.IsZero()) {
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

// begin finds the rollout to follow: one of this very release that is under way or has
// failed is gone on with, else a new one begins.
func (u *upRun) begin(ctx context.Context) (rollout.State, error) {
	want := u.app.manifest.Release()
	replaced := "" // what gives way
	page, err := u.client.List(ctx, api.ListRequest{App: want.App, Limit: 1})
	if err != nil {
		return rollout.State{}, err
	}
	if len(page.Rollouts) > 0 {
		found := page.Rollouts[0]
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
		last, err := u.Follow(following, Following{App: begun.Release.App, Rollout: begun.ID, After: after, Each: func(s rollout.State) error {
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
	if d.program.owner != "" {
		story, err := u.client.Show(ctx, api.RolloutRequest{Rollout: begun.ID})
		if err == nil && !unfinished(story.State, d.program.owner) {
			return nil
		}
	}
	f := u.ruin(d)
	f.Hint += "\nthen golive up again: the rollout goes on where it was"
	return f
}

// stay blocks until a person ends it, a service ends by itself, or the rollout, which
// stands as it does after sequence, is tried again: then it gives the state to go on
// from.
func (u *upRun) stay(ctx context.Context, last rollout.State, sequence uint64) (*rollout.State, error) {
	watching, stop := context.WithCancel(ctx)
	retried := make(chan rollout.State, 1)
	var watch sync.WaitGroup
	watch.Go(func() { u.awaitRetry(watching, last, sequence, retried) })
	defer func() { stop(); watch.Wait() }()
	for {
		select {
		case <-ctx.Done():
			return nil, nil
		case s := <-retried:
			return &s, nil
		case err := <-u.orchestrator.Ended:
			return nil, fmt.Errorf("the orchestrator has ended: %w", err)
		case d := <-u.app.died:
			if u.app.running(d.program) && d.program.owner == "" {
				return nil, u.ruin(d)
			}
			u.app.lose(d.program) // nothing is left to do for a setup service but what may be asked for later
		}
	}
}

// awaitRetry waits for a failed rollout to be tried again, as golive retry does, for the
// records that one has put aside to be so, or for one to be ended or undone.
func (u *upRun) awaitRetry(ctx context.Context, last rollout.State, sequence uint64, retried chan<- rollout.State) {
	if last.Status.Final() && last.Status != rollout.Completed {
		return
	}
	err := u.orchestrator.Journal.FollowSubject(ctx, protocol.RolloutSubject(last.Release.App, last.ID), sequence, func(r journal.Record) error {
		if r.State.Event.Type == rollout.PaceAsked {
			return nil
		}
		retried <- r.State
		return errEnough // whatever came first
	})
	if err != nil && !errors.Is(err, errEnough) {
		u.Logger.Warn("a retry of the rollout would not be noticed", zap.Error(err))
	}
}

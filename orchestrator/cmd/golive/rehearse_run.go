package main

import (
	"context"
	"os"
	"strings"
	"time"

	"github.com/golive-dev/golive/orchestrator"
	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/orchestrator/local"
	"github.com/golive-dev/golive/orchestrator/rehearsal"
	"github.com/golive-dev/golive/orchestrator/rehearsed"
	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/snapshot"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/embedded"
)

// run brings the release live in the sandbox.
func (r *rehearsalRun) run(ctx context.Context) error {
	for _, step := range r.m.Steps {
		if skipped(step) {
			r.out.NotRehearsed = append(r.out.NotRehearsed, "the command of step "+step.Name)
		}
	}
	for _, service := range r.m.Services {
		if service.Run == nil && service.Instances > 0 {
			r.out.NotRehearsed = append(r.out.NotRehearsed, "service "+service.Name+", which the manifest has no command for (run)")
		}
	}
	if r.live == nil {
		r.out.NotRehearsed = append(r.out.NotRehearsed, "the handing over from instances of "+r.copied.Snapshot.Version+", none of which ran: name their folder with --from")
	}
	governed := r.plan.DependsOn.Release                                // as the environment has it, with its own rules
	governed.Source, governed.Approvals.Rehearsed = r.release.Source, 0 // this is the rehearsal
	r.rolled = governed
	return local.Up{
		Manifest: r.m, Data: r.sandbox.Data(), Listen: embedded.DefaultListen, Beacons: r.sandbox.Dir, Dir: r.Dir,
		Before: r.live, Release: &r.rolled, After: r.drill, Environ: r.sandbox.Environ(os.Environ(), r.o.pass...), Unsynced: true, Skips: skipped,
		States: func() []local.Kept { return r.kept(ctx) },
		Once:   true, AllowOlder: true, By: rehearsing, Version: Version, Talk: r.story.Talk, Logger: r.logger(),
		Orchestrate: r.orchestrate, Follow: r.follow, Output: r.story.stepOutput,
		Events: func(context.Context, string, uint64, func(api.Followed) error) error { return nil }, Online: func(local.Online) error { return nil }, Fail: func(error) {},
	}.Run(ctx, atOnce(ctx))
}

// orchestrate fills the bus of the sandbox, and starts an orchestrator on it.
func (r *rehearsalRun) orchestrate(ctx, working context.Context, there *relay.Relay) (local.Orchestrator, error) {
	began := time.Now()
	if err := r.copied.Fill(ctx, there.Conn()); err != nil {
		return local.Orchestrator{}, err
	}
	r.out.Filled = rollout.Duration(time.Since(began).Round(time.Millisecond))
	for _, s := range r.copied.Snapshot.Services {
		for _, p := range s.Parts {
			r.out.Messages += p.Messages
			r.held = append(r.held, rehearsed.Held{Stream: p.Stream(), Messages: p.Messages})
		}
	}
	if r.o.drill {
		js, err := bus.NewJetStream(there.Conn())
		if err == nil {
			r.state, err = rehearsal.Look(ctx, js, rehearsal.PartsOf(r.copied.Snapshot, r.rolled))
		}
		if err != nil {
			return local.Orchestrator{}, err
		}
	}
	r.say("✓", "put back %s in %s", terminal.Plural(int(r.out.Messages), "message"), terminal.Took(time.Duration(r.out.Filled)))
	e, err := newEngine(ctx, there, orchestrator.Config{Replicas: 1, Heartbeat: upHeartbeat, Logger: r.logger()}, gate.Config{})
	if err != nil {
		return local.Orchestrator{}, err
	}
	ended, err := e.start(working)
	if err != nil {
		return local.Orchestrator{}, err
	}
	r.relay = there
	here, err := api.NewClient(there.Conn()).Plan(ctx, api.PlanRequest{Release: r.plan.DependsOn.Release, AllowOlder: true})
	if err != nil {
		return local.Orchestrator{}, err
	}
	r.out.Same = here.ID == r.plan.ID
	if r.out.Same {
		r.say("✓", "the plan is the one of the environment: %s", here.ID[:rollout.ShortPlan])
	} else {
		r.out.Differences = rehearsal.Differences(r.plan.DependsOn, here.DependsOn)
		r.say("!", "the plan differs from the one of the environment: %s", terminal.Flat(strings.Join(r.out.Differences, "; ")))
	}
	return local.Orchestrator{Gate: e.gate, Journal: e.journal, Ended: ended}, nil
}

// follow tells the story of the rollout, answers its approvals, and makes the report.
func (r *rehearsalRun) follow(ctx context.Context, what local.Following) (api.RolloutView, error) {
	client := api.NewClient(r.relay.Conn())
	f := &follower{nc: r.relay.Conn(), story: r.story, after: what.After, each: what.Each, lines: r.lines()}
	f.person = func(s rollout.State, step rollout.Step) error { return r.answer(ctx, client, s, step) }
	if r.out.Report == nil {
		stop, err := r.startLoad(ctx, what.Bus)
		if err != nil {
			return api.RolloutView{}, err
		}
		defer stop()
	}
	last, err := f.follow(ctx, events{client}, what.App, what.Rollout)
	if r.out.Report != nil { // it is the drill
		return last, err
	}
	r.last = last.State
	if err == nil {
		made, e := makeReport(ctx, client, last.ID, last.Sequence)
		if e != nil {
			return last, e
		}
		r.out.Report = &made
	}
	return last, err
}

// drill goes back and forward again, if that is asked for. What it finds is not an error.
func (r *rehearsalRun) drill(ctx context.Context, last rollout.State, sequence uint64, follow local.Follower) error {
	if !r.o.drill {
		return nil
	}
	r.say("*", "the drill: back to %s, and forward again", r.copied.Snapshot.Version)
	js, err := bus.NewJetStream(r.relay.Conn())
	if err != nil {
		return err
	}
	d := rehearsal.Drill{
		JetStream: js, Client: api.NewClient(r.relay.Conn()), Parts: rehearsal.PartsOf(r.copied.Snapshot, r.rolled), Release: r.rolled, By: rehearsing,
		Follow: follow,
	}
	found, err := d.Run(ctx, r.state, last, sequence)
	if err != nil && ctx.Err() != nil {
		return err
	}
	if err != nil {
		found.Failed = err.Error()
	}
	r.out.Drill = &found
	return nil
}

// answer says yes to an approval, and that it was the rehearsal.
func (r *rehearsalRun) answer(ctx context.Context, client *api.Client, s rollout.State, step rollout.Step) error {
	if err := rehearsal.Approve(ctx, client, s, step); err != nil {
		return err
	}
	r.say("✓", "approval %s is answered by the rehearsal itself: in the environment it waits for people", step.ID)
	return nil
}

// kept is the state of the copy that is not in JetStream.
func (r *rehearsalRun) kept(ctx context.Context) []local.Kept {
	var all []local.Kept
	for _, k := range r.copied.Kept(ctx) {
		all = append(all, local.Kept{Service: k.Service, Snapshot: r.copied.Snapshot.ID, Command: k.Part.Kind == snapshot.KindCommand, Open: k.Open})
	}
	return all
}

// skipped reports whether a step is a command that a rehearsal does not run.
func skipped(step release.Step) bool { return step.Command != nil && !step.Command.Rehearse }

package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/fleet"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// Of what hosts have written, so much is kept in the state of a rollout, which is one
// message: of each, and of all together. The agents' bucket has more.
const (
	maxHostText  = 1 << 10
	maxHostsText = 64 << 10
	manyHosts    = 100 // of more than that, nothing of those that have done it
)

// hosts has commands and checks done by agents.
type hosts struct{ Config }

// workOnHosts has a command or check done by agents, and records what has come of it. It
// ends early when that is no longer wanted.
func (g *hosts) workOnHosts(ctx context.Context, r journal.Record, step rollout.Step) error {
	working, stop := context.WithCancel(ctx)
	defer stop()
	var watching sync.WaitGroup
	if !g.View.Watch(working, stop, &watching, r.State.ID, step) {
		return nil
	}
	if step.Cancelled {
		if err := g.Fleet.Cancel(working, r.State.ID, step); err != nil {
			return err
		}
	}
	news := make(chan api.Notice)
	tell := func(n api.Notice) {
		select {
		case news <- n:
		case <-working.Done():
		}
	}
	watching.Go(func() { g.tellWork(working, r.State, step, news) })
	hosts, err := g.Fleet.Do(working, fleet.Job{
		Rollout: r.State.ID, Release: r.State.Release, Step: step,
		Tell: func(waiting string) { tell(api.Notice{Waiting: waiting}) },
		Told: func(hosts []protocol.Host) { tell(api.Notice{Sent: true, Waiting: tellHosts(hosts)}) },
	})
	stop()
	watching.Wait()
	e := rollout.Event{Step: step.ID, Attempt: step.Attempt, Revert: step.Revert, Answer: &protocol.Answer{Hosts: trimmed(hosts)}}
	var failed *fleet.FailedError
	switch {
	case errors.As(err, &failed):
		e.Type, e.Answer.Error = rollout.StepBroke, whyBroke(step, failed)
	case errors.Is(err, rollout.ErrStale):
		return nil
	case err != nil:
		if _, wanted := g.View.Wants(r.State.ID, step); !wanted {
			return nil
		}
		return err
	default:
		e.Type = rollout.StepAnswered
	}
	return g.Recorder.Record(ctx, r, e)
}

// whyBroke is why agents have not done a step. Who has noticed first that its time was over,
// a host or an orchestrator, makes no difference.
func whyBroke(step rollout.Step, failed *fleet.FailedError) *protocol.ScriptError {
	why := &protocol.ScriptError{Code: protocol.CodeFailed, Message: rollout.Clip(failed.Error())}
	switch {
	case step.Cancelled:
		why.Code = protocol.CodeCancelled
	case failed.Late:
		why.Code = protocol.CodeTimeout
		why.Message = rollout.Clip(fmt.Sprintf("not done within %s: %s", time.Duration(step.Timeout), failed.Error()))
	case step.Kind == rollout.Check && onlyLost(failed.Hosts): // it changes nothing: another look does no harm
		why.Code = protocol.CodeLost
	}
	return why
}

// tellWork tells how far a command or check is on its hosts, and again every now and then for
// those who have begun to listen meanwhile, until ctx ends.
func (g *hosts) tellWork(ctx context.Context, s rollout.State, step rollout.Step, news <-chan api.Notice) {
	again := time.NewTicker(g.Resend)
	defer again.Stop()
	var last api.Notice
	for {
		select {
		case last = <-news:
			last.Step, last.Attempt = step.ID, step.Attempt
		case <-again.C:
			if last.Waiting == "" {
				continue
			}
		case <-ctx.Done():
			return
		}
		g.Notices.Tell(s, last)
	}
}

// onlyLost reports whether hosts have failed for no other reason than that their agents died.
func onlyLost(hosts []protocol.Host) bool {
	lost := false
	for _, h := range hosts {
		if h.Status == protocol.HostFailed {
			return false
		}
		lost = lost || h.Status == protocol.HostLost
	}
	return lost
}

// stopAgents tells the agents that do a step to stop, and blocks until they have, or have
// died, or do a later attempt.
func (g *hosts) stopAgents(ctx context.Context, r journal.Record, step rollout.Step) error {
	step.Attempt = cmp.Or(r.State.Event.Attempt, step.Attempt)
	step.Revert = step.Revert || r.State.Event.Revert
	if err := g.Fleet.Cancel(ctx, r.State.ID, step); err != nil {
		return fmt.Errorf("stop the agents of %s: %w", step.ID, err)
	}
	_, err := g.Fleet.Do(ctx, fleet.Job{Rollout: r.State.ID, Release: r.State.Release, Step: step})
	var failed *fleet.FailedError
	if errors.As(err, &failed) || errors.Is(err, rollout.ErrStale) {
		return nil
	}
	return err
}

// tellHosts says how far hosts are, in a few words.
func tellHosts(hosts []protocol.Host) string {
	var running []string
	done := 0
	for _, h := range hosts {
		switch h.Status {
		case protocol.HostRunning:
			running = append(running, h.Name)
		case protocol.HostDone:
			done++
		}
	}
	if len(running) == 0 {
		return ""
	}
	const most = 5
	if more := len(running) - most; more > 1 {
		running = append(running[:most], fmt.Sprintf("%d more", more))
	}
	return fmt.Sprintf("%s (%d of %d hosts done)", strings.Join(running, ", "), done, len(hosts))
}

// trimmed is what hosts have done, with so much of what they wrote as the state of a rollout
// has room for.
func trimmed(hosts []protocol.Host) []protocol.Host {
	all := make([]protocol.Host, len(hosts))
	for i, h := range hosts {
		most := min(maxHostText, maxHostsText/len(hosts))
		if cut := len(h.Output) - most; cut > 0 {
			h.Output, h.Cut = strings.ToValidUTF8(h.Output[cut:], ""), true
		}
		if len(h.Error) > most {
			h.Error = strings.ToValidUTF8(h.Error[:most], "") + " …"
		}
		if len(hosts) > manyHosts && h.Status == protocol.HostDone {
			h.Instance, h.Output, h.Cut = "", "", h.Cut || h.Output != ""
		}
		all[i] = h
	}
	return all
}

// expire ends a step whose time is over before its agents have done it: they are told to
// stop, and what has come of it counts once each of them has stopped, or has died. So no
// attempt is over while a host is still at it, and as many hosts may be late as may fail.
func (g *hosts) expire(ctx context.Context, s rollout.State, e *rollout.Event) error {
	step, known := s.Step(e.Step)
	if !known || step.Work == nil || e.Type != rollout.StepBroke {
		return nil
	}
	if err := g.Fleet.Expire(ctx, s.ID, step); err != nil {
		return fmt.Errorf("stop the agents of %s: %w", step.ID, err)
	}
	hosts, err := g.Fleet.Do(ctx, fleet.Job{Rollout: s.ID, Release: s.Release, Step: step})
	var failed *fleet.FailedError
	e.At, e.Answer.Hosts = g.Recorder.Now(), trimmed(hosts)
	switch {
	case errors.As(err, &failed):
		e.Answer.Error = whyBroke(step, failed)
	case err == nil: // as many as are needed were done in time
		e.Type, e.Answer.Error = rollout.StepAnswered, nil
	default:
		return err
	}
	return nil
}

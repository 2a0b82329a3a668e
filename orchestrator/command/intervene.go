package command

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// interventions are what people want of a rollout that is under way, or has failed.
type interventions struct{ base }

// retry has the failed steps of a rollout tried again.
func (c *interventions) retry(ctx context.Context, q api.RetryRequest) (api.RolloutView, error) {
	if q.Step != "" {
		return api.RolloutView{}, refuse(api.CodeInvalid, "leave the step out, or ask for its failed records",
			"all failed steps of a rollout are tried again, not step %q alone", q.Step)
	}
	return c.intervene(ctx, q.Rollout, func(s rollout.State) (*rollout.Event, error) {
		if s.Status != rollout.Failed {
			hint := "golive show " + s.ID + " tells how it stands"
			if s.Status == rollout.Completed && slices.ContainsFunc(s.Steps, func(step *rollout.Step) bool { return step.Script.PutAside > 0 }) {
				hint = "golive retry " + s.ID + " --failed-records tries the records again that its scripts have put aside"
			}
			return nil, refuse(api.CodeConflict, hint, "rollout %s is %s: only a failed one can be retried", s.ID, s.Status)
		}
		return &rollout.Event{Type: rollout.Retried, By: q.By, Reason: q.Reason}, nil
	})
}

// abort puts the version before back and ends the rollout. Of one that tries records again it
// ends that alone, once the scripts have stopped; with force it does not wait any longer for
// those that were told to. Aborting one twice is no error.
func (c *interventions) abort(ctx context.Context, q api.AbortRequest) (api.RolloutView, error) {
	return c.intervene(ctx, q.Rollout, func(s rollout.State) (*rollout.Event, error) {
		switch {
		case s.Restore != nil && s.Backward != nil && (s.Status == rollout.Reverting || s.Status == rollout.Reverted || s.TurnsBack()):
			return nil, nil
		case s.Restore != nil && s.Status == rollout.Completed:
			return nil, refuse(api.CodeConflict, "golive restore "+s.Release.App+" "+s.ID+" puts back what it has found", "restore %s is completed: it cannot be aborted any more", s.ID)
		case s.Restore != nil && s.Status == rollout.Failed && s.Backward != nil && !q.Force:
			return nil, refuse(api.CodeConfirm, "golive retry "+s.ID+" goes on putting data and traffic back; to end it as it is all the same: golive abort "+s.ID+" --yes",
				"restore %s has failed on its way back: ended now, its services stay under maintenance, and their data may be incomplete, until another restore puts something whole back", s.ID)
		case s.Status == rollout.Aborting, s.Status == rollout.Aborted, stoppedAmending(s), s.Status == rollout.Amending && s.Stopping() && !q.Force:
			return nil, nil
		case s.Status == rollout.Completed:
			return nil, refuse(api.CodeConflict, "golive backward "+s.Release.App+" goes back to the version before", "rollout %s is completed: it cannot be aborted any more", s.ID)
		case s.Status.Final():
			return nil, refuse(api.CodeConflict, "golive show "+s.ID+" tells how it ended", "rollout %s is %s: it cannot be aborted any more", s.ID, s.Status)
		case !q.Force && s.Status != rollout.Amending && len(undoable(s)) > 0:
			return nil, refuse(api.CodeConfirm, "golive backward "+s.Release.App+" undoes them; to abort all the same: golive abort "+s.ID+" --yes",
				"rollout %s has done what an abort does not undo: %s; the version before may not work on it", s.ID, strings.Join(undoable(s), ", "))
		case !q.Force && s.Status != rollout.Amending && changedOffline(s):
			return nil, refuse(api.CodeConfirm, "golive backward "+s.Release.App+" undoes the scripts; to abort all the same: golive abort "+s.ID+" --yes",
				"offline scripts of rollout %s have begun to change data, which an abort does not undo: the version before may not work on it", s.ID)
		}
		return &rollout.Event{Type: rollout.AbortAsked, By: q.By, Reason: q.Reason}, nil
	})
}

// stoppedAmending reports whether a rollout is complete again because somebody has aborted
// what it did with its records.
func stoppedAmending(s rollout.State) bool {
	if s.Status != rollout.Completed || s.Amended == 0 {
		return false
	}
	step, _ := s.Step(s.Event.Step)
	return s.Event.Type == rollout.AbortAsked ||
		s.Event.Type == rollout.StepBroke && step.Error != nil && step.Error.Code == protocol.CodeCancelled
}

// changedOffline reports whether scripts have changed data that the version before was
// kept away from.
func changedOffline(s rollout.State) bool {
	return s.Release.Strategy == rollout.Downtime && slices.ContainsFunc(s.Steps, func(step *rollout.Step) bool {
		return step.Script.Phase == protocol.Offline && step.Attempt > 0 && step.Status != rollout.StepReverted
	})
}

// undoable lists the commands that have changed something, and can undo it.
func undoable(s rollout.State) []string {
	var done []string
	for _, step := range s.All() {
		if step.Work != nil && step.Work.Backward && step.Attempt > 0 && step.Status != rollout.StepReverted {
			done = append(done, step.ID)
		}
	}
	return done
}

// pause holds a rollout or one of its steps.
func (c *interventions) pause(ctx context.Context, q api.StepRequest) (api.RolloutView, error) {
	return c.hold(ctx, q, rollout.PauseAsked)
}

// resume lets a rollout or one of its steps go on.
func (c *interventions) resume(ctx context.Context, q api.StepRequest) (api.RolloutView, error) {
	return c.hold(ctx, q, rollout.ResumeAsked)
}

func (c *interventions) hold(ctx context.Context, q api.StepRequest, what rollout.EventType) (api.RolloutView, error) {
	return c.intervene(ctx, q.Rollout, func(s rollout.State) (*rollout.Event, error) {
		if q.Step != "" {
			if _, err := stepOf(s, q.Step); err != nil {
				return nil, err
			}
		}
		e := rollout.Event{Type: what, Step: q.Step, By: q.By, Reason: q.Reason}
		if _, err := s.Apply(e); errors.Is(err, rollout.ErrStale) {
			return nil, refuse(api.CodeConflict, holdHint(s, q.Step, what), "%v", err)
		}
		return &e, nil
	})
}

// holdHint is what may be run where a rollout or a step cannot be paused, or resumed.
func holdHint(s rollout.State, id string, what rollout.EventType) string {
	step, _ := s.Step(id)
	switch {
	case s.Status.Final() || s.Status == rollout.Failed:
	case s.Paused != nil:
		return "the whole rollout is paused; to let it go on: golive resume " + s.ID
	case step.Paused != nil:
		return "to let it go on: golive resume " + s.ID + " " + id
	case what == rollout.ResumeAsked && id == "":
		for _, step := range s.All() {
			if step.Paused != nil {
				return "one of its steps is paused; to let it go on: golive resume " + s.ID + " " + step.ID
			}
		}
	}
	return "golive show " + s.ID + " tells how it stands"
}

// intervene makes what a person wants durable. Without an event there is nothing to do.
func (c *interventions) intervene(ctx context.Context, id string, event func(rollout.State) (*rollout.Event, error)) (api.RolloutView, error) {
	ref, err := c.find(ctx, id)
	if err != nil {
		return api.RolloutView{}, err
	}
	r, err := c.Recorder.Change(ctx, ref.App, ref.ID, func(s rollout.State) (*rollout.Event, error) {
		e, err := event(s)
		if e != nil {
			e.At, e.By, e.Reason = c.Recorder.Now(), rollout.Clip(e.By), rollout.Clip(e.Reason)
		}
		return e, err
	})
	if err != nil {
		return api.RolloutView{}, refusedBy(ref.ID, err)
	}
	return c.viewOf(r), nil
}

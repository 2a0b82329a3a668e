package orchestrator_test

import (
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// checkAmending: records are tried again of the newest rollout of an app, once it is complete.
// It stays as complete as it was: nothing moves but the scripts that have put some aside.
func (j *judge) checkAmending(h []journal.Record) {
	for i := 1; i < len(h); i++ {
		before, after := h[i-1].State, h[i].State
		if before.Status != rollout.Amending && after.Status != rollout.Amending {
			continue
		}
		if before.Status != rollout.Amending && before.Status != rollout.Completed || after.Status != rollout.Amending && after.Status != rollout.Completed {
			j.find("rollout %s was %s and is %s at sequence %d", after.ID, before.Status, after.Status, h[i].Sequence)
		}
		if after.Amended == 0 {
			j.find("rollout %s tries records again at sequence %d, and says that it never has", after.ID, h[i].Sequence)
		}
		for n, step := range after.All() {
			was := before.Steps[n]
			switch begun := step.Attempt > was.Attempt; {
			case step.Kind != rollout.Migration && text(step) != text(was):
				j.find("rollout %s: %s has moved while records were tried again, at sequence %d", after.ID, step.ID, h[i].Sequence)
			case begun && (was.Script.PutAside == 0 || !step.Script.Records || step.Revert):
				j.find("rollout %s: %s began at sequence %d to try %d records again", after.ID, step.ID, h[i].Sequence, was.Script.PutAside)
			case begun && was.Cancelled:
				j.find("rollout %s: %s began at sequence %d although it was aborted", after.ID, step.ID, h[i].Sequence)
			}
		}
		if before.Status == rollout.Amending && after.Status != rollout.Amending {
			j.checkTrafficRests(h, i)
		}
	}
}

// checkTrafficRests: no route of a rollout's services was written from the time at which its
// records were asked for until the event at h[end].
func (j *judge) checkTrafficRests(h []journal.Record, end int) {
	begin := end - 1
	for begin > 0 && h[begin-1].State.Status == rollout.Amending {
		begin--
	}
	from, to := h[begin].State.Event.At, h[end].State.Event.At
	for _, s := range h[end].State.Release.Services {
		for _, r := range j.routes {
			if r.Service == s.Name && r.Since.After(from) && r.Since.Before(to) {
				j.find("rollout %s: the route of %s was written (revision %d) while records were tried again", h[end].State.ID, s.Name, r.Revision)
			}
		}
	}
}

// checkVersions: the ledger says of each rollout that it was completed, once, however often
// its records were tried again.
func (j *judge) checkVersions() {
	want := make(map[string]uint64) // by rollout that was completed: the sequence
	void := make(map[string]bool)
	for id, h := range j.histories {
		if r, ok := completion(h); ok {
			want[id] = r.Sequence
			void[id] = h[len(h)-1].State.Status == rollout.Reverted
		}
	}
	for app, versions := range j.versions {
		for _, v := range versions {
			if sequence, ok := want[v.Rollout]; !ok || sequence != v.Sequence {
				j.find("the ledger says of %s that rollout %s was completed at sequence %d, which the journal does not, or twice", app, v.Rollout, v.Sequence)
			} else if void[v.Rollout] && v.Void == "" {
				j.find("rollout %s counts as completed in the ledger, though it was undone", v.Rollout)
			}
			delete(want, v.Rollout)
		}
	}
	for id := range want {
		j.find("rollout %s was completed, and the ledger does not know it", id)
	}
}

// checkLost: a script whose workers were lost, one after the other, without coming any
// further, is left alone.
func (j *judge) checkLost(h []journal.Record) {
	lost, furthest := make(map[string]int), make(map[string]int64)
	for i := 1; i < len(h); i++ {
		s := h[i].State
		e := s.Event
		switch e.Type {
		case rollout.Retried, rollout.BackwardAsked, rollout.RecordsAsked:
			clear(lost)
			clear(furthest)
			continue
		case rollout.StepBroke:
		default:
			continue
		}
		if e.Answer == nil || e.Answer.Error == nil || e.Answer.Error.Code != protocol.CodeLost {
			continue
		}
		if e.Answer.Items > furthest[e.Step] {
			lost[e.Step], furthest[e.Step] = 0, e.Answer.Items
		}
		lost[e.Step]++
		step, _ := s.Step(e.Step)
		if before, _ := h[i-1].State.Step(e.Step); lost[e.Step] > rollout.MaxLost && !before.Cancelled && (step.Status == rollout.StepRunning || step.Status == rollout.StepRetrying) {
			j.find("rollout %s: %s is tried again after %d workers were lost that came no further than %d (sequence %d)",
				s.ID, e.Step, lost[e.Step], furthest[e.Step], h[i].Sequence)
		}
	}
}

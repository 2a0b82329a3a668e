package rollout

import (
	"fmt"
	"slices"

	"github.com/golive-dev/golive/relay/protocol"
)

// ApprovalID is the id of the approval with which a rollout begins where its policy
// requires one.
const ApprovalID = "approval"

// Limits of a workflow.
const (
	MaxItems     = 200  // entries
	MaxChecklist = 100  // items of one question
	MaxApprovals = 100  // that one question may need, and people who may give them
	MaxText      = 2000 // bytes of a text for people
	MaxLabels    = 16   // of the agents that one step runs on
	MaxHosts     = 1000 // that a step may need, or run on at once
)

// fullWorkflow is a release's workflow with what it leaves out: the approval that the policy
// requires, and where the maintenance of the strategy downtime begins. It is nil for a
// release that has phases alone; those have their order by themselves.
func (r Release) fullWorkflow() []Item {
	if len(r.Workflow) == 0 && !r.Approvals.Required {
		return nil
	}
	items := slices.Clone(r.Workflow)
	if len(items) == 0 {
		for _, phase := range r.Phases() {
			items = append(items, Item{Phase: phase})
		}
	}
	at := slices.IndexFunc(items, func(i Item) bool {
		return i.Phase == protocol.Offline || i.Phase == protocol.Online || i.Traffic == Open
	})
	closesAll := func(i Item) bool { return i.Traffic == MaintenanceOn && len(i.Services) == 0 }
	if r.Strategy == Downtime && at >= 0 && !slices.ContainsFunc(items[:at], closesAll) {
		items = slices.Insert(items, at, Item{Traffic: MaintenanceOn})
	}
	if r.Approvals.Required {
		items = slices.Insert(items, 0, Item{Name: ApprovalID, Approval: &Question{
			Text: fmt.Sprintf("Shall %s %s go live?", r.App, r.Version),
		}})
	}
	return items
}

// Phases lists the phases of the release, in their order: those of its workflow or, without
// one, those in which it has something to do.
func (r Release) Phases() []protocol.Phase {
	if len(r.Workflow) == 0 {
		return r.possible()
	}
	var phases []protocol.Phase
	for _, item := range r.Workflow {
		if item.Phase != "" {
			phases = append(phases, item.Phase)
		}
	}
	return phases
}

// possible lists the phases in which the release can have something to do.
func (r Release) possible() []protocol.Phase {
	var phases []protocol.Phase
	for _, phase := range protocol.ServicePhases() {
		switch {
		case slices.ContainsFunc(r.Services, func(s Service) bool { return slices.Contains(s.Migrations, phase) }),
			phase == protocol.Offline && r.Strategy == Downtime && len(r.Services) > 0,
			phase == protocol.Online && len(r.Services) > 0:
			phases = append(phases, phase)
		}
	}
	if r.Setup {
		phases = append(phases, protocol.Setup)
	}
	return phases
}

// Touches lists the services whose traffic the release moves: its own, and those that it
// drains.
func (r Release) Touches() []string {
	var all []string
	for _, s := range r.Services {
		all = append(all, s.Name)
	}
	return append(all, r.drained()...)
}

// drained lists the services that the release takes the traffic from.
func (r Release) drained() []string {
	var all []string
	for _, item := range r.Workflow {
		if item.Traffic == Drain {
			all = append(all, item.Services...)
		}
	}
	return all
}

// stageOf is the last stage of a phase.
func (r Release) stageOf(phase protocol.Phase) int {
	for i, item := range r.fullWorkflow() {
		if item.Phase == phase {
			return i + 1
		}
	}
	return (&Step{Kind: Migration, Script: ScriptRun{Phase: phase}}).stage()
}

package rollout

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golive-dev/golive/relay/protocol"
)

// validateWorkflow reports what is wrong with a workflow that came over the wire.
func (r Release) validateWorkflow() error {
	if err := r.Approvals.validate(); err != nil {
		return err
	}
	if r.Requires != nil {
		if err := protocol.ValidateVersion(r.Requires.Version); err != nil {
			return fmt.Errorf("requires: %w", err)
		}
	}
	if len(r.Workflow) > MaxItems {
		return fmt.Errorf("workflow has %d entries, at most %d are allowed", len(r.Workflow), MaxItems)
	}
	if len(r.Workflow) == 0 {
		return nil
	}
	v := workflowCheck{release: r, names: make(map[string]bool), moved: make(map[Move][]string)}
	for i, item := range r.Workflow {
		if err := v.item(item); err != nil {
			return fmt.Errorf("workflow entry %d: %w", i+1, err)
		}
	}
	for _, phase := range r.possible() {
		if phase == protocol.Offline && !slices.ContainsFunc(r.Services, func(s Service) bool { return slices.Contains(s.Migrations, phase) }) {
			continue
		}
		if !slices.Contains(v.phases, phase) {
			return fmt.Errorf("workflow: the phase %s is missing", phase)
		}
	}
	return nil
}

// workflowCheck goes through a workflow.
type workflowCheck struct {
	release Release
	phases  []protocol.Phase
	names   map[string]bool
	moved   map[Move][]string // services, by what was done with them; "" is all of the release
	opened  bool
}

func (v *workflowCheck) item(i Item) error {
	kinds := 0
	for _, given := range []bool{i.Phase != "", i.Traffic != "", i.Approval != nil, i.Work != nil} {
		if given {
			kinds++
		}
	}
	switch {
	case kinds != 1:
		return fmt.Errorf("it must be one of a phase, a move of traffic, an approval, or a command or check")
	case len(i.Services) > 0 && i.Traffic == "":
		return fmt.Errorf("services are of a move of traffic")
	case i.Name != "" && (i.Phase != "" || i.Traffic != ""):
		return fmt.Errorf("the name %q is of an approval, a command or a check", i.Name)
	case i.Phase != "":
		return v.phase(i.Phase)
	case i.Traffic != "":
		return v.move(i)
	}
	if err := protocol.ValidateName(i.Name); err != nil {
		return err
	}
	if i.Name == ApprovalID || v.names[i.Name] {
		return fmt.Errorf("the name %q is taken", i.Name)
	}
	v.names[i.Name] = true
	if i.Approval != nil {
		return i.Approval.validate()
	}
	return i.Work.validate()
}

func (v *workflowCheck) phase(phase protocol.Phase) error {
	order := append(protocol.ServicePhases(), protocol.Setup)
	place := slices.Index(order, phase)
	switch {
	case place < 0:
		return fmt.Errorf("unknown phase %q", phase)
	case len(v.phases) > 0 && slices.Index(order, v.phases[len(v.phases)-1]) >= place:
		return fmt.Errorf("phase %s cannot stand behind phase %s", phase, v.phases[len(v.phases)-1])
	case !slices.Contains(v.release.possible(), phase):
		return fmt.Errorf("phase %s has nothing to do in this release", phase)
	case v.opened && (phase == protocol.Before || phase == protocol.Offline):
		return fmt.Errorf("the gates open before the phase %s", phase)
	case phase == protocol.Offline && v.release.Strategy == Downtime && len(v.moved[MaintenanceOff]) > 0:
		return fmt.Errorf("the maintenance ends before the phase offline, and the strategy is downtime")
	}
	v.phases = append(v.phases, phase)
	v.opened = v.opened || phase == protocol.Online
	return nil
}

func (v *workflowCheck) move(i Item) error {
	switch i.Traffic {
	case Open:
		if v.opened || len(i.Services) > 0 {
			return fmt.Errorf("the gates open once, before the phase online, and all of them")
		}
		v.opened = true
		return nil
	case MaintenanceOn, MaintenanceOff:
		if v.opened {
			return fmt.Errorf("%s behind the opening of the gates has no effect", i.Traffic)
		}
	case Drain:
		if len(i.Services) == 0 {
			return fmt.Errorf("a drain names the services that the release no longer holds")
		}
	default:
		return fmt.Errorf("unknown move of traffic %q", i.Traffic)
	}
	for _, name := range i.Services {
		held := slices.ContainsFunc(v.release.Services, func(s Service) bool { return s.Name == name })
		if err := protocol.ValidateName(name); err != nil {
			return err
		}
		if held != (i.Traffic != Drain) {
			return fmt.Errorf("%s of %q: maintenance is of services that the release holds, a drain of others", i.Traffic, name)
		}
		if err := v.moves(i.Traffic, name, "the maintenance of "+name); err != nil {
			return err
		}
	}
	if len(i.Services) > 0 {
		return nil
	}
	return v.moves(i.Traffic, "", "the maintenance")
}

// moves notes a move of a service, or of all that are left, in an order that makes sense.
func (v *workflowCheck) moves(m Move, name, what string) error {
	were := func(m Move) bool { // one, or all; of all: any
		names := v.moved[m]
		return slices.Contains(names, name) || slices.Contains(names, "") || name == "" && len(names) > 0
	}
	begun := were(MaintenanceOn) || v.release.Strategy == Downtime && slices.Contains(v.phases, protocol.Offline)
	switch {
	case slices.Contains(v.moved[m], name), slices.Contains(v.moved[m], ""):
		return fmt.Errorf("%s stands there twice", strings.TrimSpace(string(m)+" "+name))
	case m == MaintenanceOff && !begun:
		return fmt.Errorf("%s ends before it has begun", what)
	case m == MaintenanceOn && were(MaintenanceOff):
		return fmt.Errorf("%s has ended above, and cannot begin again", what)
	}
	v.moved[m] = append(v.moved[m], name)
	return nil
}

func (p Policy) validate() error {
	switch {
	case p.Count < 0 || p.Count > MaxApprovals:
		return fmt.Errorf("approvals: count is %d, it must be from 1 to %d, or 0 for 1", p.Count, MaxApprovals)
	case len(p.By) > MaxApprovals:
		return fmt.Errorf("approvals: %d people may approve, at most %d are allowed", len(p.By), MaxApprovals)
	case p.Deadline < 0:
		return fmt.Errorf("approvals: deadline is %s, it must not be negative", time.Duration(p.Deadline))
	case p.Rehearsed < 0:
		return fmt.Errorf("approvals: rehearsed is %s, it must not be negative", time.Duration(p.Rehearsed))
	case len(p.By) > 0 && p.Count > len(p.By):
		return fmt.Errorf("approvals: %d people have to approve, and only %d may", p.Count, len(p.By))
	}
	for i, who := range p.By {
		if who == "" || slices.Contains(p.By[:i], who) {
			return fmt.Errorf("approvals: %q may approve, which is nobody, or named twice", who)
		}
	}
	return nil
}

func (q Question) validate() error {
	switch {
	case q.Text == "" || len(q.Text) > MaxText:
		return fmt.Errorf("the text of an approval has %d bytes, it must have 1 to %d", len(q.Text), MaxText)
	case len(q.Checklist) > MaxChecklist:
		return fmt.Errorf("the checklist has %d items, at most %d are allowed", len(q.Checklist), MaxChecklist)
	case q.Deadline < 0:
		return fmt.Errorf("deadline is %s, it must not be negative", time.Duration(q.Deadline))
	}
	for _, item := range q.Checklist {
		if item == "" || len(item) > MaxText {
			return fmt.Errorf("an item of the checklist has %d bytes, it must have 1 to %d", len(item), MaxText)
		}
	}
	return nil
}

func (w Work) validate() error {
	switch {
	case w.Check && w.Backward:
		return fmt.Errorf("a check changes nothing: there is nothing to undo")
	case w.Timeout < 0:
		return fmt.Errorf("timeout is %s, it must not be negative", time.Duration(w.Timeout))
	case w.Retries < 0 || w.Retries > MaxRetries:
		return fmt.Errorf("retries is %d, it must be from 0 to %d", w.Retries, MaxRetries)
	case w.Backoff < 0 || time.Duration(w.Backoff) > MaxBackoff:
		return fmt.Errorf("backoff is %s, it must be at most %s", time.Duration(w.Backoff), MaxBackoff)
	case len(w.On) > MaxLabels:
		return fmt.Errorf("on has %d labels, at most %d are allowed", len(w.On), MaxLabels)
	case w.Need.Hosts < 0 || w.Need.Hosts > MaxHosts || w.Need.Percent < 0 || w.Need.Percent > 100 || w.Need.Hosts > 0 && w.Need.Percent > 0:
		return fmt.Errorf("need is neither a number of hosts from 1 to %d nor a share from 1 to 100 percent", MaxHosts)
	case w.AtOnce < 0 || w.AtOnce > MaxHosts:
		return fmt.Errorf("atOnce is %d, it must be from 1 to %d, or 0 for all", w.AtOnce, MaxHosts)
	case len(w.On) == 0 && (w.Need != Need{} || w.AtOnce != 0):
		return fmt.Errorf("need and atOnce are for steps that run on agents with labels")
	}
	return nil
}

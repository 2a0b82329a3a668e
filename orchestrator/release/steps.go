package release

import (
	"slices"
	"time"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// Step is an entry of the manifest's steps. The list tells what happens one after the
// other: exactly one of Phase, Traffic, Approval, Command and Check is set.
type Step struct {
	Phase    protocol.Phase // the scripts of this phase stand here; of online, the gates open here too, unless a Traffic open stands above
	Traffic  rollout.Move   // a move of traffic
	Services []string       // of Traffic: which services; nil: all of the release. A drain names others

	Name     string            // of an approval, a command or a check; like a service's name, unique in the list
	Approval *rollout.Question // a person has to say yes
	Command  *Command          // a program runs on agents
	Check    *Check            // something is looked at from agents

	On      map[string]string // of a command or check: labels of the agents that it runs on; nil: any one agent
	Need    rollout.Need      // of a command or check with On: how many hosts must succeed; zero: all
	AtOnce  int               // of a command or check with On: on how many hosts at the same time; 0: on all
	Timeout rollout.Duration  // of a command or check, of each attempt on all hosts; 0: none
	Retries int               // of a command or check, by itself, on the hosts that have failed
	Backoff rollout.Duration  // before the first retry, as of a service
}

// Command is a program that agents run from the manifest's folder, with forward as its
// first argument: done is exit code 0.
type Command struct {
	Args     []string // without a shell
	Shell    string   // or a line for sh -c, that finds forward in $1
	Backward bool     // it takes backward, too, and undoes then what forward did
	Status   bool     // it takes status, too, and exits with 0 if forward has been done already
	Rehearse bool     // it runs in rehearsals, too: what it does stays within what a rehearsal has
}

// What a step does: the key that says so.
const (
	phaseKind    = "phase"
	trafficKind  = "traffic"
	approvalKind = "approval"
	commandKind  = "command"
	shellKind    = "shell"
	checkKind    = "check"
)

// kinds are the keys of which a step has exactly one.
func kinds() []string {
	return []string{phaseKind, trafficKind, approvalKind, commandKind, shellKind, checkKind}
}

// placed is a step, where it stands and what is needed to say what is wrong with it.
type placed struct {
	*Step
	kind     string  // what it does; "": it has none, or several
	name     value   // that it has; its node is nil if it has none
	does     value   // of the key that makes the kind
	services []value // of traffic
}

// readSteps reads what happens one after the other.
func readSteps(v value, m *Manifest) []Step {
	items, ok := v.items("a list of steps like [{phase: before}, {phase: online}]")
	if !ok || len(items) == 0 {
		return nil
	}
	if len(items) > rollout.MaxItems {
		items[rollout.MaxItems].reportKey("", "this is step %d: at most %d are allowed", rollout.MaxItems+1, rollout.MaxItems)
		items = items[:rollout.MaxItems]
	}
	steps, all := make([]Step, len(items)), make([]placed, len(items))
	for i, item := range items {
		all[i] = placed{Step: &steps[i]}
		readStep(item, &all[i], m)
	}
	v.later(func() { checkSteps(v, all, m) })
	return steps
}

// readStep reads one step into p.
func readStep(v value, p *placed, m *Manifest) {
	entries, ok := v.entries("a step, a map like {phase: online} or {name: smoke, command: [./smoke]}")
	if !ok {
		return
	}
	kindOf(v, entries, p)
	fields := stepFields(p, m)
	v.known(suited(entries, fields, "step", p.kind), fields)
	if named := slices.Contains(fields[0].of, p.kind); named && p.name.key == "" {
		v.under("name").reportKey("add name: smoke", "a step with %s needs a name", p.kind)
	}
}

// kindOf finds out what a step does.
func kindOf(v value, entries []entry, p *placed) {
	for _, e := range entries {
		switch {
		case !slices.Contains(kinds(), e.name):
		case p.kind != "":
			e.value.reportKey("make two steps of them", "a step is one of %s, and this one has %s already", list(kinds()), p.kind)
		default:
			p.kind, p.does = e.name, e.value
		}
	}
	if p.kind == "" {
		v.reportKey("", "this step does nothing: give it one of %s", list(kinds()))
	}
}

// stepFields are the keys of a step, the name first.
func stepFields(p *placed, m *Manifest) []field {
	asks, runs := []string{approvalKind}, []string{commandKind, shellKind}
	works := []string{commandKind, shellKind, checkKind}
	named := []string{approvalKind, commandKind, shellKind, checkKind}
	s := p.Step
	return []field{
		{key: "name", of: named, read: func(v value) { readStepName(v, p) }},
		{key: "phase", read: func(v value) { s.Phase = readPhase(v) }},
		{key: "traffic", read: func(v value) { s.Traffic = readMove(v) }},
		{key: "approval", read: func(v value) { s.ask().Text = readProse(v, "a question like Shall it go live now?") }},
		{key: "command", read: func(v value) { s.run().Args = readStepCommand(v) }},
		{key: "shell", read: func(v value) { s.run().Shell = readShell(v) }},
		{key: "check", read: func(v value) { s.Check = readCheck(v, m) }},
		{key: "services", of: []string{trafficKind}, read: func(v value) { s.Services = readServicesOf(v, p) }},
		{key: "checklist", of: asks, read: func(v value) { s.ask().Checklist = readChecklist(v) }},
		{key: "deadline", of: asks, read: func(v value) { s.ask().Deadline = readDeadline(v) }},
		{key: "backward", of: runs, read: func(v value) { s.run().Backward = readTruth(v) }},
		{key: "status", of: runs, read: func(v value) { s.run().Status = readTruth(v) }},
		{key: "rehearse", of: runs, read: func(v value) { s.run().Rehearse = readTruth(v) }},
		{key: "on", of: works, read: func(v value) { s.On = readLabels(v) }},
		{key: "need", of: works, byDefault: allHosts, with: "on", read: func(v value) { needsOn(v, s); s.Need = readNeed(v) }},
		{key: "atOnce", of: works, read: func(v value) { needsOn(v, s); s.AtOnce, _ = readWhole(v, 1, rollout.MaxHosts) }},
		{key: "timeout", of: works, read: func(v value) { s.Timeout = readTimeout(v) }},
		{key: "retries", of: works, read: func(v value) { s.Retries = readRetries(v) }},
		{key: "backoff", of: works, byDefault: rollout.DefaultBackoff.String(), with: "retries", read: func(v value) { s.Backoff = readBackoff(v, &s.Retries) }},
	}
}

// ask is the step's approval, which any of its keys makes.
func (s *Step) ask() *rollout.Question {
	if s.Approval == nil {
		s.Approval = &rollout.Question{}
	}
	return s.Approval
}

// run is the step's command, which any of its keys makes.
func (s *Step) run() *Command {
	if s.Command == nil {
		s.Command = &Command{}
	}
	return s.Command
}

// item is what a rollout has to know of a step.
func (s Step) item() rollout.Item {
	i := rollout.Item{Phase: s.Phase, Traffic: s.Traffic, Services: s.Services, Name: s.Name, Approval: s.Approval}
	if s.Command != nil || s.Check != nil {
		i.Work = &rollout.Work{
			Check: s.Check != nil, Backward: s.Command != nil && s.Command.Backward,
			On: s.On, Need: s.Need, AtOnce: s.AtOnce, Timeout: s.Timeout, Retries: s.Retries, Backoff: s.Backoff,
		}
	}
	return i
}

// readStepName reads the name of a step.
func readStepName(v value, p *placed) {
	p.name = v
	name, ok := v.text("a name like smoke")
	if !ok {
		return
	}
	p.Name = name
	if name == rollout.ApprovalID {
		v.report("choose another, such as confirm", "the name %s is golive's own", name)
		return
	}
	v.breaks(v.begin(), protocol.ValidateName(name))
}

// readPhase reads the phase whose scripts stand at a step.
func readPhase(v value) protocol.Phase {
	return oneOf(v, "phase", allPhases())
}

// allPhases lists the phases in the order in which they run.
func allPhases() []protocol.Phase { return append(protocol.ServicePhases(), protocol.Setup) }

// readMove reads what a traffic step does.
func readMove(v value) rollout.Move {
	return oneOf(v, "move of traffic", rollout.Moves())
}

// readServicesOf reads the services of a traffic step.
func readServicesOf(v value, p *placed) []string {
	names := readFewWords(v, "a list of services like [web]", few{"service", MaxServices}, func(item value, name string) {
		item.breaks(item.begin(), protocol.ValidateName(name))
		p.services = append(p.services, item)
	})
	if names == nil {
		v.report("name at least one service", "the list is empty")
		return []string{}
	}
	return names
}

// stepDigest is what counts of a step for the digest: all of it, defaults left out.
type stepDigest struct {
	Phase    protocol.Phase    `json:"phase,omitempty"`
	Traffic  rollout.Move      `json:"traffic,omitempty"`
	Services []string          `json:"services,omitempty"`
	Name     string            `json:"name,omitempty"`
	Approval *questionDigest   `json:"approval,omitempty"`
	Command  *commandDigest    `json:"command,omitempty"`
	Check    *checkDigest      `json:"check,omitempty"`
	On       map[string]string `json:"on,omitempty"`
	Hosts    int               `json:"hosts,omitempty"`
	Percent  int               `json:"percent,omitempty"`
	AtOnce   int               `json:"atOnce,omitempty"`
	Timeout  time.Duration     `json:"timeout,omitempty"`
	Retries  int               `json:"retries,omitempty"`
	Backoff  time.Duration     `json:"backoff,omitempty"`
}

// commandDigest is what counts of a command.
type commandDigest struct {
	Args     []string `json:"args,omitempty"`
	Shell    string   `json:"shell,omitempty"`
	Backward bool     `json:"backward,omitempty"`
	Status   bool     `json:"status,omitempty"`
	Rehearse bool     `json:"rehearse,omitempty"`
}

// digestStep is what counts of a step.
func digestStep(s Step) stepDigest {
	d := stepDigest{
		Phase: s.Phase, Traffic: s.Traffic, Services: slices.Sorted(slices.Values(s.Services)), Name: s.Name,
		On: s.On, Hosts: s.Need.Hosts, Percent: unless(s.Need.Percent, 100), AtOnce: s.AtOnce,
		Timeout: time.Duration(s.Timeout), Retries: s.Retries, Backoff: unless(time.Duration(s.Backoff), rollout.DefaultBackoff),
	}
	if a := s.Approval; a != nil {
		d.Approval = &questionDigest{a.Text, a.Checklist, time.Duration(a.Deadline)}
	}
	if s.Command != nil {
		d.Command = (*commandDigest)(s.Command)
	}
	if c := s.Check; c != nil {
		d.Check = &checkDigest{
			c.Args, c.Shell, c.HTTP, c.Expect, c.Message, c.Payload, c.Contains,
			unless(c.Tries, 1), unless(c.Pause, defaultPause), c.HealthyFor, unless(c.Within, defaultWithin),
		}
	}
	return d
}

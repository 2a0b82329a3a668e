package release

import (
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// kind is what a step does: the key that says so.
type kind string

const (
	phaseKind    kind = "phase"
	trafficKind  kind = "traffic"
	approvalKind kind = "approval"
	commandKind  kind = "command"
	shellKind    kind = "shell"
	checkKind    kind = "check"
)

func kinds() []kind {
	return []kind{phaseKind, trafficKind, approvalKind, commandKind, shellKind, checkKind}
}

// stepField is a key of a step, and which kinds of steps have it. Without any it is the
// key that makes the kind.
type stepField struct {
	field
	of []kind
}

// placed is a step, where it stands and what is needed to say what is wrong with it.
type placed struct {
	*Step
	kind     kind    // "": it has none, or several
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
	all := make([]field, len(fields))
	for i, f := range fields {
		all[i] = f.field
	}
	v.known(ofKind(entries, fields, p.kind), all)
	if named := slices.Contains(fields[0].of, p.kind); named && p.name.key == "" {
		v.under("name").reportKey("add name: smoke", "a step with %s needs a name", p.kind)
	}
}

// kindOf finds out what a step does.
func kindOf(v value, entries []entry, p *placed) {
	for _, e := range entries {
		switch {
		case !slices.Contains(kinds(), kind(e.name)):
		case p.kind != "":
			e.value.reportKey("make two steps of them", "a step is one of %s, and this one has %s already", list(texts(kinds())), p.kind)
		default:
			p.kind, p.does = kind(e.name), e.value
		}
	}
	if p.kind == "" {
		v.reportKey("", "this step does nothing: give it one of %s", list(texts(kinds())))
	}
}

// ofKind are the entries of a step that mean something for its kind; it reports the others.
func ofKind(entries []entry, fields []stepField, is kind) []entry {
	if is == "" {
		return entries
	}
	return slices.DeleteFunc(slices.Clone(entries), func(e entry) bool {
		i := slices.IndexFunc(fields, func(f stepField) bool { return f.key == e.name })
		if i < 0 || len(fields[i].of) == 0 || slices.Contains(fields[i].of, is) {
			return false
		}
		e.value.reportKey("remove it", "a step with %s has no %s: that is for steps with %s", is, e.name, orList(texts(fields[i].of)))
		return true
	})
}

// stepFields are the keys of a step, the name first.
func stepFields(p *placed, m *Manifest) []stepField {
	asks, runs := []kind{approvalKind}, []kind{commandKind, shellKind}
	works := []kind{commandKind, shellKind, checkKind}
	named := []kind{approvalKind, commandKind, shellKind, checkKind}
	s := p.Step
	plain := func(key string, read func(value)) field { return field{key: key, read: read} }
	return []stepField{
		{plain("name", func(v value) { readStepName(v, p) }), named},
		{plain("phase", func(v value) { s.Phase = readPhase(v) }), nil},
		{plain("traffic", func(v value) { s.Traffic = readMove(v) }), nil},
		{plain("approval", func(v value) { s.ask().Text = readProse(v, "a question like Shall it go live now?") }), nil},
		{plain("command", func(v value) { s.run().Args = readStepCommand(v) }), nil},
		{plain("shell", func(v value) { s.run().Shell = readShell(v) }), nil},
		{plain("check", func(v value) { s.Check = readCheck(v, m) }), nil},
		{plain("services", func(v value) { s.Services = readServicesOf(v, p) }), []kind{trafficKind}},
		{plain("checklist", func(v value) { s.ask().Checklist = readChecklist(v) }), asks},
		{plain("deadline", func(v value) { s.ask().Deadline = readDeadline(v) }), asks},
		{plain("backward", func(v value) { s.run().Backward = readTruth(v) }), runs},
		{plain("status", func(v value) { s.run().Status = readTruth(v) }), runs},
		{plain("on", func(v value) { s.On = readLabels(v) }), works},
		{plain("need", func(v value) { needsOn(v, s); s.Need = readNeed(v) }), works},
		{plain("atOnce", func(v value) { needsOn(v, s); s.AtOnce, _ = readWhole(v, 1, rollout.MaxHosts) }), works},
		{plain("timeout", func(v value) { s.Timeout = readTimeout(v) }), works},
		{plain("retries", func(v value) { s.Retries = readRetries(v) }), works},
		{plain("backoff", func(v value) { s.Backoff = readBackoff(v, &s.Retries) }), works},
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

// oneOf reads a word that is one of a few.
func oneOf[T ~string](v value, what string, valid []T) T {
	words := texts(valid)
	text, ok := v.text("one of " + list(words))
	if ok && !slices.Contains(words, text) {
		v.report(didYouMean(text, words), "unknown %s %s: valid are %s", what, quote(text), list(words))
	}
	return T(text)
}

// readStepCommand reads the command of a step or a check.
func readStepCommand(v value) []string {
	return readCommand(v, "a command, a list like [./bin/restart, web]")
}

// readShell reads a line for sh -c.
func readShell(v value) string {
	const want = `a line for sh -c like "systemctl restart web"`
	plain, ok := v.plain()
	if !ok {
		return ""
	}
	line, ok := textOf(plain.node)
	_, isList := plain.node.(*ast.SequenceNode)
	switch {
	case isList:
		plain.report("a list stands under command, and runs without a shell", "expected %s, found %s", want, describe(plain.node))
	case !ok:
		plain.wrong(want)
	case strings.TrimSpace(line) == "":
		v.report("", "the line must not be empty")
	case strings.ContainsRune(line, 0):
		v.report("", "a line for sh -c cannot hold the character NUL")
	}
	return line
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

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

// steps reads what happens one after the other.
func (r *reader) steps(v value, m *Manifest) []Step {
	items, ok := r.items(v, "a list of steps like [{phase: before}, {phase: online}]")
	if !ok || len(items) == 0 {
		return nil
	}
	if len(items) > rollout.MaxItems {
		r.report(items[rollout.MaxItems].at, items[rollout.MaxItems].key, "", "this is step %d: at most %d are allowed", rollout.MaxItems+1, rollout.MaxItems)
		items = items[:rollout.MaxItems]
	}
	steps, all := make([]Step, len(items)), make([]placed, len(items))
	for i, item := range items {
		all[i] = placed{Step: &steps[i]}
		r.step(item, &all[i], m)
	}
	r.checks = append(r.checks, func() { r.checkSteps(v, all, m) })
	return steps
}

// step reads one step into p.
func (r *reader) step(v value, p *placed, m *Manifest) {
	entries, ok := r.entries(v, "a step, a map like {phase: online} or {name: smoke, command: [./smoke]}")
	if !ok {
		return
	}
	r.kindOf(v, entries, p)
	fields := r.stepFields(p, m)
	all := make([]field, len(fields))
	for i, f := range fields {
		all[i] = f.field
	}
	r.known(v, r.ofKind(entries, fields, p.kind), all)
	if named := slices.Contains(fields[0].of, p.kind); named && p.name.key == "" {
		r.report(v.at, join(v.key, "name"), "add name: smoke", "a step with %s needs a name", p.kind)
	}
}

// kindOf finds out what a step does.
func (r *reader) kindOf(v value, entries []entry, p *placed) {
	for _, e := range entries {
		switch {
		case !slices.Contains(kinds(), kind(e.name)):
		case p.kind != "":
			r.report(e.value.at, e.value.key, "make two steps of them", "a step is one of %s, and this one has %s already", list(texts(kinds())), p.kind)
		default:
			p.kind, p.does = kind(e.name), e.value
		}
	}
	if p.kind == "" {
		r.report(v.at, v.key, "", "this step does nothing: give it one of %s", list(texts(kinds())))
	}
}

// ofKind are the entries of a step that mean something for its kind; it reports the others.
func (r *reader) ofKind(entries []entry, fields []stepField, is kind) []entry {
	if is == "" {
		return entries
	}
	return slices.DeleteFunc(slices.Clone(entries), func(e entry) bool {
		i := slices.IndexFunc(fields, func(f stepField) bool { return f.key == e.name })
		if i < 0 || len(fields[i].of) == 0 || slices.Contains(fields[i].of, is) {
			return false
		}
		r.report(e.value.at, e.value.key, "remove it", "a step with %s has no %s: that is for steps with %s", is, e.name, orList(texts(fields[i].of)))
		return true
	})
}

// stepFields are the keys of a step, the name first.
func (r *reader) stepFields(p *placed, m *Manifest) []stepField {
	asks, runs := []kind{approvalKind}, []kind{commandKind, shellKind}
	works := []kind{commandKind, shellKind, checkKind}
	named := []kind{approvalKind, commandKind, shellKind, checkKind}
	s := p.Step
	plain := func(key string, read func(value)) field { return field{key: key, read: read} }
	return []stepField{
		{plain("name", func(v value) { r.stepName(v, p) }), named},
		{plain("phase", func(v value) { s.Phase = r.phase(v) }), nil},
		{plain("traffic", func(v value) { s.Traffic = r.move(v) }), nil},
		{plain("approval", func(v value) { s.ask().Text = r.prose(v, "a question like Shall it go live now?") }), nil},
		{plain("command", func(v value) { s.run().Args = r.stepCommand(v) }), nil},
		{plain("shell", func(v value) { s.run().Shell = r.line(v) }), nil},
		{plain("check", func(v value) { s.Check = r.check(v, m) }), nil},
		{plain("services", func(v value) { s.Services = r.servicesOf(v, p) }), []kind{trafficKind}},
		{plain("checklist", func(v value) { s.ask().Checklist = r.checklist(v) }), asks},
		{plain("deadline", func(v value) { s.ask().Deadline = r.deadline(v) }), asks},
		{plain("backward", func(v value) { s.run().Backward = r.truth(v) }), runs},
		{plain("status", func(v value) { s.run().Status = r.truth(v) }), runs},
		{plain("on", func(v value) { s.On = r.labels(v) }), works},
		{plain("need", func(v value) { r.needsOn(v, s); s.Need = r.need(v) }), works},
		{plain("atOnce", func(v value) { r.needsOn(v, s); s.AtOnce, _ = r.whole(v, 1, rollout.MaxHosts) }), works},
		{plain("timeout", func(v value) { s.Timeout = r.timeout(v) }), works},
		{plain("retries", func(v value) { s.Retries = r.retries(v) }), works},
		{plain("backoff", func(v value) { s.Backoff = r.backoff(v, &s.Retries) }), works},
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

// stepName reads the name of a step.
func (r *reader) stepName(v value, p *placed) {
	p.name = v
	name, ok := r.text(v, "a name like smoke")
	if !ok {
		return
	}
	p.Name = name
	if name == rollout.ApprovalID {
		r.report(r.begin(v.node), v.key, "choose another, such as confirm", "the name %s is golive's own", name)
		return
	}
	r.breaks(r.begin(v.node), v.key, protocol.ValidateName(name))
}

// phase reads the phase whose scripts stand at a step.
func (r *reader) phase(v value) protocol.Phase {
	return oneOf(r, v, "phase", allPhases())
}

// allPhases lists the phases in the order in which they run.
func allPhases() []protocol.Phase { return append(protocol.ServicePhases(), protocol.Setup) }

// move reads what a traffic step does.
func (r *reader) move(v value) rollout.Move {
	return oneOf(r, v, "move of traffic", rollout.Moves())
}

// oneOf reads a word that is one of a few.
func oneOf[T ~string](r *reader, v value, what string, valid []T) T {
	words := texts(valid)
	text, ok := r.text(v, "one of "+list(words))
	if ok && !slices.Contains(words, text) {
		r.report(r.begin(v.node), v.key, didYouMean(text, words), "unknown %s %s: valid are %s", what, quote(text), list(words))
	}
	return T(text)
}

// stepCommand reads the command of a step or a check.
func (r *reader) stepCommand(v value) []string {
	return r.command(v, "a command, a list like [./bin/restart, web]")
}

// line reads a line for sh -c.
func (r *reader) line(v value) string {
	const want = `a line for sh -c like "systemctl restart web"`
	node, ok := r.plain(v)
	if !ok {
		return ""
	}
	line, ok := textOf(node)
	_, isList := node.(*ast.SequenceNode)
	switch {
	case isList:
		r.report(r.begin(node), v.key, "a list stands under command, and runs without a shell", "expected %s, found %s", want, describe(node))
	case !ok:
		r.wrong(v, node, want)
	case strings.TrimSpace(line) == "":
		r.report(r.begin(v.node), v.key, "", "the line must not be empty")
	case strings.ContainsRune(line, 0):
		r.report(r.begin(v.node), v.key, "", "a line for sh -c cannot hold the character NUL")
	}
	return line
}

// servicesOf reads the services of a traffic step.
func (r *reader) servicesOf(v value, p *placed) []string {
	names := r.fewWords(v, "a list of services like [web]", few{"service", MaxServices}, func(item value, name string) {
		r.breaks(r.begin(item.node), item.key, protocol.ValidateName(name))
		p.services = append(p.services, item)
	})
	if names == nil {
		r.report(r.begin(v.node), v.key, "name at least one service", "the list is empty")
		return []string{}
	}
	return names
}

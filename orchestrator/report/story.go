package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay/protocol"
)

// Story tells a rollout in lines, from its states: what has changed since it was told last.
// It remembers what it has told, and does nothing but that. It is not safe for concurrent use.
type Story struct {
	// Commands says that the commands that answer an approval are told with it.
	Commands bool

	known    map[string]rollout.Step
	begun    map[string]int     // by step: the newest attempt that was told of
	early    []earlyLine        // of attempts that were not told of yet
	averages map[string]float64 // by step: records a second, as its script has told last
}

// NewStory is a story of which nothing has been told.
func NewStory() *Story {
	return &Story{known: make(map[string]rollout.Step), begun: make(map[string]int), averages: make(map[string]float64)}
}

// earlyLine is a line of an attempt of which the story has not told yet that it runs.
type earlyLine struct {
	step    string
	attempt int
	line    string
}

// lines are what is told.
type lines []terminal.Line

func (l *lines) say(color terminal.Color, glyph, format string, args ...any) {
	*l = append(*l, terminal.Line{Color: color, Glyph: glyph, Text: fmt.Sprintf(format, args...)})
}

func (l *lines) output(step, line string) { *l = append(*l, terminal.Line{Of: step, Text: line}) }

// Output takes in a line of what runs for a step. It is told once the story has told that the
// attempt runs: the line and the event come here in two ways, and the line may be faster.
func (s *Story) Output(step string, attempt int, line string) []terminal.Line {
	if attempt > s.begun[step] {
		s.early = append(s.early, earlyLine{step, attempt, line})
		return nil
	}
	return []terminal.Line{{Of: step, Text: line}}
}

// began says that the story has told of an attempt, and tells what has waited for that.
func (s *Story) began(l *lines, step rollout.Step) {
	s.begun[step.ID] = max(s.begun[step.ID], step.Attempt)
	waiting := s.early
	s.early = nil
	for _, e := range waiting {
		if e.attempt > s.begun[e.step] {
			s.early = append(s.early, e)
			continue
		}
		l.output(e.step, e.line)
	}
}

// Rest tells the lines whose attempts will not be told of any more.
func (s *Story) Rest() []terminal.Line {
	var l lines
	for _, e := range s.early {
		l.output(e.step, e.line)
	}
	s.early = nil
	return l
}

// Head says which rollout it is.
func Head(r rollout.State) []terminal.Line {
	var l lines
	if r.Restore != nil {
		l.say(terminal.Plain, "*", "rollout %s: %s %s, a restore: data and traffic %s, %s", r.ID, r.Release.App, r.Release.Version, asOf(*r.Restore), terminal.Plural(len(r.Steps), "step"))
		return l
	}
	l.say(terminal.Plain, "*", "rollout %s: %s %s, %s", r.ID, r.Release.App, r.Release.Version, terminal.Plural(len(r.Steps), "step"))
	return l
}

// Plan tells the steps of a rollout before they happen.
func Plan(r rollout.State) []terminal.Line {
	l := lines(Head(r))
	skipped := 0
	for _, step := range r.All() {
		text := fmt.Sprintf("%2d. %s", step.Number, describeStep(step))
		if waits := needs(r, step); waits != "" {
			text += "  after " + waits
		}
		if step.Status == rollout.StepSkipped {
			skipped++
			l.say(terminal.Dim, " ", "%s  skipped: %s", text, step.Skipped)
			continue
		}
		if r.Beyond(step) {
			l.say(terminal.Dim, " ", "%s  later: it stops behind phase %s", text, r.Until)
			continue
		}
		l.say(terminal.Plain, " ", "%s", text)
	}
	if scripts := countScripts(r); scripts > 0 && scripts == skipped {
		l.say(terminal.Green, "=", "every script has run in this environment: none is run again")
	}
	return l
}

func countScripts(r rollout.State) int {
	n := 0
	for _, step := range r.All() {
		if step.Kind == rollout.Migration {
			n++
		}
	}
	return n
}

func describeStep(step rollout.Step) string {
	return fmt.Sprintf("%-24s %s", step.ID, stepDoes(step))
}

// stepDoes is what a step of a rollout does.
func stepDoes(step rollout.Step) string {
	before := ""
	if step.Move.Replaces != nil {
		before = strings.Join(step.Move.Replaces.Online, ", ")
	}
	switch {
	case step.Kind == rollout.Approving && step.Approval != nil:
		return tellQuestion(*step.Approval)
	case step.Work != nil:
		return tellWork(*step.Work, nil, false)
	case step.Kind == rollout.Snapshot && step.Snapshot != nil && step.Snapshot.Checks != "":
		return "read back the snapshot that is put back"
	case step.Kind == rollout.Snapshot:
		return "take a snapshot of the data"
	case step.Kind == rollout.Put && step.Put != nil:
		return putDoes(*step.Put)
	case step.Kind == rollout.Maintenance && step.Move.Lift:
		return "end the maintenance of " + before
	case step.Kind == rollout.Maintenance:
		return "put " + before + " under maintenance"
	case step.Kind == rollout.Traffic && step.Move.Drain:
		return "take the traffic from " + before
	case step.Kind == rollout.Traffic && before != "" && step.Move.Replaces.Online[0] != step.Version:
		return "move traffic from " + before + " to " + step.Version
	case step.Kind == rollout.Traffic:
		return "bring " + step.Version + " online"
	}
	return fmt.Sprintf("run the %s script of %s", step.Script.Phase, step.Version)
}

func needs(r rollout.State, step rollout.Step) string {
	var names []string
	for _, n := range step.Needs {
		names = append(names, r.Steps[n-1].ID)
	}
	return strings.Join(names, ", ")
}

// Tell tells what has changed since the state that was told before.
func (s *Story) Tell(r rollout.State) []terminal.Line {
	var l lines
	if l.said(r) {
		// it is told
	} else if r.Event.Type == rollout.Enqueued {
		l.say(terminal.Plain, "*", "rollout %s: %s %s is queued%s: it begins when the one before it has ended", r.ID, r.Release.App, r.Release.Version, Asked(r))
	} else if text := tellPerson(r.Event); text != "" {
		l.say(terminal.Plain, "*", "%s%s", text, Because(r.Event))
	}
	for _, step := range r.All() { // what has ended comes before what begins because of that
		if e := r.Event; e.Step == step.ID && (e.Attempt < step.Attempt || step.Status == rollout.StepPending) {
			l.changeAttempt(step, e)
		}
		if step.Status != rollout.StepRunning {
			s.tellStep(&l, r, step)
		}
	}
	for _, step := range r.Running() {
		s.tellStep(&l, r, step)
	}
	l.end(r)
	return l
}

// end says that a rollout has ended, or stands still until somebody wants more of it.
func (l *lines) end(r rollout.State) {
	if r.Held() {
		l.say(terminal.Green, "‖", "phase %s has run: the rollout waits for a deploy that has it go on", r.Until)
	}
	if r.Restore != nil {
		l.endRestore(r)
		return
	}
	switch r.Status {
	case rollout.Completed:
		if r.Amended > 0 {
			l.amended(r)
			return
		}
		l.say(terminal.Green, "✓", "%s %s is live: %s%s", r.Release.App, r.Release.Version, inTime(r), withDowntime(r))
		if text := TellPutAside(r); text != "" {
			l.say(terminal.Yellow, "!", "%s", text)
		}
	case rollout.Failed:
		if r.Backward != nil {
			l.say(terminal.Red, "✗", "%s %s is not undone: its way backward has failed", r.Release.App, r.Release.Version)
			return
		}
		if r.TurnsBack() {
			l.say(terminal.Red, "✗", "a check has failed behind the gate: %s %s is taken backward", r.Release.App, r.Release.Version)
			return
		}
		l.say(terminal.Red, "✗", "%s %s is not live: the rollout has failed after %s", r.Release.App, r.Release.Version, terminal.Took(r.Ended.Sub(r.Created)))
	case rollout.Aborted:
		l.say(terminal.Yellow, "✗", "%s %s is aborted%s: %s", r.Release.App, r.Release.Version, withDowntime(r), AfterAbort(r))
	case rollout.Reverted:
		color, glyph := terminal.Green, "✓"
		if !WasAskedFor(r) {
			color, glyph = terminal.Yellow, "✗"
		}
		l.say(color, glyph, "%s %s is undone%s: what was online before is online", r.Release.App, r.Release.Version, withDowntime(r))
	case rollout.Superseded:
		l.say(terminal.Yellow, "✗", "rollout %s was superseded%s", r.ID, Because(r.Event))
	}
}

// amended says what has become of records that were tried again.
func (l *lines) amended(r rollout.State) {
	if text := TellPutAside(r); text != "" {
		l.say(terminal.Yellow, "!", "rollout %s: %s", r.ID, text)
		return
	}
	l.say(terminal.Green, "✓", "rollout %s: no record is put aside any more", r.ID)
}

// tellStep shows how a step differs from what was told of it.
func (s *Story) tellStep(l *lines, r rollout.State, step rollout.Step) {
	before := s.known[step.ID]
	s.known[step.ID] = step
	if before.Status == rollout.StepRetrying && step.Status == rollout.StepFailed {
		return // that it has failed was told; there is no next attempt after all
	}
	if before.Status != step.Status || before.Attempt != step.Attempt || before.Move.Back != step.Move.Back || before.Cancelled != step.Cancelled {
		s.change(l, r, step)
	}
	s.began(l, step)
}

// Know takes in a state of the past, which is not told, but for what has waited for it.
func (s *Story) Know(r rollout.State) []terminal.Line {
	var l lines
	for _, step := range r.All() {
		s.known[step.ID] = step
		s.began(&l, step)
	}
	return l
}

func withDowntime(r rollout.State) string {
	if down := r.Downtime(r.Ended); down > 0 {
		return ", downtime " + terminal.Took(down)
	}
	return ""
}

func inTime(r rollout.State) string {
	return "completed in " + terminal.Took(r.Ended.Sub(r.Created))
}

func (s *Story) change(l *lines, r rollout.State, step rollout.Step) {
	switch {
	case step.Kind == rollout.Approving:
		l.changeApproval(step, r.ID, s.Commands)
		return
	case step.Work != nil:
		l.changeWork(step)
		return
	case step.Kind == rollout.Snapshot:
		l.changeSnapshot(step)
		return
	case step.Kind == rollout.Put:
		l.changePut(step)
		return
	case step.Kind != rollout.Migration:
		l.changeTraffic(step)
		return
	}
	duration := terminal.Took(step.Ended.Sub(step.Started))
	script := step.ScriptID()
	switch step.Status {
	case rollout.StepRunning:
		if step.Cancelled {
			l.say(terminal.Yellow, "→", "%s", script.Subject(protocol.Cancel))
			return
		}
		l.say(terminal.Plain, "→", "%s%s", script.Subject(protocol.StartVerb(step.Revert)), attempt(step))
	case rollout.StepDone, rollout.StepReverted:
		if step.Script.Records && step.Error != nil {
			l.say(terminal.Yellow, "✗", "%s (%s): %s: the records stay put aside", script.Subject(protocol.FailedVerb(step.Revert)), duration, step.Error)
			return
		}
		l.say(terminal.Green, "←", "%s (%s%s%s%s)", script.Subject(protocol.DoneVerb(step.Revert)), duration, s.items(step), withAside(step), note(step))
	case rollout.StepRetrying:
		l.say(terminal.Yellow, "✗", "%s (%s): %s: attempt %d %s", script.Subject(protocol.FailedVerb(step.Revert)), duration, step.Error,
			step.Attempt+1, nextTry(step))
	case rollout.StepFailed:
		l.say(terminal.Red, "✗", "%s (%s): %s", script.Subject(protocol.FailedVerb(step.Revert)), duration, step.Error)
	}
}

// changeAttempt shows the end of an attempt after which the step has gone on at once: with
// the next attempt, or on the way back.
func (l *lines) changeAttempt(step rollout.Step, e rollout.Event) {
	switch {
	case step.Work != nil:
		l.changeWorkAttempt(step, e)
	case e.Type == rollout.StepAnswered:
		l.say(terminal.Green, "←", "%s", step.ScriptID().Subject(protocol.DoneVerb(e.Revert)))
	case e.Type != rollout.StepBroke || step.Kind != rollout.Migration || e.Answer == nil || e.Answer.Error == nil:
	case e.Revert == step.Revert:
		l.say(terminal.Yellow, "✗", "%s: %s: attempt %d at once", step.ScriptID().Subject(protocol.FailedVerb(e.Revert)), e.Answer.Error, step.Attempt)
	default:
		l.say(terminal.Yellow, "✗", "%s: %s", step.ScriptID().Subject(protocol.FailedVerb(e.Revert)), e.Answer.Error)
	}
}

// nextTry is when a step is tried again.
func nextTry(step rollout.Step) string {
	if step.Next.IsZero() {
		return "when it is resumed"
	}
	return "in " + terminal.Took(step.Next.Sub(step.Ended))
}

func attempt(step rollout.Step) string {
	if step.Attempt > 1 {
		return fmt.Sprintf(" (attempt %d)", step.Attempt)
	}
	return ""
}

// items is how many records a step has dealt with and, where it took long enough, how many
// of them a second.
func (s *Story) items(step rollout.Step) string {
	if step.Script.Items == 0 {
		return ""
	}
	text := ", " + terminal.Plural(int(step.Script.Items), "item")
	elapsed := step.Ended.Sub(step.Started).Seconds()
	average := s.averages[step.ID]
	if average <= 0 && step.Attempt == 1 && elapsed > 0 {
		average = float64(step.Script.Items) / elapsed
	}
	if elapsed < 1 || average <= 0 || float64(step.Script.Items) < average { // less than a second of work
		return text
	}
	return text + ", " + terminal.PerSecond(average) + " on average"
}

func withAside(step rollout.Step) string {
	if step.Script.PutAside == 0 {
		return ""
	}
	return ", " + terminal.Grouped(step.Script.PutAside) + " put aside"
}

func note(step rollout.Step) string {
	if step.Script.Note == "" {
		return ""
	}
	return ", " + step.Script.Note
}

// Averaged takes in how many records a second the script of a step has dealt with.
func (s *Story) Averaged(step string, average float64) { s.averages[step] = average }

// Running tells of a running step on one line, in the form that sdk/README.md gives.
func Running(p *Pulse, now time.Time) []terminal.Line {
	var l lines
	lasted := now.Sub(p.Since).Round(time.Second)
	if p.Waiting == "" {
		l.say(terminal.Dim, "…", "%s for=%s", p.line(now), lasted)
		return l
	}
	l.say(terminal.Yellow, "…", "state=waiting step=%s for=%s: %s", p.Step, lasted, p.Waiting)
	if script, found := strings.CutPrefix(p.Waiting, "nobody listens to "); found {
		l.say(terminal.Yellow, " ", "start the setup service that answers %s, or give its command in golive.yaml (key setup)", script)
	}
	return l
}

package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// story tells a rollout on a terminal, one stable line per change. It is safe for
// concurrent use.
type story struct {
	mu    sync.Mutex
	w     io.Writer
	color bool
	width int // of the names before lines of processes
	known map[string]rollout.Step
	begun map[string]int // by step: the newest attempt that was told of
	early []earlyLine    // of attempts that were not told of yet

	commands bool   // the commands that answer an approval are told with it
	rollout  string // id of the one that is told

	bottom   *screen            // on which what runs is drawn; nil: it is told in lines
	averages map[string]float64 // by step: records a second, as its script has told last
}

func newStory(w io.Writer, color bool) *story {
	return &story{w: w, color: color, known: make(map[string]rollout.Step), averages: make(map[string]float64)}
}

// Colors of what a line says; the glyph and the words say the same.
const (
	plain  = ""
	dim    = "\x1b[2m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	cyan   = "\x1b[36m"
	reset  = "\x1b[0m"
)

func (s *story) paint(color, text string) string {
	if !s.color || color == plain {
		return text
	}
	return color + text + reset
}

func (s *story) say(color, glyph, format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.w, "%s\n", s.paint(color, glyph+" "+oneLine(fmt.Sprintf(format, args...))))
}

// line shows a line as it is.
func (s *story) line(color, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintln(s.w, s.paint(color, oneLine(text)))
}

// oneLine is text without its line breaks, which errors of scripts may have.
func oneLine(text string) string {
	return strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "; ")
}

// output shows a line of a process behind its name.
func (s *story) output(name, line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outputLocked(name, line)
}

func (s *story) outputLocked(name, line string) {
	fmt.Fprintf(s.w, "%s %s\n", s.paint(cyan, fmt.Sprintf("%-*s |", s.width, name)), line)
}

// earlyLine is a line of an attempt of which the story has not told yet that it runs.
type earlyLine struct {
	step    string
	attempt int
	line    string
}

// stepOutput shows a line of what runs for a step once the story has told that it runs: the
// line and the event come here in two ways, and the line may be faster.
func (s *story) stepOutput(step string, attempt int, line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if attempt > s.begun[step] {
		s.early = append(s.early, earlyLine{step, attempt, line})
		return
	}
	s.outputLocked(step, line)
}

// began says that the story has told of an attempt, and shows what has waited for that.
func (s *story) began(step rollout.Step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.begun == nil {
		s.begun = make(map[string]int)
	}
	s.begun[step.ID] = max(s.begun[step.ID], step.Attempt)
	waiting := s.early
	s.early = nil
	for _, e := range waiting {
		if e.attempt > s.begun[e.step] {
			s.early = append(s.early, e)
			continue
		}
		s.outputLocked(e.step, e.line)
	}
}

// showEarly shows the lines whose attempts will not be told of any more.
func (s *story) showEarly() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.early {
		s.outputLocked(e.step, e.line)
	}
	s.early = nil
}

// head says which rollout it is.
func (s *story) head(r rollout.State) {
	s.say(plain, "*", "rollout %s: %s %s, %s", r.ID, r.Release.App, r.Release.Version, plural(len(r.Steps), "step"))
}

// plan shows the steps of a rollout before they happen.
func (s *story) plan(r rollout.State) {
	s.head(r)
	skipped := 0
	for _, step := range r.All() {
		text := fmt.Sprintf("%2d. %s", step.Number, describeStep(step))
		if waits := needs(r, step); waits != "" {
			text += "  after " + waits
		}
		if step.Status == rollout.StepSkipped {
			skipped++
			s.say(dim, " ", "%s  skipped: %s", text, step.Skipped)
			continue
		}
		if r.Beyond(step) {
			s.say(dim, " ", "%s  later: it stops behind phase %s", text, r.Until)
			continue
		}
		s.say(plain, " ", "%s", text)
	}
	if scripts := countScripts(r); scripts > 0 && scripts == skipped {
		s.say(green, "=", "every script has run in this environment: none is run again")
	}
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
	if step.Replaces != nil {
		before = strings.Join(step.Replaces.Online, ", ")
	}
	switch {
	case step.Kind == rollout.Approving && step.Approval != nil:
		return tellQuestion(*step.Approval)
	case step.Work != nil:
		return tellWork(*step.Work, nil, false)
	case step.Kind == rollout.Maintenance && step.Lift:
		return "end the maintenance of " + before
	case step.Kind == rollout.Maintenance:
		return "put " + before + " under maintenance"
	case step.Kind == rollout.Traffic && step.Drain:
		return "take the traffic from " + before
	case step.Kind == rollout.Traffic && before != "" && step.Replaces.Online[0] != step.Version:
		return "move traffic from " + before + " to " + step.Version
	case step.Kind == rollout.Traffic:
		return "bring " + step.Version + " online"
	}
	return fmt.Sprintf("run the %s script of %s", step.Phase, step.Version)
}

func needs(r rollout.State, step rollout.Step) string {
	var names []string
	for _, n := range step.Needs {
		names = append(names, r.Steps[n-1].ID)
	}
	return strings.Join(names, ", ")
}

// tell shows what has changed since the state told before.
func (s *story) tell(r rollout.State) {
	s.rollout = r.ID
	if s.said(r) {
		// it is told
	} else if r.Event.Type == rollout.Enqueued {
		s.say(plain, "*", "rollout %s: %s %s is queued%s: it begins when the one before it has ended", r.ID, r.Release.App, r.Release.Version, asked(r))
	} else if text := tellPerson(r.Event); text != "" {
		s.say(plain, "*", "%s%s", text, because(r.Event))
	}
	for _, step := range r.All() { // what has ended comes before what begins because of that
		if e := r.Event; e.Step == step.ID && (e.Attempt < step.Attempt || step.Status == rollout.StepPending) {
			s.changeAttempt(step, e)
		}
		if step.Status != rollout.StepRunning {
			s.tellStep(step)
		}
	}
	for _, step := range r.Running() {
		s.tellStep(step)
	}
	s.tellEnd(r)
}

// tellEnd says that a rollout has ended, or stands still until somebody wants more of it.
func (s *story) tellEnd(r rollout.State) {
	if r.Held() {
		s.say(green, "‖", "phase %s has run: the rollout waits for a deploy that has it go on", r.Until)
	}
	switch r.Status {
	case rollout.Completed:
		if r.Amended > 0 {
			s.tellAmended(r)
			return
		}
		s.say(green, "✓", "%s %s is live: %s%s", r.Release.App, r.Release.Version, inTime(r), withDowntime(r))
		if text := tellLeft(r); text != "" {
			s.say(yellow, "!", "%s", text)
		}
	case rollout.Failed:
		if r.Backward != nil {
			s.say(red, "✗", "%s %s is not undone: its way backward has failed", r.Release.App, r.Release.Version)
			return
		}
		if r.TurnsBack() {
			s.say(red, "✗", "a check has failed behind the gate: %s %s is taken backward", r.Release.App, r.Release.Version)
			return
		}
		s.say(red, "✗", "%s %s is not live: the rollout has failed after %s", r.Release.App, r.Release.Version, took(r.Ended.Sub(r.Created)))
	case rollout.Aborted:
		s.say(yellow, "✗", "%s %s is aborted%s: %s", r.Release.App, r.Release.Version, withDowntime(r), afterAbort(r))
	case rollout.Reverted:
		s.say(yellow, "✗", "%s %s is undone%s: what was online before is online", r.Release.App, r.Release.Version, withDowntime(r))
	case rollout.Superseded:
		s.say(yellow, "✗", "rollout %s was superseded%s", r.ID, because(r.Event))
	}
}

// tellAmended says what has become of records that were tried again.
func (s *story) tellAmended(r rollout.State) {
	if text := tellLeft(r); text != "" {
		s.say(yellow, "!", "rollout %s: %s", r.ID, text)
		return
	}
	s.say(green, "✓", "rollout %s: no record is put aside any more", r.ID)
}

// tellStep shows how a step differs from what was told of it.
func (s *story) tellStep(step rollout.Step) {
	before := s.known[step.ID]
	s.known[step.ID] = step
	if before.Status == rollout.StepRetrying && step.Status == rollout.StepFailed {
		return // that it has failed was told; there is no next attempt after all
	}
	if before.Status != step.Status || before.Attempt != step.Attempt || before.Back != step.Back || before.Cancelled != step.Cancelled {
		s.change(step)
	}
	s.began(step)
}

// know takes in a state of the past, which is not told.
func (s *story) know(r rollout.State) {
	for _, step := range r.All() {
		s.known[step.ID] = step
		s.began(step)
	}
}

// afterAbort is how things are when a rollout has been aborted.
func afterAbort(r rollout.State) string {
	if len(r.Steps) == 0 {
		return "it had not begun"
	}
	return "what was online before is online"
}

// tellPerson is what a person wanted, as an event tells; empty when it tells something else.
func tellPerson(e rollout.Event) string {
	what := "the rollout"
	if e.Step != "" {
		what = e.Step
	}
	switch e.Type {
	case rollout.ApprovedBy:
		return what + " is approved"
	case rollout.RejectedBy:
		return what + " is rejected"
	case rollout.ItemConfirmed:
		return fmt.Sprintf("item %d of %s is confirmed", e.Item, what)
	case rollout.Reminded:
		return what + " still waits for an answer"
	case rollout.FurtherAsked:
		if e.Until != "" {
			return "the rollout goes on to the end of phase " + string(e.Until)
		}
		return "the rollout goes on to its end"
	case rollout.Retried:
		return "tried again"
	case rollout.AbortAsked:
		return "aborted"
	case rollout.BackwardAsked:
		return "taken backward"
	case rollout.PauseAsked:
		return what + " is paused"
	case rollout.ResumeAsked:
		return what + " goes on, resumed"
	case rollout.PaceAsked:
		return what + " " + tellPace(e.Pace)
	case rollout.RecordsAsked:
		if e.Step != "" {
			return "the records that " + e.Step + " has put aside are tried again"
		}
		return "the records that were put aside are tried again"
	}
	return ""
}

// asked tells who has asked for a rollout.
func asked(r rollout.State) string {
	if r.By == "" {
		return ""
	}
	return " by " + r.By
}

func because(e rollout.Event) string {
	text := ""
	if e.By != "" {
		text += " by " + e.By
	}
	if e.Reason != "" {
		text += ": " + e.Reason
	}
	return text
}

func withDowntime(r rollout.State) string {
	if down := r.Downtime(r.Ended); down > 0 {
		return ", downtime " + took(down)
	}
	return ""
}

func inTime(r rollout.State) string {
	return "completed in " + took(r.Ended.Sub(r.Created))
}

func (s *story) change(step rollout.Step) {
	switch {
	case step.Kind == rollout.Approving:
		s.changeApproval(step)
		return
	case step.Work != nil:
		s.changeWork(step)
		return
	case step.Kind != rollout.Migration:
		s.changeTraffic(step)
		return
	}
	duration := took(step.Ended.Sub(step.Started))
	script := step.Script()
	switch step.Status {
	case rollout.StepRunning:
		if step.Cancelled {
			s.say(yellow, "→", "%s", script.Subject(protocol.Cancel))
			return
		}
		s.say(plain, "→", "%s%s", script.Subject(protocol.StartVerb(step.Revert)), attempt(step))
	case rollout.StepDone, rollout.StepReverted:
		if step.Records && step.Error != nil {
			s.say(yellow, "✗", "%s (%s): %s: the records stay put aside", script.Subject(protocol.FailedVerb(step.Revert)), duration, step.Error)
			return
		}
		s.say(green, "←", "%s (%s%s%s%s)", script.Subject(protocol.DoneVerb(step.Revert)), duration, s.items(step), putAside(step), note(step))
	case rollout.StepRetrying:
		s.say(yellow, "✗", "%s (%s): %s: attempt %d %s", script.Subject(protocol.FailedVerb(step.Revert)), duration, step.Error,
			step.Attempt+1, nextTry(step))
	case rollout.StepFailed:
		s.say(red, "✗", "%s (%s): %s", script.Subject(protocol.FailedVerb(step.Revert)), duration, step.Error)
	}
}

// changeAttempt shows the end of an attempt after which the step has gone on at once: with
// the next attempt, or on the way back.
func (s *story) changeAttempt(step rollout.Step, e rollout.Event) {
	switch {
	case step.Work != nil:
		s.changeWorkAttempt(step, e)
	case e.Type == rollout.StepAnswered:
		s.say(green, "←", "%s", step.Script().Subject(protocol.DoneVerb(e.Revert)))
	case e.Type != rollout.StepBroke || step.Kind != rollout.Migration || e.Answer == nil || e.Answer.Error == nil:
	case e.Revert == step.Revert:
		s.say(yellow, "✗", "%s: %s: attempt %d at once", step.Script().Subject(protocol.FailedVerb(e.Revert)), e.Answer.Error, step.Attempt)
	default:
		s.say(yellow, "✗", "%s: %s", step.Script().Subject(protocol.FailedVerb(e.Revert)), e.Answer.Error)
	}
}

// nextTry is when a step is tried again.
func nextTry(step rollout.Step) string {
	if step.Next.IsZero() {
		return "when it is resumed"
	}
	return "in " + took(step.Next.Sub(step.Ended))
}

func attempt(step rollout.Step) string {
	if step.Attempt > 1 {
		return fmt.Sprintf(" (attempt %d)", step.Attempt)
	}
	return ""
}

// items is how many records a step has dealt with and, where it took long enough, how many
// of them a second.
func (s *story) items(step rollout.Step) string {
	if step.Items == 0 {
		return ""
	}
	text := ", " + plural(int(step.Items), "item")
	elapsed := step.Ended.Sub(step.Started).Seconds()
	s.mu.Lock()
	average := s.averages[step.ID]
	s.mu.Unlock()
	if average <= 0 && step.Attempt == 1 && elapsed > 0 {
		average = float64(step.Items) / elapsed
	}
	if elapsed < 1 || average <= 0 || float64(step.Items) < average { // less than a second of work
		return text
	}
	return text + ", " + perSecond(average) + " on average"
}

func putAside(step rollout.Step) string {
	if step.PutAside == 0 {
		return ""
	}
	return ", " + grouped(step.PutAside) + " put aside"
}

func note(step rollout.Step) string {
	if step.Note == "" {
		return ""
	}
	return ", " + step.Note
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return grouped(int64(n)) + " " + what + "s"
}

// drawn reports whether what runs is drawn at the bottom of a terminal.
func (s *story) drawn() bool { return s.bottom != nil }

// draw draws what runs at the bottom of the terminal.
func (s *story) draw(pulses []pulse, now time.Time) {
	if s.bottom == nil {
		return
	}
	width, height := s.bottom.look()
	s.bottom.draw(bars(pulses, look{width: width, height: height, color: s.color}, now))
}

// averaged remembers how many records a second a script has dealt with.
func (s *story) averaged(step string, average float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.averages[step] = average
}

// running shows a running step on one line, in the form that sdk/README.md gives.
func (s *story) running(p pulse) {
	now := time.Now()
	lasted := now.Sub(p.since).Round(time.Second)
	if p.Waiting != "" {
		s.say(yellow, "…", "state=waiting step=%s for=%s: %s", p.step, lasted, p.Waiting)
		if script, found := strings.CutPrefix(p.Waiting, "nobody listens to "); found {
			s.say(yellow, " ", "start the setup service that answers %s, or give its command in golive.yaml (key setup)", script)
		}
		return
	}
	s.say(dim, "…", "%s for=%s", p.line(now), lasted)
}

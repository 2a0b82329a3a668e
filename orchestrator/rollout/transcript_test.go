package rollout_test

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

var update = flag.Bool("update", false, "write what came out into testdata/*.txt")

// A transcript is a text of blocks: commands, a line of four hyphens, and what came of
// them, up to an empty line. Commands:
//
//	release APP VERSION [setup] [downtime] [autoRevert] [snapshot-never]
//	                                            and, indented, its services:
//	  NAME VERSION [PHASE,…] [after NAME,…] [timeout DURATION] [instances N] [keep VERSION,…]
//	    [retries N] [backoff DURATION] [rate N] [inFlight N] [state STREAM,…]
//	                                            and its workflow and policy: see entry and policy
//	ran NAME/PHASE VERSION                      the environment's ledger holds it
//	live                                        the release is live already, by rollout r0
//	route NAME VERSION REVISION                 the environment's route
//	deploy [until PHASE]                        makes the plan; shows all of it
//	answer STEP done|failed|reverted|revert-failed [KEY=VALUE…]
//	                                            attempt, items, aside, note, code, error, retry, named,
//	                                            host=NAME:STATUS, snapshot=ID
//	open NAME [KEY=VALUE…]                      the gate is open: attempt, revision
//	close NAME [KEY=VALUE…]                     the service is under maintenance: attempt, revision
//	lift NAME [KEY=VALUE…]                      it is so no longer: attempt, revision
//	drain NAME [KEY=VALUE…]                     no version serves any more: attempt, revision
//	back STEP [KEY=VALUE…]                      the move cannot be finished: attempt, code, error
//	restore STEP [KEY=VALUE…]                   what served before serves again: attempt, revision
//	after DURATION                              time passes
//	downtime                                    shows who was under maintenance for how long
//	late +DURATION                              time passes, and what is late is told
//	retry | supersede | abort | pause [STEP] | resume [STEP] | backward [missing=STEP,…] [awaits=STEP,…]
//	pace STEP [rate=N] [inFlight=N] | records [STEP] | further [PHASE]
//	                                            a person wants it
//	approve STEP WHO [REASON] | reject STEP WHO [REASON] | confirm STEP ITEM WHO
//	                                            a person answers a question; nobody is called -
//	show                                        shows all steps
//
// What came of a command is the rollout's status, the steps that have changed, what is
// to do now, and what is told to the world.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			before, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			after, err := rewrite(string(before))
			if err != nil {
				t.Fatalf("%s:%v", file, err)
			}
			if *update {
				if err := os.WriteFile(file, []byte(after), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if after != string(before) {
				t.Errorf("%s is not what comes out: look at the difference after go test -update\n%s", file, difference(string(before), after))
			}
		})
	}
}

// difference shows the first line that differs.
func difference(before, after string) string {
	was, is := strings.Split(before, "\n"), strings.Split(after, "\n")
	for n := range min(len(was), len(is)) {
		if was[n] != is[n] {
			return fmt.Sprintf("line %d: %q, comes out as %q", n+1, was[n], is[n])
		}
	}
	return fmt.Sprintf("%d lines, come out as %d", len(was), len(is))
}

// rewrite runs the commands of a transcript and gives it with what came of them.
func rewrite(text string) (string, error) {
	var out bytes.Buffer
	w := &world{now: time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)}
	var commands []string
	line, inOutput := 0, false
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		line++
		switch l := lines.Text(); {
		case inOutput:
			inOutput = strings.TrimSpace(l) != ""
		case l == "----":
			result, err := w.runAll(commands)
			if err != nil {
				return "", fmt.Errorf("%d: %w", line-len(commands), err)
			}
			fmt.Fprintf(&out, "----\n%s\n", result)
			commands, inOutput = nil, true
		case l == "" || strings.HasPrefix(l, "#"):
			if len(commands) > 0 {
				return "", fmt.Errorf("%d: commands without a line of four hyphens behind them", line)
			}
			fmt.Fprintln(&out, l)
		default:
			fmt.Fprintln(&out, l)
			commands = append(commands, l)
		}
	}
	if len(commands) > 0 {
		return "", fmt.Errorf("%d: commands without a line of four hyphens behind them", line)
	}
	return strings.TrimRight(out.String(), "\n") + "\n", nil
}

// world is what the commands of a transcript work on.
type world struct {
	now     time.Time
	release rollout.Release
	ran     map[protocol.Script]rollout.Ran
	routes  map[string]rollout.Replace
	live    *rollout.Ran
	left    []rollout.AttemptID
	state   rollout.State
}

func (w *world) runAll(commands []string) (string, error) {
	var out strings.Builder
	for n := 0; n < len(commands); n++ {
		head := n
		for n+1 < len(commands) && strings.HasPrefix(commands[n+1], " ") {
			n++
		}
		result, err := w.run(strings.Fields(commands[head]), commands[head+1:n+1])
		if err != nil {
			return "", fmt.Errorf("%s: %w", commands[head], err)
		}
		out.WriteString(result)
	}
	if out.Len() == 0 {
		return "ok\n", nil
	}
	return out.String(), nil
}

func (w *world) run(words, more []string) (string, error) {
	name, args := words[0], words[1:]
	if len(more) > 0 && name != "release" {
		return "", errors.New("takes no indented lines")
	}
	switch name {
	case "release":
		return "", w.describe(args, more)
	case "ran":
		return "", w.remember(args)
	case "route":
		return "", w.routed(args)
	case "live":
		w.live = &rollout.Ran{Rollout: "r0", At: w.now.Add(-24 * time.Hour)}
		return "", none(args)
	case "left":
		return "", w.leave(args)
	case "stopped":
		return w.stopped(args)
	case "deploy":
		return w.deploy(args)
	case "put-back":
		return w.putBack(args)
	case "answer":
		return w.answer(args)
	case "open":
		return w.moved(rollout.Opened, "/traffic", args)
	case "close":
		return w.moved(rollout.Closed, "/maintenance", args)
	case "lift":
		return w.moved(rollout.Closed, "/maintenance-off", args)
	case "drain":
		return w.moved(rollout.Opened, "/drain", args)
	case "approve", "reject", "confirm":
		return w.says(name, args)
	case "further":
		return w.further(args)
	case "back":
		return w.back(args)
	case "after":
		return "", w.after(args)
	case "downtime":
		return w.downtime(), none(args)
	case "late":
		return w.late(args)
	case "restore":
		return w.moved(rollout.Restored, "", args)
	case "retry":
		return w.apply(rollout.Event{Type: rollout.Retried, By: "ada"}, args...)
	case "supersede":
		return w.apply(rollout.Event{Type: rollout.Replaced, By: "ada"}, args...)
	case "abort":
		return w.apply(rollout.Event{Type: rollout.AbortAsked, By: "ada"}, args...)
	case "pause":
		return w.hold(rollout.PauseAsked, args)
	case "resume":
		return w.hold(rollout.ResumeAsked, args)
	case "backward":
		return w.backward(args)
	case "pace":
		return w.pace(args)
	case "records":
		return w.hold(rollout.RecordsAsked, args)
	case "show":
		return w.show(rollout.State{}), none(args)
	}
	return "", errors.New("unknown command")
}

var errWords = errors.New("these words are not understood")

func none(args []string) error {
	if len(args) > 0 {
		return errWords
	}
	return nil
}

// leave has a script of an earlier rollout end without an answer.
func (w *world) leave(args []string) error {
	if len(args) != 3 {
		return errWords
	}
	w.left = append(w.left, rollout.AttemptID{Rollout: "r0", Name: args[0], Version: args[1], Phase: protocol.Phase(args[2]), Number: 1})
	return nil
}

// stopped has the script of a step stop that has not answered.
func (w *world) stopped(args []string) (string, error) {
	if len(args) != 1 {
		return "", errWords
	}
	for _, left := range w.state.AllUnanswered() {
		if left.Script().Step() == args[0] {
			return w.apply(rollout.Event{Type: rollout.Stopped, Of: &left})
		}
	}
	return w.apply(rollout.Event{Type: rollout.Stopped, Of: &rollout.AttemptID{}})
}

func (w *world) describe(args, services []string) error {
	if len(args) < 2 {
		return errWords
	}
	*w = world{now: w.now, release: rollout.Release{App: args[0], Version: args[1], Strategy: rollout.Parallel}}
	for _, word := range args[2:] {
		switch word {
		case "setup":
			w.release.Setup = true
		case "downtime":
			w.release.Strategy = rollout.Downtime
		case "snapshot-never":
			w.release.Snapshot = rollout.NeverSnapshot
		case "autoRevert":
			w.release.AutoRevert = true
		default:
			w.release.Strategy = rollout.Strategy(word)
		}
	}
	for _, text := range services {
		words := strings.Fields(text)
		if known, err := w.workflowLine(words); err != nil {
			return fmt.Errorf("%s: %w", text, err)
		} else if known {
			continue
		}
		s, err := service(words)
		if err != nil {
			return fmt.Errorf("%s: %w", text, err)
		}
		w.release.Services = append(w.release.Services, s)
	}
	return nil
}

func service(words []string) (rollout.Service, error) {
	if len(words) < 2 {
		return rollout.Service{}, errWords
	}
	s := rollout.Service{Name: words[0], Version: words[1], Instances: 1}
	words = words[2:]
	if len(words)%2 == 1 {
		for _, phase := range strings.Split(words[0], ",") {
			s.Migrations = append(s.Migrations, protocol.Phase(phase))
		}
		words = words[1:]
	}
	for ; len(words) > 0; words = words[2:] {
		var err error
		switch value := words[1]; words[0] {
		case "after":
			s.DependsOn = strings.Split(value, ",")
		case "timeout":
			err = s.Timeout.UnmarshalText([]byte(value))
		case "instances":
			s.Instances, err = strconv.Atoi(value)
		case "state":
			s.State = &rollout.Data{Streams: strings.Split(value, ",")}
		case "keep":
			s.KeepOnline = strings.Split(value, ",")
		case "retries":
			s.Retries, err = strconv.Atoi(value)
		case "backoff":
			err = s.Backoff.UnmarshalText([]byte(value))
		case "rate", "inFlight":
			if s.Pace == nil {
				s.Pace = &protocol.Pace{}
			}
			err = name(s.Pace, words[0], value)
		default:
			err = errWords
		}
		if err != nil {
			return s, err
		}
	}
	return s, nil
}

// name sets what a pace names.
func name(p *protocol.Pace, key, value string) (err error) {
	switch key {
	case "rate":
		var rate float64
		rate, err = strconv.ParseFloat(value, 64)
		p.Rate = &rate
	case "inFlight":
		p.InFlight, err = strconv.Atoi(value)
	default:
		err = errWords
	}
	return err
}

func (w *world) remember(args []string) error {
	if len(args) != 2 {
		return errWords
	}
	name, phase, found := strings.Cut(args[0], "/")
	if !found {
		return errWords
	}
	if w.ran == nil {
		w.ran = make(map[protocol.Script]rollout.Ran)
	}
	script := protocol.Script{Name: name, Version: args[1], Phase: protocol.Phase(phase)}
	w.ran[script] = rollout.Ran{Rollout: "r0", At: w.now.Add(-24 * time.Hour)}
	return script.Validate()
}

func (w *world) routed(args []string) error {
	if len(args) != 3 {
		return errWords
	}
	revision, err := strconv.ParseUint(args[2], 10, 64)
	if w.routes == nil {
		w.routes = make(map[string]rollout.Replace)
	}
	w.routes[args[0]] = rollout.Replace{Revision: revision, Online: []string{args[1]}}
	return err
}

func (w *world) deploy(args []string) (string, error) {
	until := protocol.Phase("")
	if len(args) == 2 && args[0] == "until" {
		until, args = protocol.Phase(args[1]), nil
	}
	if len(args) > 0 {
		return "", errWords
	}
	facts := rollout.Facts{Routes: w.routes, Live: w.live, Unanswered: w.left, Ran: func(s protocol.Script) (rollout.Ran, bool) {
		ran, yes := w.ran[s]
		return ran, yes
	}}
	state, err := rollout.CompileUntil("r1", "ada", w.now, w.release, facts, until)
	if err != nil {
		return "refused: " + err.Error() + "\n", nil
	}
	w.state = state
	return w.show(rollout.State{}), nil
}

func (w *world) answer(args []string) (string, error) {
	if len(args) < 2 {
		return "", errWords
	}
	e := rollout.Event{Type: rollout.StepAnswered, Step: args[0], Answer: &protocol.Answer{}}
	switch args[1] {
	case "done":
	case "failed":
		e.Type = rollout.StepBroke
	case "reverted":
		e.Revert = true
	case "revert-failed":
		e.Type, e.Revert = rollout.StepBroke, true
	default:
		return "", errWords
	}
	return w.applyWith(e, args[2:])
}

func (w *world) moved(what rollout.EventType, suffix string, args []string) (string, error) {
	if len(args) < 1 {
		return "", errWords
	}
	return w.applyWith(rollout.Event{Type: what, Step: args[0] + suffix, Effective: w.now}, args[1:])
}

func (w *world) hold(what rollout.EventType, args []string) (string, error) {
	if len(args) > 1 {
		return "", errWords
	}
	return w.apply(rollout.Event{Type: what, Step: strings.Join(args, ""), By: "ada", Reason: "lunch"})
}

func (w *world) backward(args []string) (string, error) {
	e := rollout.Event{Type: rollout.BackwardAsked, By: "ada"}
	for _, arg := range args {
		switch key, steps, _ := strings.Cut(arg, "="); key {
		case "missing":
			e.Missing, e.Backward = strings.Split(steps, ","), &rollout.Backward{SkipMissing: true}
		case "awaits":
			e.Awaits = strings.Split(steps, ",")
		default:
			return "", errWords
		}
	}
	return w.apply(e)
}

func (w *world) pace(args []string) (string, error) {
	if len(args) < 1 {
		return "", errWords
	}
	e := rollout.Event{Type: rollout.PaceAsked, Step: args[0], By: "ada"}
	for _, pair := range args[1:] {
		if e.Pace == nil {
			e.Pace = &protocol.Pace{}
		}
		key, value, _ := strings.Cut(pair, "=")
		if err := name(e.Pace, key, value); err != nil {
			return "", fmt.Errorf("%s: %w", pair, err)
		}
	}
	return w.apply(e)
}

func (w *world) back(args []string) (string, error) {
	if len(args) < 1 {
		return "", errWords
	}
	return w.applyWith(rollout.Event{Type: rollout.TurnedBack, Step: args[0], Answer: &protocol.Answer{}}, args[1:])
}

func (w *world) after(args []string) error {
	if len(args) != 1 {
		return errWords
	}
	d, err := time.ParseDuration(args[0])
	w.now = w.now.Add(d)
	return err
}

func (w *world) downtime() string {
	var out strings.Builder
	for _, o := range w.state.Outages() {
		if o.To.IsZero() {
			fmt.Fprintf(&out, "%s is under maintenance for %s\n", o.Service, w.now.Sub(o.From))
			continue
		}
		fmt.Fprintf(&out, "%s was under maintenance for %s\n", o.Service, o.To.Sub(o.From))
	}
	fmt.Fprintf(&out, "%s in all\n", w.state.Downtime(w.now))
	return out.String()
}

// applyWith applies an event with what KEY=VALUE pairs say of it; without an attempt
// it is about the newest.
func (w *world) applyWith(e rollout.Event, pairs []string) (string, error) {
	step, _ := w.state.Step(e.Step)
	e.Attempt = step.Attempt
	for _, pair := range pairs {
		key, value, _ := strings.Cut(pair, "=")
		if err := set(&e, key, value); err != nil {
			return "", fmt.Errorf("%s: %w", pair, err)
		}
	}
	return w.apply(e)
}

func set(e *rollout.Event, key, value string) (err error) {
	failure := func() *protocol.ScriptError {
		if e.Answer.Error == nil {
			e.Answer.Error = &protocol.ScriptError{}
		}
		return e.Answer.Error
	}
	switch {
	case key == "attempt":
		e.Attempt, err = strconv.Atoi(value)
	case key == "revision" && (e.Type == rollout.Opened || e.Type == rollout.Closed || e.Type == rollout.Restored):
		e.Revision, err = strconv.ParseUint(value, 10, 64)
	case e.Answer == nil:
		err = errWords
	case key == "items":
		e.Answer.Items, err = strconv.ParseInt(value, 10, 64)
	case key == "aside":
		e.Answer.PutAside, err = strconv.ParseInt(value, 10, 64)
	case key == "snapshot":
		e.Snapshot = &rollout.SnapshotRun{ID: value}
	case key == "digest":
		e.Put = &rollout.PutRun{Messages: 3, Digest: value}
	case key == "note":
		e.Answer.Note = value
	case key == "host":
		host, status, found := strings.Cut(value, ":")
		if !found {
			return errWords
		}
		e.Answer.Hosts = append(e.Answer.Hosts, protocol.Host{Name: host, Attempt: e.Attempt, Status: protocol.HostStatus(status)})
	case key == "holds":
		e.Answer.Checks = append(e.Answer.Checks, protocol.CheckResult{Name: value, Holds: true})
	case key == "fails":
		e.Answer.Checks = append(e.Answer.Checks, protocol.CheckResult{Name: value, Error: "it does not"})
	case key == "code":
		failure().Code = value
	case key == "error":
		failure().Message = strings.ReplaceAll(value, "_", " ")
	case key == "retry":
		var retry bool
		retry, err = strconv.ParseBool(value)
		failure().Retry = &retry
	case key == "named" && value == "":
		e.Named = true
	default:
		err = errWords
	}
	return err
}

func (w *world) late(args []string) (string, error) {
	if len(args) != 1 || !strings.HasPrefix(args[0], "+") {
		return "", errWords
	}
	d, err := time.ParseDuration(args[0])
	if err != nil {
		return "", err
	}
	w.now = w.now.Add(d)
	late := w.state.Late(w.now)
	if len(late) == 0 {
		return "nothing is late\n", nil
	}
	var out string
	for _, e := range late {
		result, err := w.apply(e)
		if err != nil {
			return "", err
		}
		out += result
	}
	return out, nil
}

func (w *world) apply(e rollout.Event, args ...string) (string, error) {
	if w.state.ID == "" || len(args) > 0 {
		return "", errWords
	}
	e.At = w.now
	before := w.state
	after, err := before.Apply(e)
	if err != nil {
		if !reflect.DeepEqual(after, before) {
			return "", fmt.Errorf("the state was changed by an event that gave the error %w", err)
		}
		return err.Error() + "\n", nil
	}
	w.state = after
	return w.show(before), nil
}

// show writes the state: the steps that are not as they were before, what to do, and
// what to tell.
func (w *world) show(before rollout.State) string {
	var out strings.Builder
	s := w.state
	finished := 0
	for _, step := range s.All() {
		if step.Status == rollout.StepDone || step.Status == rollout.StepSkipped {
			finished++
		}
	}
	fmt.Fprintf(&out, "%s (%s), %d of %d steps finished", s.Status, s.What(), finished, len(s.Steps))
	if due := s.Due(); !due.IsZero() {
		fmt.Fprintf(&out, ", due %s", due.Format(time.TimeOnly))
	}
	out.WriteString("\n")
	for n, step := range s.All() {
		if before.ID == "" || !reflect.DeepEqual(step, *before.Steps[n]) {
			fmt.Fprintf(&out, "  %s\n", describeStep(step))
		}
	}
	acts := s.Acts()
	for _, act := range acts {
		if act.Kind == rollout.StopAgents {
			fmt.Fprintf(&out, "  now: stop the agents of %s #%d\n", act.Step.ID, act.Step.Attempt)
			continue
		}
		fmt.Fprintf(&out, "  now: %s\n", describeTodo(s, act.Step))
	}
	for _, step := range s.Todo() { // in the care of the items of other events
		if !slices.ContainsFunc(acts, func(a rollout.Act) bool { return a.Step.ID == step.ID }) {
			fmt.Fprintf(&out, "  to do: %s\n", describeTodo(s, step))
		}
	}
	for _, left := range s.Stops() {
		fmt.Fprintf(&out, "  now: see that %s #%d stops\n", left.Script(), left.Number)
	}
	for _, what := range s.Waits() {
		fmt.Fprintf(&out, "  waits for %s\n", what)
	}
	if s.TurnsBack() {
		out.WriteString("  turns back by itself\n")
	}
	for _, a := range s.Announcements() {
		fmt.Fprintf(&out, "  tell: %s\n", describeAnnouncement(a))
	}
	return out.String()
}

func describeStep(s rollout.Step) string {
	text := fmt.Sprintf("%d %s %s", s.Number, s.ID, s.Status)
	if s.Move.Back {
		text += ", back,"
	}
	if s.Revert && s.Status != rollout.StepReverted {
		text += ", to be undone,"
	}
	if s.Cancelled {
		text += ", cancelled,"
	}
	if s.Attempt > 0 {
		text += fmt.Sprintf(" #%d", s.Attempt)
	}
	if len(s.Needs) > 0 && s.Status == rollout.StepPending {
		text += fmt.Sprintf(" after %v", s.Needs)
	}
	if s.Skipped != "" {
		text += ": " + s.Skipped
	}
	if s.Left > 0 {
		text += fmt.Sprintf(", held with %s left", time.Duration(s.Left))
	}
	if s.Script.Items > 0 {
		text += fmt.Sprintf(", %d items", s.Script.Items)
	}
	if s.Script.PutAside > 0 {
		text += fmt.Sprintf(", %d put aside", s.Script.PutAside)
	}
	for _, c := range s.Script.Checks {
		text += fmt.Sprintf(", check %s holds: %t", c.Name, c.Holds)
	}
	text += describePace(s.Script.Pace) + describeVotes(s.Approval)
	for _, h := range s.Hosts {
		text += fmt.Sprintf(", host %s %s #%d", h.Name, h.Status, h.Attempt)
	}
	if s.Snapshot != nil && s.Snapshot.ID != "" {
		text += ", taken as " + s.Snapshot.ID
	}
	if s.Put != nil && s.Put.Digest != "" {
		text += ", put as " + s.Put.Digest
	}
	if s.Script.Note != "" {
		text += ", " + s.Script.Note
	}
	if s.Error != nil {
		text += ": " + s.Error.Error()
	}
	if s.Move.Revision > 0 {
		text += fmt.Sprintf(" at revision %d", s.Move.Revision)
	}
	return text
}

func describeTodo(s rollout.State, step rollout.Step) string {
	switch {
	case step.Work != nil:
		return describeWork(step)
	case step.Kind == rollout.Snapshot && step.Cancelled:
		return "stop " + step.ID
	case step.Kind == rollout.Snapshot:
		return fmt.Sprintf("take %s #%d", step.ID, step.Attempt)
	case step.Kind == rollout.Put:
		return describePut(step)
	case step.Kind != rollout.Migration && step.Backwards():
		text := fmt.Sprintf("put %v of %s back", step.Move.Replaces.Online, step.Name) + retryAfter(s, step)
		if step.Move.Awaits {
			text += ", to an instance that is there"
		}
		return text
	case step.Move.Lift:
		return fmt.Sprintf("end the maintenance of %s, for %v", step.Name, step.Move.Replaces.Online) + retryAfter(s, step)
	case step.Move.Drain:
		return fmt.Sprintf("drain %s on revision %d, online %v", step.Name, step.Move.Replaces.Revision, step.Move.Replaces.Online)
	case step.Kind == rollout.Maintenance:
		return fmt.Sprintf("close %s on revision %d, online %v", step.Name, step.Move.Replaces.Revision, step.Move.Replaces.Online) + retryAfter(s, step)
	case step.Kind == rollout.Traffic:
		return fmt.Sprintf("open %s %s with %d instances on revision %d, online %v",
			step.Name, step.Version, step.Move.Instances, step.Move.Replaces.Revision, step.Move.Replaces.Online) + beside(step)
	}
	if step.Cancelled {
		return "wait for " + step.ID
	}
	m := s.Start(step, 5*time.Second)
	text := fmt.Sprintf("send %s #%d", m.Script().Subject(protocol.StartVerb(m.Revert)), m.Attempt)
	if !m.Deadline.IsZero() {
		text += " until " + m.Deadline.Format(time.TimeOnly)
	}
	text += describePace(m.Pace)
	if m.FailedRecords {
		text += ", for records put aside"
	}
	return text
}

func describePace(p *protocol.Pace) string {
	text := ""
	if p != nil && p.Rate != nil {
		text += fmt.Sprintf(", %g a second", *p.Rate)
	}
	if p != nil && p.InFlight > 0 {
		text += fmt.Sprintf(", %d in flight", p.InFlight)
	}
	return text
}

func beside(step rollout.Step) string {
	if len(step.Move.Keep) == 0 {
		return ""
	}
	return fmt.Sprintf(", beside %v", step.Move.Keep)
}

func retryAfter(s rollout.State, step rollout.Step) string {
	if after := s.RetryAfter(step); after > 0 {
		return fmt.Sprintf(", callers are told to wait %s", after)
	}
	return ""
}

func describeAnnouncement(a rollout.Announcement) string {
	text := a.Subject
	if a.Fact {
		text += ", a fact"
	}
	switch p := a.Payload.(type) {
	case protocol.ControlMessage:
		text += fmt.Sprintf(" #%d", p.Attempt)
		if !p.Deadline.IsZero() {
			text += " until " + p.Deadline.Format(time.TimeOnly)
		}
		text += describePace(p.Pace)
	case protocol.Answer:
		text += fmt.Sprintf(" #%d", p.Attempt)
		if p.Error != nil {
			text += ": " + p.Error.Error()
		}
	case rollout.Outcome:
		text += fmt.Sprintf(", final %t", p.Final)
		if p.Error != nil {
			text += fmt.Sprintf(": %s: %s", p.Step, p.Error)
		}
	}
	return text
}

// The tool itself: what it does not understand must fail, or a transcript tells less
// than it seems to.
func TestWhatATranscriptCannotSay(t *testing.T) {
	const release = "release todo-app 0.0.2\n  todos 0.0.1 before\n"
	for text, why := range map[string]string{
		"dploy\n----\n":                                             "1: dploy: unknown command",
		"release todo-app\n----\n":                                  "1: release todo-app: these words are not understood",
		"release todo-app 0.0.2\n  todos\n----\n":                   "1: release todo-app 0.0.2:   todos: these words are not understood",
		"release todo-app 0.0.2\n  todos 0.0.1 before x y\n----\n":  "1: release todo-app 0.0.2:   todos 0.0.1 before x y: these words are not understood",
		"ran todos 0.0.1\n----\n":                                   "1: ran todos 0.0.1: these words are not understood",
		"ran todos/later 0.0.1\n----\n":                             `1: ran todos/later 0.0.1: phase "later" is none of before, offline, online, setup`,
		"deploy now\n----\n":                                        "1: deploy now: these words are not understood",
		"retry\n----\n":                                             "1: retry: these words are not understood",
		release + "deploy\n  x\n----\n":                             "1: deploy: takes no indented lines",
		release + "deploy\nanswer todos/before\n----\n":             "1: answer todos/before: these words are not understood",
		release + "deploy\nanswer todos/before perhaps\n----\n":     "1: answer todos/before perhaps: these words are not understood",
		release + "deploy\nanswer todos/before done x=1\n----\n":    "1: answer todos/before done x=1: x=1: these words are not understood",
		release + "deploy\nopen todos items=1\n----\n":              "1: open todos items=1: items=1: these words are not understood",
		release + "deploy\npace\n----\n":                            "1: pace: these words are not understood",
		release + "deploy\npace todos/before fast=1\n----\n":        "1: pace todos/before fast=1: fast=1: these words are not understood",
		release + "deploy\nrecords a b\n----\n":                     "1: records a b: these words are not understood",
		"release a 1.0.0\n  - wait x\n----\n":                       "1: release a 1.0.0:   - wait x: these words are not understood",
		"release a 1.0.0\n  - phase\n----\n":                        "1: release a 1.0.0:   - phase: these words are not understood",
		"release a 1.0.0\n  - drain\n----\n":                        "1: release a 1.0.0:   - drain: these words are not understood",
		"release a 1.0.0\n  - approval x in 1h\n----\n":             "1: release a 1.0.0:   - approval x in 1h: these words are not understood",
		"release a 1.0.0\n  - check x backward y\n----\n":           "1: release a 1.0.0:   - check x backward y: these words are not understood",
		"release a 1.0.0\n  approvals: many\n----\n":                "1: release a 1.0.0:   approvals: many: these words are not understood",
		release + "deploy before\n----\n":                           "1: deploy before: these words are not understood",
		release + "deploy\nfurther a b\n----\n":                     "1: further a b: these words are not understood",
		release + "deploy\napprove approval\n----\n":                "1: approve approval: these words are not understood",
		release + "deploy\nconfirm approval bob\n----\n":            "1: confirm approval bob: these words are not understood",
		release + "deploy\nanswer todos/before done host=x\n----\n": "1: answer todos/before done host=x: host=x: these words are not understood",
		release + "deploy\nlate 10m\n----\n":                        "1: late 10m: these words are not understood",
		release + "deploy\nretry now\n----\n":                       "1: retry now: these words are not understood",
		"show\n\n----\n":                                            "2: commands without a line of four hyphens behind them",
		"show\n":                                                    "1: commands without a line of four hyphens behind them",
	} {
		if _, err := rewrite(text); err == nil || err.Error() != why {
			t.Errorf("%q: error %v, want %s", text, err, why)
		}
	}
}

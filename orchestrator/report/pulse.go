package report

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay/protocol"
)

const (
	enoughToTell = 3 * time.Second // of progress, before the time left is told
	outdated     = 8 * time.Second // after which a rate is no longer one of now: a sign of life, due every 5 s, has not come
	lags         = 5 * time.Second // how long a change of speed shows in the rate that a script tells
)

// Pulse is how far a running step is: what is told of it is taken in, and it gives that in
// words, as a bar, and for programs. A copy stays as it was when it was taken; apart from that,
// a Pulse is not safe for concurrent use.
type Pulse struct {
	api.Observation

	Step    string
	Attempt int
	Since   time.Time // when the attempt began
	Script  bool      // it runs a script
	Work    bool      // agents run a command or check
	Asks    bool      // it waits for people to approve
	Takes   bool      // it takes, or reads, a snapshot, or puts one back

	hosts   string    // how far agents are; empty: not known
	paused  string    // by whom and why; empty: it is not
	rate    api.Rate  // as it was seen here since it goes at its present speed
	changed time.Time // when it was first heard to go at another speed
}

// NewPulse is that of a step of which nothing has been heard yet.
func NewPulse(step rollout.Step) Pulse {
	return Pulse{Step: step.ID, Attempt: step.Attempt, Since: step.Started,
		Script: step.Kind == rollout.Migration, Work: step.Work != nil, Asks: Asks(step), Takes: step.Kind == rollout.Snapshot || step.Kind == rollout.Put}
}

// Sighted is how far a step is that runs, as an orchestrator has seen it.
func Sighted(s rollout.State, step rollout.Step, seen api.Observation) Pulse {
	p := NewPulse(step)
	p.Take(seen)
	p.See(s, step)
	return p
}

// Take takes in what an orchestrator has seen. What agents that are at work tell, and how far a
// snapshot is, stands where it says what is waited for.
func (p *Pulse) Take(seen api.Observation) {
	p.Observation = seen
	if p.Work && seen.Sent {
		p.hosts, p.Waiting = seen.Waiting, ""
	}
	if p.Takes && seen.Sent {
		p.Note, p.Waiting = seen.Waiting, ""
	}
}

// See takes in how the rollout of the step stands.
func (p *Pulse) See(s rollout.State, step rollout.Step) {
	if p.Asks {
		p.Waiting = TellApproval(s, step)
	}
	p.paused = pausedBy(s, step)
}

// pausedBy is by whom a step is paused, and why; empty when it is not.
func pausedBy(s rollout.State, step rollout.Step) string {
	pause := step.Paused
	if s.Paused != nil {
		pause = s.Paused
	}
	if pause == nil || step.Kind != rollout.Migration && step.Kind != rollout.Snapshot && step.Kind != rollout.Put && step.Work == nil {
		return ""
	}
	if text := Because(rollout.Event{By: pause.By, Reason: pause.Reason}); text != "" {
		return text
	}
	return " by somebody"
}

// Hear takes in what a script tells of itself, at the time now.
func (p *Pulse) Hear(m protocol.ProgressMessage, now time.Time) {
	m = m.Checked()
	p.Beat, p.Waiting = now, ""
	if m.Done == nil { // it lives, and has done no more
		if p.rate.Points() > 0 {
			p.rate.Add(now, p.Done)
		}
		return
	}
	if m.Limit != p.Limit || word(m.Held) != word(p.Held) {
		p.rate.Restart()
		p.changed = now
	}
	p.Done, p.Total, p.Note = *m.Done, m.Total, m.Note
	p.Rate, p.Average, p.Limit, p.Held, p.PutAside = m.Rate, m.Average, m.Limit, m.Held, m.PutAside
	p.rate.Add(now, p.Done)
}

// rateNow is how many records a second the script deals with: as it tells itself, else as
// it was seen lately; 0 when that is not known. What it tells lags behind: just after its
// speed has changed, what was seen since then counts.
func (p *Pulse) rateNow(now time.Time) float64 {
	switch {
	case p.Beat.IsZero() || now.Sub(p.Beat) > outdated:
		return 0
	case p.Rate > 0 && now.Sub(p.changed) < lags && p.rate.Span() >= time.Second:
		return p.rate.Recent()
	case p.Rate > 0:
		return p.Rate
	case p.Average > 0: // who tells that tells its rate, too: it deals with none now
		return 0
	}
	return p.rate.Now()
}

// average is how many records a second the attempt has dealt with so far.
func (p *Pulse) average(now time.Time) float64 {
	if p.Average > 0 {
		return p.Average
	}
	elapsed := now.Sub(p.Since).Seconds()
	if p.Attempt > 1 || p.Done == 0 || elapsed <= 0 { // what earlier attempts have done may be counted
		return p.rate.Recent()
	}
	return float64(p.Done) / elapsed
}

// left is the time until the script has ended, if it goes on as it did lately; false when
// there is not enough to tell.
func (p *Pulse) left(now time.Time) (time.Duration, bool) {
	remaining := p.Total - p.Done
	if p.Total == 0 || remaining <= 0 || p.paused != "" || word(p.Held) == "paused" || now.Sub(p.Beat) > outdated {
		return 0, false
	}
	rate := p.Average // all that is known of a script that was not watched for long
	if p.Limit > 0 {
		rate = min(rate, p.Limit)
	}
	if p.rate.Points() >= 3 && p.rate.Span() >= enoughToTell {
		if !p.rate.Steady() {
			return 0, false
		}
		rate = p.rate.Recent()
	} else if now.Sub(p.Since) < enoughToTell || p.Held != "" {
		return 0, false
	}
	seconds := float64(remaining) / rate
	if rate <= 0 || seconds > math.MaxInt32 {
		return 0, false
	}
	return time.Duration(seconds * float64(time.Second)).Round(time.Second), true
}

// percent is how much of the total is done, rounded down; false when the total is not known.
func (p *Pulse) percent() (int, bool) {
	if p.Total <= 0 {
		return 0, false
	}
	return int(min(max(100*float64(p.Done)/float64(p.Total), 0), 100)), true
}

// counts says how much is done of how much; empty when nothing is known.
func (p *Pulse) counts() string {
	switch percent, known := p.percent(); {
	case known:
		return fmt.Sprintf("%s of %s done, %d%%", terminal.Grouped(p.Done), terminal.Grouped(p.Total), percent)
	case p.Done > 0:
		return terminal.Grouped(p.Done) + " done"
	}
	return ""
}

// pace says how fast it goes, what stands in its way and what it has left behind.
func (p *Pulse) pace(now time.Time) []string {
	var all []string
	if rate := p.rateNow(now); rate > 0 {
		all = append(all, terminal.PerSecond(rate)+" now")
	}
	if average := p.average(now); average > 0 {
		all = append(all, terminal.PerSecond(average)+" on average")
	}
	if p.Limit > 0 {
		all = append(all, "limit "+terminal.PerSecond(p.Limit))
	}
	if p.PutAside > 0 {
		all = append(all, terminal.Grouped(p.PutAside)+" put aside")
	}
	return all
}

// silence says that nothing has been heard of a script for longer than there should have
// been; empty while all is well.
func (p *Pulse) silence(now time.Time) string {
	if p.Beat.IsZero() || now.Sub(p.Beat) <= outdated || p.Waiting != "" {
		return ""
	}
	return "no sign of life for " + short(now.Sub(p.Beat))
}

// hindrance is why a step does not go on, or not as fast as it could; empty when nothing
// stands in its way.
func (p *Pulse) hindrance() string {
	switch {
	case p.paused != "":
		return "paused" + p.paused
	case p.Waiting != "":
		return "waiting: " + p.Waiting
	}
	return p.Held
}

// heldBy is why a step is held; what it waits for is told apart.
func (p *Pulse) heldBy() string {
	if p.paused != "" {
		return "paused" + p.paused
	}
	return p.Held
}

// Tell is all that is known of the step at a time, in words.
func (p *Pulse) Tell(now time.Time) string {
	all := terminal.NonEmpty(p.counts(), p.hosts)
	if left, known := p.left(now); known {
		all = append(all, short(left)+" left")
	}
	all = append(all, p.pace(now)...)
	if silence := p.silence(now); silence != "" {
		all = append(all, silence)
	}
	if why := p.hindrance(); why != "" {
		all = append(all, why)
	}
	if p.Note != "" && p.Waiting == "" {
		all = append(all, p.Note)
	}
	return terminal.OneLine(strings.Join(all, ", "))
}

// word is what a reason begins with, if it is a word and nothing else or has a colon behind
// it: "throttled" of "throttled: replica lag 12 s".
func word(held string) string {
	first, _, _ := strings.Cut(held, ":")
	if strings.ContainsAny(first, " \t\n") || len(first) > 12 {
		return ""
	}
	return first
}

// short is a duration of whole seconds without the parts that nobody needs.
func short(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%ds", d/time.Second)
}

// numbers are how much is done and, if that can be told, how long the rest takes, else how
// long it has taken so far.
func (p *Pulse) numbers(now time.Time) string {
	text := ""
	switch {
	case p.Total > 0:
		text = terminal.Grouped(p.Done) + " of " + terminal.Grouped(p.Total) + "  "
	case p.Done > 0:
		text = terminal.Grouped(p.Done) + " done  "
	}
	if left, sure := p.left(now); sure {
		return text + short(left) + " left"
	}
	return text + "for " + short(now.Sub(p.Since).Truncate(time.Second))
}

// widest is about as wide as the numbers of a step become, so that its bar does not jump.
func (p *Pulse) widest() string {
	if p.Total == 0 {
		return ""
	}
	return terminal.Grouped(p.Total) + " of " + terminal.Grouped(p.Total) + "  59m9s left"
}

// below is the line under the bar: how fast it goes, and what stands in its way.
func (p *Pulse) below(now time.Time) string {
	all := append(terminal.NonEmpty(p.hosts), p.pace(now)...)
	if silence := p.silence(now); silence != "" {
		all = append(all, silence)
	}
	if why := p.hindrance(); why != "" {
		all = append(all, why)
	}
	if p.Note != "" && p.Waiting == "" {
		all = append(all, p.Note)
	}
	return strings.Join(all, ", ")
}

// state is a glyph, a word and a color that say whether a step goes on.
func (p *Pulse) state() (glyph, state string, color terminal.Color) {
	switch {
	case p.paused != "", word(p.Held) == "paused":
		return "‖", "paused", terminal.Yellow
	case p.Waiting != "":
		return "…", "waiting", terminal.Yellow
	case word(p.Held) != "":
		return "▼", word(p.Held), terminal.Yellow
	case p.Held != "":
		return "▼", "held", terminal.Yellow
	}
	return "▶", "running", terminal.Green
}

// bar is the pulse as it is drawn.
func (p *Pulse) bar(now time.Time) terminal.Bar {
	b := terminal.Bar{Name: p.Step, Percent: -1, Numbers: p.numbers(now), Widest: p.widest(), Below: p.below(now)}
	b.Glyph, b.State, b.Color = p.state()
	if percent, known := p.percent(); known {
		b.Percent = percent
	}
	return b
}

// Bars are pulses as they are drawn, at the time now.
func Bars(all []Pulse, now time.Time) []terminal.Bar {
	bars := make([]terminal.Bar, len(all))
	for i := range all {
		bars[i] = all[i].bar(now)
	}
	return bars
}

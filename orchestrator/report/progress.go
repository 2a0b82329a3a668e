package report

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay/protocol"
)

// ProgressLine is a line for programs that follow a rollout: how far a step of it is.
type ProgressLine struct {
	Progress Progress `json:"progress"`
}

// Progress is how far the step of a rollout is. Its fields are what programs rely on.
type Progress struct {
	Rollout string    `json:"rollout"`
	Step    string    `json:"step"`
	Attempt int       `json:"attempt"`
	State   string    `json:"state"` // running, paused, waiting, or held: not as fast as it could
	At      time.Time `json:"at"`
	Started time.Time `json:"started"` // when the attempt began

	Done     int64             `json:"done"`
	Total    int64             `json:"total,omitempty"`   // absent: not known
	Rate     float64           `json:"rate,omitempty"`    // records a second now
	Average  float64           `json:"average,omitempty"` // records a second of this attempt
	Limit    float64           `json:"limit,omitempty"`   // records a second that it keeps to
	Left     protocol.Duration `json:"left,omitempty"`    // absent: there is not enough to tell
	PutAside int64             `json:"putAside,omitempty"`
	Held     string            `json:"held,omitempty"`    // why it does not go on, or not as fast as it could
	Waiting  string            `json:"waiting,omitempty"` // what it waits for
	Hosts    string            `json:"hosts,omitempty"`   // of a command or check: how far agents are
	Note     string            `json:"note,omitempty"`
}

// Progress is how far the step, which is of a rollout, is at a time.
func (p *Pulse) Progress(rollout string, now time.Time) Progress {
	_, state, _ := p.state()
	if p.Held != "" && state != "paused" && state != "waiting" {
		state = "held"
	}
	left, _ := p.left(now)
	return Progress{
		Rollout: rollout, Step: p.Step, Attempt: p.Attempt, State: state, At: now.UTC(), Started: p.Since.UTC(),
		Done: p.Done, Total: p.Total, Rate: rounded(p.rateNow(now)), Average: rounded(p.average(now)), Limit: p.Limit,
		Left: protocol.Duration(left), PutAside: p.PutAside, Held: p.heldBy(), Waiting: p.Waiting, Hosts: p.hosts, Note: p.Note,
	}
}

// Key is all that it says but for times and rates: when that changes, there is news.
func (p Progress) Key() string {
	return fmt.Sprint(p.State, p.Done, p.Total, p.Limit, p.PutAside, p.Held, p.Waiting, p.Hosts, p.Note)
}

// rounded is a rate to the hundredth.
func rounded(rate float64) float64 { return math.Round(rate*100) / 100 }

// line is how far a step is, on one line with stable keys.
func (p *Pulse) line(now time.Time) string {
	_, state, _ := p.state()
	if state != "paused" {
		state = "running"
	}
	text := fmt.Sprintf("state=%s step=%s", state, p.Step)
	if p.Done > 0 || p.Total > 0 {
		text += fmt.Sprintf(" done=%d", p.Done)
	}
	if p.Total > 0 {
		text += fmt.Sprintf(" total=%d", p.Total)
	}
	if rate := p.rateNow(now); rate > 0 {
		text += fmt.Sprintf(" rate=%s/s", digits(rate))
	}
	if average := p.average(now); average > 0 {
		text += fmt.Sprintf(" average=%s/s", digits(average))
	}
	if left, known := p.left(now); known {
		text += fmt.Sprintf(" eta=%s", left)
	}
	if p.Limit > 0 {
		text += fmt.Sprintf(" limit=%s/s", digits(p.Limit))
	}
	if p.PutAside > 0 {
		text += fmt.Sprintf(" putAside=%d", p.PutAside)
	}
	if p.silence(now) != "" {
		text += fmt.Sprintf(" silent=%s", now.Sub(p.Beat).Round(time.Second))
	}
	if p.hosts != "" {
		text += fmt.Sprintf(" hosts=%q", terminal.OneLine(p.hosts))
	}
	if why := p.heldBy(); why != "" {
		text += fmt.Sprintf(" held=%q", terminal.OneLine(why))
	}
	return text
}

// digits is a rate without a fraction or, below ten, with two digits.
func digits(rate float64) string {
	if rate < 9.5 {
		return strconv.FormatFloat(rate, 'g', 2, 64)
	}
	return fmt.Sprintf("%.0f", rate)
}

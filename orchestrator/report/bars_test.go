package report

import (
	"bytes"
	"fmt"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay/protocol"
)

// escapes are what colors text.
var escapes = regexp.MustCompile(`\x1b\[[0-9;]*m`)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// heard is a pulse of a step that began some time before noon and has told of itself once a
// second, always the same number of records.
func heard(step string, lasts time.Duration, each, total int64, change func(*protocol.ProgressMessage)) Pulse {
	p := Pulse{Step: step, Attempt: 1, Script: true, Since: noon.Add(-lasts)}
	for at, done := p.Since.Add(time.Second), each; !at.After(noon); at, done = at.Add(time.Second), done+each {
		m := protocol.ProgressMessage{Done: &done, Total: total}
		if change != nil {
			change(&m)
		}
		p.Hear(m, at)
	}
	return p
}

// manyPulses are steps in all states that there are.
func manyPulses() []Pulse {
	waiting := Pulse{Step: "mail/online", Attempt: 1, Script: true, Since: noon.Add(-12 * time.Second)}
	waiting.Waiting = "nobody listens to deployment-mail-1.0.0-online-start"
	paused := heard("stock/online", 10*time.Minute, 2, 5000, nil)
	paused.paused = " by ann@laptop: lunch"
	return []Pulse{
		heard("todo-search/online", 4*time.Second, 128, 1204, nil),
		heard("billing/online", 90*time.Second, 12345, 12345678, func(m *protocol.ProgressMessage) {
			m.Rate, m.Average, m.Limit, m.PutAside, m.Note = 12500, 12000.4, 12500, 3, "invoices of 2024"
		}),
		heard("ledger/online", 40*time.Second, 25, 100000, func(m *protocol.ProgressMessage) {
			m.Held, m.PutAside = "throttled: replica lag 12 s", 1
		}),
		paused,
		heard("shop/setup", 2*time.Second, 40, 0, nil),
		waiting,
		{Step: "search/traffic", Attempt: 1, Since: noon.Add(-time.Second)},
		heard("todos/offline", time.Second, 7, 9, func(m *protocol.ProgressMessage) { m.Held = "waiting for the 倉庫\x1b[2J\nof the day" }),
	}
}

func TestBars(t *testing.T) {
	var out bytes.Buffer
	for _, l := range []terminal.Look{{Width: 100, Height: 28}, {Width: 80, Height: 28}, {Width: 60, Height: 10}, {Width: 33, Height: 4}, {Width: 9, Height: 3}} {
		fmt.Fprintf(&out, "%d columns, %d lines\n", l.Width, l.Height)
		for _, line := range terminal.Bars(Bars(manyPulses(), noon), l) {
			fmt.Fprintf(&out, "%s|\n", line)
		}
		fmt.Fprintln(&out)
	}
	golden(t, "bars.txt", out.Bytes())
}

func TestBarsFitWhateverTheTerminal(t *testing.T) {
	all := Bars(manyPulses(), noon)
	for width := range 200 {
		for height := range 20 {
			for _, color := range []bool{false, true} {
				lines := terminal.Bars(all, terminal.Look{Width: width, Height: height, Color: color})
				if len(lines) > height {
					t.Fatalf("%d lines where there is room for %d", len(lines), height)
				}
				for _, line := range lines {
					bare := escapes.ReplaceAllString(line, "")
					if n := terminal.Width(bare); n > width {
						t.Fatalf("%d columns where there is room for %d: %s", n, width, bare)
					}
					if strings.ContainsAny(bare, "\x1b\n\r\t") {
						t.Fatalf("it would move the cursor: %q", bare)
					}
				}
			}
		}
	}
}

func TestBarsSayWithoutColorWhatTheySayWithIt(t *testing.T) {
	plainly := strings.Join(terminal.Bars(Bars(manyPulses(), noon), terminal.Look{Width: 100, Height: 28}), "\n")
	colored := strings.Join(terminal.Bars(Bars(manyPulses(), noon), terminal.Look{Width: 100, Height: 28, Color: true}), "\n")
	if !strings.Contains(colored, string(terminal.Green)) || escapes.ReplaceAllString(colored, "") != plainly {
		t.Errorf("they differ:\n%s\n%s", plainly, colored)
	}
}

func TestRunningLine(t *testing.T) {
	var out bytes.Buffer
	for _, p := range manyPulses() {
		fmt.Fprintln(&out, p.line(noon))
	}
	talk := terminal.Streams{Err: &out}.Talk(false)
	talk.Tell(Running(&Pulse{Step: "todo-search/online", Since: noon}, noon)...)
	talk.Tell(Running(&Pulse{Step: "a/offline", Observation: api.Observation{Waiting: "nobody listens to deployment-a-0.0.1-offline-start"}, Since: noon}, noon)...)
	golden(t, "running.txt", out.Bytes())
}

func TestTellInWords(t *testing.T) {
	var out bytes.Buffer
	for _, p := range manyPulses() {
		fmt.Fprintf(&out, "%s: %s\n", p.Step, p.Tell(noon))
	}
	golden(t, "words.txt", out.Bytes())
}

func TestTimeLeftIsToldOnceThereIsEnoughToTell(t *testing.T) {
	some := func(p Pulse) string {
		left, known := p.left(noon)
		if !known {
			return "unknown"
		}
		return left.String()
	}
	unsteady := Pulse{Step: "a/online", Attempt: 1, Script: true, Since: noon.Add(-6 * time.Second)}
	for i, done := range []int64{10, 20, 30, 340, 650, 960} {
		unsteady.Hear(protocol.ProgressMessage{Done: &done, Total: 1000}, unsteady.Since.Add(time.Duration(i+1)*time.Second))
	}
	silent := heard("a/online", 10*time.Second, 10, 1000, nil)
	silent.Beat = noon.Add(-time.Minute)
	joined := Pulse{Step: "a/online", Attempt: 1, Since: noon.Add(-time.Hour),
		Observation: api.Observation{Done: 3600, Total: 7200, Average: 1, Beat: noon}}
	slowed := joined
	slowed.Limit, slowed.Rate = 0.5, 0.5
	throttled := joined
	throttled.Held = "throttled: replica lag 12 s"
	changed := heard("a/online", 10*time.Second, 10, 1000, nil)
	for at := range 4 {
		done := int64(100 + at)
		changed.Hear(protocol.ProgressMessage{Done: &done, Total: 1000, Limit: 1}, noon.Add(time.Duration(at-4)*time.Second))
	}
	tests := []struct {
		what string
		p    Pulse
		want string
	}{
		{"it goes on steadily", heard("a/online", 10*time.Second, 10, 1000, nil), "1m30s"},
		{"it has just begun", heard("a/online", 2*time.Second, 10, 1000, nil), "unknown"},
		{"nobody knows of how much", heard("a/online", 10*time.Second, 10, 0, nil), "unknown"},
		{"it is unsteady", unsteady, "unknown"},
		{"it says nothing any more", silent, "unknown"},
		{"it has done more than there was", heard("a/online", 10*time.Second, 10, 50, nil), "unknown"},
		{"it is paused", heard("a/online", 10*time.Second, 10, 1000, func(m *protocol.ProgressMessage) { m.Held = "paused" }), "unknown"},
		{"it was looked at only now", joined, "1h0m0s"},
		{"it was looked at only now, and keeps to a limit", slowed, "2h0m0s"},
		{"it was looked at only now, and is throttled", throttled, "unknown"},
		{"it has got another limit", changed, "14m57s"},
	}
	for _, test := range tests {
		if got := some(test.p); got != test.want {
			t.Errorf("%s: the time left is %s, want %s", test.what, got, test.want)
		}
	}
}

// The lines for programs. Changing a field is a breaking change.
func TestProgressLines(t *testing.T) {
	var out bytes.Buffer
	for _, p := range manyPulses() {
		if err := terminal.Print(&out, "jsonl", ProgressLine{p.Progress("0199c6d2-1a2b-7000-8000-000000000001", noon)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, "progress.txt", out.Bytes())
}

// What a script tells may be anything: it is drawn all the same.
func TestWhatCannotBeIsDrawn(t *testing.T) {
	for _, done := range []int64{-1, 11, math.MaxInt64, math.MinInt64} {
		for _, total := range []int64{-5, 0, 10, math.MaxInt64} {
			p := Pulse{Step: "a/online", Attempt: 1, Script: true, Since: noon.Add(-time.Minute)}
			for at := range 3 {
				p.Hear(protocol.ProgressMessage{Done: &done, Total: total, Rate: -1, Average: math.Inf(1), PutAside: -3}, noon.Add(time.Duration(at)*time.Second))
			}
			if p.Done < 0 || p.Total < 0 || p.Rate != 0 || p.Average != 0 || p.PutAside != 0 {
				t.Errorf("%d of %d is taken in as %+v", done, total, p.Observation)
			}
			bars := Bars([]Pulse{p}, noon.Add(4*time.Second))
			if lines := terminal.Bars(bars, terminal.Look{Width: 100, Height: 10}); len(lines) == 0 || bars[0].Percent > 100 {
				t.Errorf("%d of %d is drawn as %q, %d%%", done, total, lines, bars[0].Percent)
			}
		}
	}
}

func TestRateIsThatOfNowSoonAfterAChange(t *testing.T) {
	p := heard("a/online", 10*time.Second, 800, 100_000, nil)
	for at := range 11 { // the script tells what it did in the last seconds, on average
		done := 8000 + int64(at)*60
		p.Hear(protocol.ProgressMessage{Done: &done, Total: 100_000, Rate: 700, Limit: 300}, noon.Add(time.Duration(at)*200*time.Millisecond))
	}
	if got := p.rateNow(noon.Add(2 * time.Second)); got != 300 {
		t.Errorf("two seconds after the change the rate is %v", got)
	}
	if got := p.rateNow(noon.Add(6 * time.Second)); got != 700 {
		t.Errorf("later the rate is %v, and not as the script tells it", got)
	}
}

func TestSilence(t *testing.T) {
	p := heard("a/online", 10*time.Second, 10, 1000, nil)
	p.Beat = noon
	at := noon.Add(12 * time.Second)
	if got, want := p.below(at), "4.5/s on average, no sign of life for 12s"; got != want {
		t.Errorf("below the bar stands %q, want %q", got, want)
	}
	if got, want := p.line(at), "state=running step=a/online done=100 total=1000 average=4.5/s silent=12s"; got != want {
		t.Errorf("the line is %q, want %q", got, want)
	}
	if got := p.below(noon.Add(6 * time.Second)); strings.Contains(got, "no sign") {
		t.Errorf("after six seconds it is said to be silent: %q", got)
	}
}

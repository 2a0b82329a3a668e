package main

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// Widths of a bar, between its brackets.
const (
	leastBar = 8
	mostBar  = 30
)

// look is what lines are made for.
type look struct {
	width  int // columns that a line may have
	height int // lines that there may be
	color  bool
}

// bars draws what runs: two lines for each step or, when there is no room for that, one.
// A step for which there is no line left is counted in the last one.
func bars(pulses []pulse, l look, now time.Time) []string {
	if l.width < 1 || l.height < 1 {
		return nil
	}
	var all []string
	tight := 2*len(pulses) > l.height
	t := tableOf(pulses, l, now, tight)
	for i, p := range pulses {
		if len(all) == l.height-1 && i < len(pulses)-1 {
			return append(all, fit(fmt.Sprintf("  and %d more", len(pulses)-i), l.width))
		}
		all = append(all, t.line(p, l, now))
		if below := t.below(p, now); below != "" && !tight {
			all = append(all, paintIf(l.color, dim, fit("  "+below, l.width)))
		}
	}
	return all
}

// table is how wide the columns of all bars are. Without a column of their own, states stand
// in the lines below.
type table struct{ step, state, percent, bar int }

func tableOf(pulses []pulse, l look, now time.Time, tight bool) table {
	var t table
	rest := 0
	for _, p := range pulses {
		_, state, _ := p.state()
		t.step, t.state = max(t.step, columnsOf(p.step)), max(t.state, columnsOf(state))
		if _, known := p.percent(); known {
			t.percent = len("100%")
		}
		rest = max(rest, columnsOf(p.numbers(now)), columnsOf(p.widest()))
	}
	if t.percent == 0 {
		return t
	}
	const between = 9 // the glyph, the brackets and the spaces
	room := l.width - t.step - t.percent - rest - between
	switch wide := room - t.state - 2; {
	case wide >= leastBar:
		t.bar = min(wide, mostBar)
	case room >= leastBar && !tight:
		t.bar, t.state = min(room, mostBar), 0
	}
	return t
}

// widest is about as wide as the numbers of a step become, so that its bar does not jump.
func (p *pulse) widest() string {
	if p.Total == 0 {
		return ""
	}
	return grouped(p.Total) + " of " + grouped(p.Total) + "  59m9s left"
}

// below is the line under the bar, with the state if that has no column of its own.
func (t table) below(p pulse, now time.Time) string {
	text := p.below(now)
	if _, state, _ := p.state(); t.state == 0 && !strings.Contains(text, state) {
		return strings.Join(nonEmpty(state, text), ", ")
	}
	return text
}

// line is the line that says how far a step is.
func (t table) line(p pulse, l look, now time.Time) string {
	glyph, state, color := p.state()
	before := fmt.Sprintf("%s %s", glyph, padded(p.step, t.step))
	if t.state > 0 {
		before += "  " + padded(state, t.state)
	}
	percent, known := p.percent()
	switch {
	case t.percent == 0: // of nothing that runs the total is known
		return paintIf(l.color, color, fit(before+"  "+p.numbers(now), l.width))
	case t.bar == 0 && known:
		return paintIf(l.color, color, fit(fmt.Sprintf("%s %s %3d%%  %s  %s", glyph, p.step, percent, p.numbers(now), state), l.width))
	case t.bar == 0:
		return paintIf(l.color, color, fit(fmt.Sprintf("%s %s  %s  %s", glyph, p.step, p.numbers(now), state), l.width))
	case !known:
		gap := strings.Repeat(" ", t.bar+2+1+t.percent)
		return paintIf(l.color, color, before) + "  " + gap + "  " + p.numbers(now)
	}
	full := t.bar * percent / 100
	drawn := "[" + strings.Repeat("█", full) + strings.Repeat("░", t.bar-full) + "]"
	return paintIf(l.color, color, before+"  "+drawn) + fmt.Sprintf(" %3d%%  %s", percent, p.numbers(now))
}

// numbers are how much is done and, if that can be told, how long the rest takes, else how
// long it has taken so far.
func (p *pulse) numbers(now time.Time) string {
	text := ""
	switch {
	case p.Total > 0:
		text = grouped(p.Done) + " of " + grouped(p.Total) + "  "
	case p.Done > 0:
		text = grouped(p.Done) + " done  "
	}
	if left, sure := p.left(now); sure {
		return text + short(left) + " left"
	}
	return text + "for " + short(now.Sub(p.since).Truncate(time.Second))
}

func padded(text string, width int) string {
	return text + strings.Repeat(" ", max(0, width-columnsOf(text)))
}

// below is the line under the bar: how fast it goes, and what stands in its way.
func (p *pulse) below(now time.Time) string {
	all := append(nonEmpty(p.hosts), p.pace(now)...)
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
func (p *pulse) state() (glyph, state, color string) {
	switch {
	case p.paused != "", word(p.Held) == "paused":
		return "‖", "paused", yellow
	case p.Waiting != "":
		return "…", "waiting", yellow
	case word(p.Held) != "":
		return "▼", word(p.Held), yellow
	case p.Held != "":
		return "▼", "held", yellow
	}
	return "▶", "running", green
}

func paintIf(yes bool, color, text string) string {
	if !yes || color == plain {
		return text
	}
	return color + text + reset
}

// fit is text on one line of at most width columns, clipped where it has to be, and without
// anything that would move the cursor.
func fit(text string, width int) string {
	var b strings.Builder
	used, end, clipped := 0, 0, false
	for _, r := range oneLine(text) {
		if unicode.IsControl(r) || r == unicode.ReplacementChar || unicode.Is(unicode.Cf, r) {
			continue
		}
		n := cells(r)
		if used+n > width {
			clipped = true
			break
		}
		if used+n < width {
			end = b.Len() + len(string(r))
		}
		b.WriteRune(r)
		used += n
	}
	if !clipped {
		return b.String()
	}
	return b.String()[:end] + "…"
}

// columnsOf is how many columns of a terminal text takes.
func columnsOf(text string) int {
	n := 0
	for _, r := range text {
		n += cells(r)
	}
	return n
}

// cells is how many columns of a terminal a character takes.
func cells(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	case r >= 0x1100 && r <= 0x115f, r >= 0x2e80 && r <= 0xa4cf, r >= 0xac00 && r <= 0xd7a3, r >= 0xf900 && r <= 0xfaff,
		r >= 0xfe30 && r <= 0xfe6f, r >= 0xff00 && r <= 0xff60, r >= 0x1f300 && r <= 0x1faff, r >= 0x20000 && r <= 0x3fffd:
		return 2
	}
	return 1
}

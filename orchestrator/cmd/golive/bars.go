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
	names := 0
	for _, p := range pulses {
		names = max(names, columnsOf(p.step))
	}
	var all []string
	tight := 2*len(pulses) > l.height
	for i, p := range pulses {
		if len(all) == l.height-1 && i < len(pulses)-1 {
			return append(all, fit(fmt.Sprintf("  and %d more", len(pulses)-i), l.width))
		}
		all = append(all, p.bar(names, l, now))
		if below := p.below(now); below != "" && !tight {
			all = append(all, paintIf(l.color, dim, fit("  "+below, l.width)))
		}
	}
	return all
}

// bar is the line that says how far a step is.
func (p *pulse) bar(names int, l look, now time.Time) string {
	glyph, state, color := p.state()
	before := fmt.Sprintf("%s %s%s  %s", glyph, p.step, strings.Repeat(" ", max(0, names-columnsOf(p.step))), state)
	percent, known := p.percent()
	after := "  " + short(now.Sub(p.since).Truncate(time.Second))
	if left, sure := p.left(now); sure {
		after = "  " + short(left) + " left"
	}
	if p.Done > 0 && !known {
		return paintIf(l.color, color, fit(before+"  "+p.counts()+after, l.width))
	}
	if !known {
		return paintIf(l.color, color, fit(before+after, l.width))
	}
	numbers := fmt.Sprintf("%3d%%  %s of %s", percent, grouped(p.Done), grouped(p.Total))
	room := l.width - columnsOf(before) - columnsOf(numbers) - columnsOf(after) - 5 // spaces and brackets
	if room < leastBar {
		return paintIf(l.color, color, fit(p.step+" "+strings.TrimSpace(numbers)+"  "+state+after, l.width))
	}
	room = min(room, mostBar)
	full := room * percent / 100
	drawn := "[" + strings.Repeat("█", full) + strings.Repeat("░", room-full) + "]"
	return fit(before, l.width) + "  " + paintIf(l.color, color, drawn) + " " + numbers + after
}

// below is the line under the bar: how fast it goes, and what stands in its way.
func (p *pulse) below(now time.Time) string {
	all := p.pace(now)
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

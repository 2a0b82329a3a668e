package terminal

import (
	"fmt"
	"strings"
)

// Bar is how far something is that runs, as it is drawn.
type Bar struct {
	Name    string
	Glyph   string
	State   string // a word
	Color   Color
	Percent int    // that is done; -1: not known
	Numbers string // how much is done, and how long it takes
	Widest  string // about as wide as the numbers become, so that the bar does not jump
	Below   string // the line under the bar; empty: none
}

// Widths of a bar, between its brackets.
const (
	leastBar = 8
	mostBar  = 30
)

// Look is what lines are made for.
type Look struct {
	Width  int // columns that a line may have
	Height int // lines that there may be
	Color  bool
}

// Bars draws what runs: two lines for each bar or, when there is no room for that, one.
// A bar for which there is no line left is counted in the last one.
func Bars(all []Bar, l Look) []string {
	if l.Width < 1 || l.Height < 1 {
		return nil
	}
	var lines []string
	tight := 2*len(all) > l.Height
	t := tableOf(all, l, tight)
	for i, b := range all {
		if len(lines) == l.Height-1 && i < len(all)-1 {
			return append(lines, Fit(fmt.Sprintf("  and %d more", len(all)-i), l.Width))
		}
		lines = append(lines, t.line(b, l))
		if below := t.below(b); below != "" && !tight {
			lines = append(lines, paintIf(l.Color, Dim, Fit("  "+below, l.Width)))
		}
	}
	return lines
}

// table is how wide the columns of all bars are. Without a column of their own, states stand
// in the lines below.
type table struct{ name, state, percent, bar int }

func tableOf(all []Bar, l Look, tight bool) table {
	var t table
	rest := 0
	for _, b := range all {
		t.name, t.state = max(t.name, Width(b.Name)), max(t.state, Width(b.State))
		if b.Percent >= 0 {
			t.percent = len("100%")
		}
		rest = max(rest, Width(b.Numbers), Width(b.Widest))
	}
	if t.percent == 0 {
		return t
	}
	const between = 9 // the glyph, the brackets and the spaces
	room := l.Width - t.name - t.percent - rest - between
	switch wide := room - t.state - 2; {
	case wide >= leastBar:
		t.bar = min(wide, mostBar)
	case room >= leastBar && !tight:
		t.bar, t.state = min(room, mostBar), 0
	}
	return t
}

// below is the line under the bar, with the state if that has no column of its own.
func (t table) below(b Bar) string {
	if t.state == 0 && !strings.Contains(b.Below, b.State) {
		return strings.Join(NonEmpty(b.State, b.Below), ", ")
	}
	return b.Below
}

// line is the line that says how far a step is.
func (t table) line(b Bar, l Look) string {
	before := fmt.Sprintf("%s %s", b.Glyph, padded(b.Name, t.name))
	if t.state > 0 {
		before += "  " + padded(b.State, t.state)
	}
	known := b.Percent >= 0
	switch {
	case t.percent == 0: // of nothing that runs the total is known
		return paintIf(l.Color, b.Color, Fit(before+"  "+b.Numbers, l.Width))
	case t.bar == 0 && known:
		return paintIf(l.Color, b.Color, Fit(fmt.Sprintf("%s %s %3d%%  %s  %s", b.Glyph, b.Name, b.Percent, b.Numbers, b.State), l.Width))
	case t.bar == 0:
		return paintIf(l.Color, b.Color, Fit(fmt.Sprintf("%s %s  %s  %s", b.Glyph, b.Name, b.Numbers, b.State), l.Width))
	case !known:
		gap := strings.Repeat(" ", t.bar+2+1+t.percent)
		return paintIf(l.Color, b.Color, before) + "  " + gap + "  " + b.Numbers
	}
	full := t.bar * min(b.Percent, 100) / 100 // what is done may be more than was to be
	drawn := "[" + strings.Repeat("█", full) + strings.Repeat("░", t.bar-full) + "]"
	return paintIf(l.Color, b.Color, before+"  "+drawn) + fmt.Sprintf(" %3d%%  %s", b.Percent, b.Numbers)
}

package main

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

// look is what lines are made for.
type look struct {
	width  int // columns that a line may have
	height int // lines that there may be
	color  bool
}

// bars draws what runs: two lines for each bar or, when there is no room for that, one.
// A bar for which there is no line left is counted in the last one.
func bars(all []Bar, l look) []string {
	if l.width < 1 || l.height < 1 {
		return nil
	}
	var lines []string
	tight := 2*len(all) > l.height
	t := tableOf(all, l, tight)
	for i, b := range all {
		if len(lines) == l.height-1 && i < len(all)-1 {
			return append(lines, fit(fmt.Sprintf("  and %d more", len(all)-i), l.width))
		}
		lines = append(lines, t.line(b, l))
		if below := t.below(b); below != "" && !tight {
			lines = append(lines, paintIf(l.color, dim, fit("  "+below, l.width)))
		}
	}
	return lines
}

// table is how wide the columns of all bars are. Without a column of their own, states stand
// in the lines below.
type table struct{ name, state, percent, bar int }

func tableOf(all []Bar, l look, tight bool) table {
	var t table
	rest := 0
	for _, b := range all {
		t.name, t.state = max(t.name, columnsOf(b.Name)), max(t.state, columnsOf(b.State))
		if b.Percent >= 0 {
			t.percent = len("100%")
		}
		rest = max(rest, columnsOf(b.Numbers), columnsOf(b.Widest))
	}
	if t.percent == 0 {
		return t
	}
	const between = 9 // the glyph, the brackets and the spaces
	room := l.width - t.name - t.percent - rest - between
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
		return strings.Join(nonEmpty(b.State, b.Below), ", ")
	}
	return b.Below
}

// line is the line that says how far a step is.
func (t table) line(b Bar, l look) string {
	before := fmt.Sprintf("%s %s", b.Glyph, padded(b.Name, t.name))
	if t.state > 0 {
		before += "  " + padded(b.State, t.state)
	}
	known := b.Percent >= 0
	switch {
	case t.percent == 0: // of nothing that runs the total is known
		return paintIf(l.color, b.Color, fit(before+"  "+b.Numbers, l.width))
	case t.bar == 0 && known:
		return paintIf(l.color, b.Color, fit(fmt.Sprintf("%s %s %3d%%  %s  %s", b.Glyph, b.Name, b.Percent, b.Numbers, b.State), l.width))
	case t.bar == 0:
		return paintIf(l.color, b.Color, fit(fmt.Sprintf("%s %s  %s  %s", b.Glyph, b.Name, b.Numbers, b.State), l.width))
	case !known:
		gap := strings.Repeat(" ", t.bar+2+1+t.percent)
		return paintIf(l.color, b.Color, before) + "  " + gap + "  " + b.Numbers
	}
	full := t.bar * b.Percent / 100
	drawn := "[" + strings.Repeat("█", full) + strings.Repeat("░", t.bar-full) + "]"
	return paintIf(l.color, b.Color, before+"  "+drawn) + fmt.Sprintf(" %3d%%  %s", b.Percent, b.Numbers)
}

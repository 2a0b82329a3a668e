package terminal

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
)

// Line is a line of what a command says while it works.
type Line struct {
	Color Color  // of the whole line
	Glyph string // that it begins with; empty: none
	Text  string // that is shown on one line, whatever is in it
	Of    string // the program or step that has written Text, which then keeps its colors; empty: golive itself
}

// Talk is what a command says while it works, line by line, above what it draws at the bottom
// of the terminal: see [Streams.Talk]. It is safe for concurrent use.
type Talk struct {
	mu     sync.Mutex
	w      io.Writer
	color  bool
	width  int         // of the names before lines of programs
	bottom *screen     // on which bars are drawn; nil: they are not
	plain  atomic.Bool // they are not any more
}

// Say says a sentence behind a glyph.
func (t *Talk) Say(color Color, glyph, format string, args ...any) {
	t.Tell(Line{Color: color, Glyph: glyph, Text: fmt.Sprintf(format, args...)})
}

// Tell shows lines, with nothing of others between them.
func (t *Talk) Tell(lines ...Line) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range lines {
		t.show(l)
	}
}

func (t *Talk) show(l Line) {
	switch {
	case l.Of != "":
		text := Bare(l.Text)
		if t.color {
			text = Colored(l.Text)
		}
		fmt.Fprintf(t.w, "%s %s\n", paintIf(t.color, cyan, fmt.Sprintf("%-*s |", t.width, l.Of)), text)
	case l.Glyph != "":
		fmt.Fprintln(t.w, paintIf(t.color, l.Color, l.Glyph+" "+OneLine(l.Text)))
	default:
		fmt.Fprintln(t.w, paintIf(t.color, l.Color, OneLine(l.Text)))
	}
}

// Output shows a line of a program behind its name.
func (t *Talk) Output(name, line string) { t.Tell(Line{Of: name, Text: line}) }

// Widen makes room for a name before the lines of programs.
func (t *Talk) Widen(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.width = max(t.width, len(name))
}

// Draws reports whether bars are drawn.
func (t *Talk) Draws() bool { return t.bottom != nil && !t.plain.Load() }

// Draw draws bars at the bottom of the terminal, in the place of those before.
func (t *Talk) Draw(all []Bar) {
	if !t.Draws() {
		return
	}
	width, height := t.bottom.look()
	t.bottom.draw(Bars(all, Look{Width: width, Height: height, Color: t.color}))
}

// EndDrawing takes away what is drawn, as far as that can be done, and draws nothing more: for
// when drawing has failed.
func (t *Talk) EndDrawing() {
	if t.bottom == nil || t.plain.Swap(true) {
		return
	}
	defer t.bottom.forget()
	defer func() { _ = recover() }() // what has failed may fail again
	t.bottom.draw(nil)
}

package terminal

import (
	"io"
	"os"
	"regexp"
	"strings"
	"sync"

	"golang.org/x/term"
)

// screen is a terminal with lines at its bottom that are drawn in place; what is written
// goes above them. It is safe for concurrent use.
type screen struct {
	mu    sync.Mutex
	w     io.Writer
	size  func() (width, height int)
	drawn []string // that stand at the bottom, the cursor on the line below
	width int      // of the terminal when they were drawn
	open  bool     // what was written last has no line break at its end: nothing can be drawn

	question string // that stands at the bottom instead, the cursor behind it; empty: none
}

// screenOn is a screen on a file that is a terminal whose lines can be drawn anew; else nil.
func screenOn(f *os.File, getenv func(string) string) *screen {
	if !term.IsTerminal(int(f.Fd())) || getenv("NO_COLOR") != "" || getenv("TERM") == "dumb" {
		return nil
	}
	return &screen{w: f, size: func() (int, int) {
		width, height, err := term.GetSize(int(f.Fd()))
		if err != nil || width <= 0 || height <= 0 {
			return 80, 24
		}
		return width, height
	}}
}

// Write writes above the lines at the bottom.
func (s *screen) Write(p []byte) (int, error) { return s.beside(s.w, p) }

// beside writes to w, which is the same terminal.
func (s *screen) beside(w io.Writer, p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.drawn) == 0 && s.question == "" {
		return w.Write(p)
	}
	below := s.question
	if below == "" {
		below = joined(s.drawn)
	}
	if w == s.w && len(p) > 0 && p[len(p)-1] == '\n' && !s.open { // the common case, at once
		_, err := io.WriteString(w, s.up()+"\x1b[J"+string(p)+below)
		return len(p), err
	}
	if !s.open {
		if _, err := io.WriteString(s.w, s.up()+"\x1b[J"); err != nil {
			return 0, err
		}
	}
	n, err := w.Write(p)
	if s.open = n == 0 || p[n-1] != '\n'; err != nil || s.open {
		return n, err
	}
	_, err = io.WriteString(s.w, below)
	return n, err
}

// draw replaces the lines at the bottom. None ends in a line break.
func (s *screen) draw(lines []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open || s.question != "" || len(lines) == 0 && len(s.drawn) == 0 {
		return
	}
	var b strings.Builder
	b.WriteString(s.up())
	if width, _ := s.size(); width != s.width { // it has wrapped lines, and takes two rows for one until they are erased
		b.WriteString("\x1b[J")
		s.width = width
	}
	for _, line := range lines {
		b.WriteString(line + "\x1b[K\n")
	}
	b.WriteString("\x1b[J")
	_, _ = io.WriteString(s.w, b.String()) // a terminal that is gone needs no lines
	s.drawn = lines
}

// forget takes what was drawn for text that stands above.
func (s *screen) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drawn = nil
}

// ask puts a question at the bottom, instead of what is drawn there, and leaves the cursor
// behind it. What is typed stands there only until something is written above.
func (s *screen) ask(question string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := ""
	switch {
	case s.open:
		before = "\n"
	case len(s.drawn) > 0:
		before = s.up() + "\x1b[J"
	}
	width, _ := s.size()
	s.drawn, s.open, s.question = nil, false, Fit(question, width-1) // on one row
	_, _ = io.WriteString(s.w, before+s.question)                    // a terminal that is gone needs no questions
}

// asked ends the question: it goes away, unless the line was ended behind it.
func (s *screen) asked() {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := "\r"
	if s.open {
		before = "\n"
	}
	s.question, s.open = "", false
	_, _ = io.WriteString(s.w, before+"\x1b[J")
}

// look is the room that there is for lines, one column and two lines less than the terminal
// has: so none is wrapped, and what is written above stays in sight.
func (s *screen) look() (width, height int) {
	width, height = s.size()
	return width - 1, height - 2
}

// up moves the cursor to where the drawn lines begin. A terminal that has become narrower
// has wrapped them.
func (s *screen) up() string {
	width, _ := s.size()
	rows := 0
	for _, line := range s.drawn {
		rows += max(1, (Width(escapes.ReplaceAllString(line, ""))+width-1)/width)
	}
	if rows == 0 {
		return "\r"
	}
	return "\r" + strings.Repeat("\x1b[A", rows)
}

// escapes are what colors text.
var escapes = regexp.MustCompile(`\x1b\[[0-9;]*m`)

func joined(lines []string) string { return strings.Join(lines, "\n") + "\n" }

// outlet is another way to the terminal of a screen.
type outlet struct {
	screen *screen
	w      io.Writer
}

func (o outlet) Write(p []byte) (int, error) { return o.screen.beside(o.w, p) }

package terminal

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// paper shows what a terminal shows that has been sent to it; it knows as much of terminals
// as a screen uses.
type paper struct {
	width int
	rows  []string
	y, x  int
}

func (p *paper) send(text string) {
	for len(text) > 0 {
		switch {
		case text[0] == '\r':
			p.x, text = 0, text[1:]
		case text[0] == '\n':
			p.y, text = p.y+1, text[1:]
		case strings.HasPrefix(text, "\x1b[A"):
			p.y, text = max(0, p.y-1), text[3:]
		case strings.HasPrefix(text, "\x1b[J"):
			p.cut()
			p.rows, text = p.rows[:min(len(p.rows), p.y+1)], text[3:]
		case strings.HasPrefix(text, "\x1b[K"):
			p.cut()
			text = text[3:]
		case text[0] == '\x1b':
			text = text[strings.IndexByte(text, 'm')+1:]
		default:
			r := []rune(text)[0]
			p.put(r)
			text = text[len(string(r)):]
		}
	}
}

func (p *paper) row() *string {
	for len(p.rows) <= p.y {
		p.rows = append(p.rows, "")
	}
	return &p.rows[p.y]
}

func (p *paper) cut() {
	row := p.row()
	*row = string([]rune(*row)[:min(p.x, len([]rune(*row)))])
}

func (p *paper) put(r rune) {
	if p.x == p.width {
		p.y, p.x = p.y+1, 0
	}
	row := p.row()
	all := []rune(*row)
	for len(all) <= p.x {
		all = append(all, ' ')
	}
	all[p.x] = r
	*row = string(all)
	p.x++
}

func (p *paper) text() string { return strings.TrimRight(strings.Join(p.rows, "\n"), "\n ") + "\n" }

// pseudoTerminal is a terminal with nobody before it: what is written to it comes out of
// the other end.
func pseudoTerminal(t *testing.T) (terminal, other *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("there are no pseudo-terminals here: %v", err)
	}
	other = os.NewFile(uintptr(fd), "/dev/ptmx")
	t.Cleanup(func() { other.Close() })
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Skipf("there are no pseudo-terminals here: %v", err)
	}
	t.Cleanup(func() { terminal.Close() })
	return terminal, other
}

func resize(t *testing.T, terminal *os.File, width, height uint16) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: width, Row: height}); err != nil {
		t.Fatal(err)
	}
}

// threeBars are of two scripts that run, and one that is throttled.
func threeBars() []Bar {
	return []Bar{
		{Name: "todo-search/online", Glyph: "▶", State: "running", Color: Green, Percent: 42,
			Numbers: "512 of 1204  5s left", Widest: "1204 of 1204  59m9s left", Below: "128/s now, 128/s on average"},
		{Name: "billing/online", Glyph: "▶", State: "running", Color: Green, Percent: 8,
			Numbers: "1,111,050 of 12,345,678  15m10s left", Widest: "12,345,678 of 12,345,678  59m9s left",
			Below: "12,500/s now, 12,000/s on average, limit 12,500/s, 3 put aside, invoices of 2024"},
		{Name: "ledger/online", Glyph: "▼", State: "throttled", Color: Yellow, Percent: 1,
			Numbers: "1000 of 100,000  1h6m left", Widest: "100,000 of 100,000  59m9s left",
			Below: "25/s now, 24/s on average, 1 put aside, throttled: replica lag 12 s"},
	}
}

func TestTalkScrollsAboveTheBars(t *testing.T) {
	terminal, other := pseudoTerminal(t)
	resize(t, terminal, 90, 12)
	getenv := func(key string) string { return map[string]string{"TERM": "xterm"}[key] }
	bottom := screenOn(terminal, getenv)
	if bottom == nil {
		t.Fatal("it is a terminal")
	}
	var got bytes.Buffer
	var reading sync.WaitGroup
	reading.Go(func() { // until the terminal's last writer is gone
		part := make([]byte, 4096)
		for {
			n, err := other.Read(part)
			got.Write(part[:n])
			if err != nil {
				return
			}
		}
	})
	s := Streams{Err: bottom, Color: true, bottom: bottom}.Talk(true)
	s.Say(Plain, "→", "deployment-search-1.0.0-online-start")
	s.Draw(threeBars()[:1])
	s.Say(Plain, "→", "deployment-billing-1.0.0-online-start")
	s.Draw(threeBars())
	s.Output("search setup", "a line of a program")
	fmt.Fprint(outlet{bottom, terminal}, "the ans")
	s.Draw(threeBars()) // not in the middle of a line
	fmt.Fprintln(outlet{bottom, terminal}, "wer of a command")
	s.Draw(threeBars()[1:])
	s.Say(Green, "←", "deployment-search-1.0.0-online-done (4s, 1204 items, 310/s on average)")
	terminal.Close()
	reading.Wait()

	p := &paper{width: 90}
	p.send(got.String())
	golden(t, "screen.txt", []byte(p.text()))
	if rest := bottom.drawn; len(rest) != 4 {
		t.Errorf("%d lines are drawn", len(rest))
	}
}

func TestScreenThatHasBecomeNarrower(t *testing.T) {
	width := 60
	var out bytes.Buffer
	s := &screen{w: &out, size: func() (int, int) { return width, 20 }}
	s.draw([]string{strings.Repeat("x", 59), "y"})
	width = 20 // now the first line takes three rows
	out.Reset()
	s.draw(nil)
	if got, want := strings.Count(out.String(), "\x1b[A"), 4; got != want {
		t.Errorf("the cursor goes up %d rows, want %d", got, want)
	}
}

func TestPlainTerminals(t *testing.T) {
	terminal, _ := pseudoTerminal(t)
	for _, env := range []map[string]string{{"TERM": "dumb"}, {"TERM": "xterm", "NO_COLOR": "1"}} {
		if screenOn(terminal, func(key string) string { return env[key] }) != nil {
			t.Errorf("with %v lines are drawn", env)
		}
	}
	file, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if screenOn(file, func(string) string { return "" }) != nil {
		t.Error("on a file lines are drawn")
	}
}

func TestAQuestionStaysBelowWhatIsWritten(t *testing.T) {
	var out bytes.Buffer
	s := &screen{w: &out, size: func() (int, int) { return 60, 20 }}
	s.draw([]string{"a bar"})
	s.ask("sure? [y/n] ")
	s.draw([]string{"a bar"}) // not while somebody is asked
	_, _ = s.Write([]byte("a line\n"))
	_, _ = s.Write([]byte("half"))
	_, _ = s.Write([]byte(" a line\n"))
	p := &paper{width: 60}
	p.send(strings.ReplaceAll(out.String(), "\n", "\r\n"))
	if got, want := p.text(), "a line\nhalf a line\nsure? [y/n]\n"; got != want {
		t.Errorf("it shows\n%s", got)
	}
	s.asked()
	_, _ = s.Write([]byte("bob has answered\n"))
	s.draw([]string{"a bar"})
	p = &paper{width: 60}
	p.send(strings.ReplaceAll(out.String(), "\n", "\r\n"))
	if got, want := p.text(), "a line\nhalf a line\nbob has answered\na bar\n"; got != want {
		t.Errorf("it shows\n%s", got)
	}
}

package features

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"
)

// envBoard tells a program where the board of its scenario is.
const envBoard = "FEATURES_BOARD"

// board is where the programs of a scenario report. A program keeps a line to it for
// as long as it lives, so that its end is noticed however it comes; a script asks it,
// each time it runs, what to do. It is safe for concurrent use.
type board struct {
	listener net.Listener
	serving  sync.WaitGroup

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced with every change
	programs []*program
	runs     []string           // names of the scripts that have begun, in order
	runners  []int              // processes in which they have begun
	stopped  map[string]int     // by script: how many of its runs were told to stop
	orders   map[string][]order // by script: for its next runs, the last for all that follow
	released map[string]int     // by script: how many of its runs need no longer wait for the scenario's word
	lines    map[net.Conn]bool  // that are open

	calls []toolCall      // of programs that steps of releases name, in order
	at    map[string]int  // by program: how many of it run
	most  map[string]int  // by program: how many of it ran at the same time
	free  map[string]bool // by program, or by program and host: it need no longer wait for the scenario's word
}

// program is one that has reported.
type program struct {
	hello
	line  net.Conn
	ended time.Time // zero: it runs
}

// hello is what a program says first.
type hello struct {
	Role    string `json:"role"`
	Name    string `json:"name"` // of the service, or of the app
	Version string `json:"version"`
	PID     int    `json:"pid"`
	Script  string `json:"script,omitempty"`  // this is no program that reports but a script that asks
	Stopped string `json:"stopped,omitempty"` // nor that, but a script that was told to stop

	Tool string `json:"tool,omitempty"` // nor that, but a program that a step of a release calls
	Word string `json:"word,omitempty"` // with which it is called
	Host string `json:"host,omitempty"` // on which it runs
}

// order is what a script shall do.
type order struct {
	Print string `json:"print,omitempty"`
	Log   string `json:"log,omitempty"`
	Items int64  `json:"items,omitempty"` // that it tells to have dealt with
	Total int64  `json:"total,omitempty"` // of so many; 0: of those
	Note  string `json:"note,omitempty"`
	Wait  bool   `json:"wait,omitempty"` // for the scenario's word
	Do    string `json:"do,omitempty"`   // fail, fail for good or panic; empty: succeed
	Text  string `json:"text,omitempty"` // of the failure

	Writes  string `json:"writes,omitempty"`  // a message of this subject, that it stores
	Removes string `json:"removes,omitempty"` // messages of this subject, that it removes from the stream that the subject begins with

	Rate  float64 `json:"rate,omitempty"`  // records a second that it deals with, of those who work through records
	Aside int64   `json:"aside,omitempty"` // records that it puts aside, because of the text
	Held  string  `json:"held,omitempty"`  // why it is not as fast as it could be
	Check string  `json:"check,omitempty"` // before or after the work a check fails, with the text
}

func startBoard() (*board, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start the board: %w", err)
	}
	b := &board{
		listener: l, changed: make(chan struct{}),
		stopped: make(map[string]int), orders: make(map[string][]order), released: make(map[string]int), lines: make(map[net.Conn]bool),
		at: make(map[string]int), most: make(map[string]int), free: make(map[string]bool),
	}
	b.serving.Go(b.accept)
	return b, nil
}

func (b *board) address() string { return b.listener.Addr().String() }

func (b *board) accept() {
	for {
		line, err := b.listener.Accept()
		if err != nil {
			return // it was closed
		}
		b.change(func() { b.lines[line] = true })
		b.serving.Go(func() {
			b.serve(line)
			_ = line.Close() // the other side may have closed it
			b.change(func() { delete(b.lines, line) })
		})
	}
}

func (b *board) serve(line net.Conn) {
	in := bufio.NewReader(line)
	text, err := in.ReadBytes('\n')
	var h hello
	if err != nil || json.Unmarshal(text, &h) != nil {
		return // it has ended before it had said who it is
	}
	if h.Tool != "" {
		b.instructTool(h, line)
		return
	}
	if h.Script != "" {
		b.instruct(h.Script, h.PID, line)
		return
	}
	if h.Stopped != "" {
		b.change(func() { b.stopped[h.Stopped]++ })
		return
	}
	p := &program{hello: h, line: line}
	b.change(func() { b.programs = append(b.programs, p) })
	fmt.Fprintln(line, "welcome")
	_, _ = in.ReadByte() // a program says nothing more: this is its end
	b.change(func() { p.ended = time.Now() })
}

// instruct counts the run of a script and tells it what to do, and to go on when it is
// to wait for that.
func (b *board) instruct(script string, runner int, line net.Conn) {
	var o order
	run := 0
	b.change(func() {
		b.runs, b.runners = append(b.runs, script), append(b.runners, runner)
		run = count(b.runs, script)
		if all := b.orders[script]; len(all) > 0 {
			o, b.orders[script] = all[0], all[min(1, len(all)-1):]
		}
	})
	gone := make(chan struct{})
	b.serving.Go(func() {
		defer close(gone)
		_, _ = line.Read(make([]byte, 1)) // it says nothing more
	})
	out := json.NewEncoder(line)
	_ = out.Encode(o) // who has gone needs no answer
	if o.Wait && b.awaitWord(script, run, gone) {
		_ = out.Encode(o)
	}
	<-gone
}

// ranIn lists the processes in which a script has begun. The caller holds mu.
func (b *board) ranIn(script string) []int {
	var all []int
	for i, run := range b.runs {
		if run == script {
			all = append(all, b.runners[i])
		}
	}
	return all
}

func count(all []string, one string) int {
	n := 0
	for _, other := range all {
		if other == one {
			n++
		}
	}
	return n
}

// awaitWord blocks until a run of a script may go on; false when it has gone before.
func (b *board) awaitWord(script string, run int, gone <-chan struct{}) bool {
	for {
		b.mu.Lock()
		released, changed := b.released[script], b.changed
		b.mu.Unlock()
		if released >= run {
			return true
		}
		select {
		case <-changed:
		case <-gone:
			return false
		}
	}
}

// change does what f does to the board, and tells who waits.
func (b *board) change(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
	close(b.changed)
	b.changed = make(chan struct{})
}

// await blocks until the board is as it should be, which is what look says when it
// returns an empty text; else its text says what is missing. Look is called with the
// board locked.
func (b *board) await(ctx context.Context, look func() string) error {
	for {
		b.mu.Lock()
		missing, changed := look(), b.changed
		b.mu.Unlock()
		if missing == "" {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%s (waited until %w)", missing, context.Cause(ctx))
		}
	}
}

// alive lists the programs that run. The caller holds mu.
func (b *board) alive() []string {
	var names []string
	for _, p := range b.programs {
		if p.ended.IsZero() {
			names = append(names, fmt.Sprintf("%s of %s %s (process %d)", p.Role, p.Name, p.Version, p.PID))
		}
	}
	return names
}

// awaitEmpty blocks until all programs have ended.
func (b *board) awaitEmpty(ctx context.Context) error {
	return b.await(ctx, func() string {
		if alive := b.alive(); len(alive) > 0 {
			return fmt.Sprintf("still there: %q", alive)
		}
		return ""
	})
}

// find is a program that runs; nil when there is none. The caller holds mu.
func (b *board) find(role, name, version string) *program {
	i := slices.IndexFunc(b.programs, func(p *program) bool {
		return p.ended.IsZero() && p.Role == role && p.Name == name && p.Version == version
	})
	if i < 0 {
		return nil
	}
	return b.programs[i]
}

// stop ends all programs that still run, and the board.
func (b *board) stop() error {
	b.mu.Lock()
	for _, p := range b.programs {
		if p.ended.IsZero() {
			_ = syscall.Kill(p.PID, syscall.SIGKILL) // it may have ended just now
		}
	}
	b.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := b.awaitEmpty(ctx)
	err = errors.Join(err, b.listener.Close())
	b.change(func() {
		for line := range b.lines {
			_ = line.Close() // it may have been closed
		}
	})
	b.serving.Wait()
	return err
}

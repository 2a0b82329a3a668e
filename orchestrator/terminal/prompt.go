package terminal

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
)

// Keyboard is where a person answers, line by line. It reads when it is asked for a line,
// and is safe for concurrent use.
type Keyboard struct {
	in *bufio.Reader

	mu      sync.Mutex
	reading bool
	waiting chan typed // of whom waits for a line; nil: nobody does, and a line is for nobody
}

// typed is a line, or why there is none.
type typed struct {
	text string
	err  error
}

// NewKeyboard is a keyboard whose lines are read from in.
func NewKeyboard(in io.Reader) *Keyboard { return &Keyboard{in: bufio.NewReader(in)} }

// expect has the next line that is typed be for the caller, who looks at what it gives. Until
// then, or until a later expect, what is typed waits for nobody else.
func (k *Keyboard) expect() <-chan typed {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.waiting = make(chan typed, 1)
	if !k.reading {
		k.reading = true
		go k.read()
	}
	return k.waiting
}

// line is the line that was expected, without the spaces around it. Who stops waiting when ctx
// ends leaves a reader behind, since nothing else ends a read from a terminal: the line that it
// gets is for whoever waits then.
func (k *Keyboard) line(ctx context.Context, expected <-chan typed) (string, error) {
	select {
	case t := <-expected:
		return t.text, t.err
	case <-ctx.Done():
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.waiting == expected {
		k.waiting = nil
	}
	return "", ctx.Err()
}

func (k *Keyboard) read() {
	text, err := k.in.ReadString('\n')
	if text != "" {
		err = nil // the last line may have no end
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.reading = false; k.waiting != nil {
		k.waiting <- typed{strings.TrimSpace(text), err}
		k.waiting = nil
	}
}

// Prompter asks the person at the terminal, one thing at a time.
type Prompter struct {
	keys   *Keyboard
	w      io.Writer // of the terminal
	screen *screen   // that it is; nil: a plain one
}

// Ask asks for a line, and gives it without the spaces around it. When ctx ends first, the
// question goes away, and the error is that of ctx; at the end of what is typed it is io.EOF.
func (p *Prompter) Ask(ctx context.Context, question string) (string, error) {
	expected := p.keys.expect() // before the question can be seen, so that no answer is lost
	if p.screen == nil {        // what is written meanwhile shall not stand behind it
		fmt.Fprintln(p.w, strings.TrimRight(question, " "))
		return p.keys.line(ctx, expected)
	}
	p.screen.ask(question)
	defer p.screen.asked()
	return p.keys.line(ctx, expected)
}

// IsYes reports whether an answer is yes.
func IsYes(answer string) bool {
	return strings.EqualFold(answer, "y") || strings.EqualFold(answer, "yes")
}

// IsNo reports whether an answer is no.
func IsNo(answer string) bool {
	return strings.EqualFold(answer, "n") || strings.EqualFold(answer, "no")
}

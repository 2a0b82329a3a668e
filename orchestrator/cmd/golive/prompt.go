package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
)

// keyboard is where a person answers, line by line. It reads when it is asked for a line,
// and is safe for concurrent use.
type keyboard struct {
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

func newKeyboard(in io.Reader) *keyboard { return &keyboard{in: bufio.NewReader(in)} }

// line is the next line that is typed, without the spaces around it. Who stops waiting when
// ctx ends leaves a reader behind, since nothing else ends a read from a terminal: the line
// that it gets is for whoever waits then.
func (k *keyboard) line(ctx context.Context) (string, error) {
	waiting := make(chan typed, 1)
	k.mu.Lock()
	k.waiting = waiting
	if !k.reading {
		k.reading = true
		go k.read()
	}
	k.mu.Unlock()
	select {
	case t := <-waiting:
		return t.text, t.err
	case <-ctx.Done():
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.waiting == waiting {
		k.waiting = nil
	}
	return "", ctx.Err()
}

func (k *keyboard) read() {
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

// prompter asks the person at the terminal.
type prompter struct {
	keys   *keyboard
	w      io.Writer // of the terminal
	screen *screen   // that it is; nil: a plain one
}

// newPrompter asks on the terminal that w writes to; screen is that terminal, and nil if it is
// a plain one.
func newPrompter(keys *keyboard, w io.Writer, screen *screen) *prompter {
	return &prompter{keys: keys, w: w, screen: screen}
}

// ask asks for a line. When ctx ends first, the question goes away.
func (p *prompter) ask(ctx context.Context, question string) (string, error) {
	if p.screen == nil { // what is written meanwhile shall not stand behind it
		fmt.Fprintln(p.w, strings.TrimRight(question, " "))
		return p.keys.line(ctx)
	}
	p.screen.ask(question)
	defer p.screen.asked()
	return p.keys.line(ctx)
}

// isYes reports whether an answer is yes.
func isYes(answer string) bool {
	return strings.EqualFold(answer, "y") || strings.EqualFold(answer, "yes")
}

// isNo reports whether an answer is no.
func isNo(answer string) bool {
	return strings.EqualFold(answer, "n") || strings.EqualFold(answer, "no")
}

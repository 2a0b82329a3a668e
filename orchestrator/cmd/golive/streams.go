package main

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// streams is what a command reads from and writes to.
type streams struct {
	out, err io.Writer
	color    bool      // of err
	bottom   *screen   // of the terminal that err is; nil: it is none, or a plain one
	in       io.Reader // what a person types who sees err; nil: nobody is there to be asked
	dir      string
	getenv   func(string) string
}

// standard is the process's own streams.
func standard() streams {
	dir, err := os.Getwd()
	if err != nil {
		dir = "."
	}
	s := streams{out: os.Stdout, err: os.Stderr, dir: dir, getenv: os.Getenv, bottom: screenOn(os.Stderr, os.Getenv)}
	if term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stderr.Fd())) && inForeground(os.Stdin) {
		s.in = os.Stdin
	}
	if s.bottom == nil {
		return s
	}
	s.color, s.err = true, s.bottom
	if term.IsTerminal(int(os.Stdout.Fd())) {
		s.out = outlet{s.bottom, os.Stdout}
	}
	return s
}

// inForeground reports whether this process may read from its terminal: one that a shell
// runs in the background is stopped when it tries.
func inForeground(terminal *os.File) bool {
	group, err := unix.IoctlGetInt(int(terminal.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

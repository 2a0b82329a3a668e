package terminal

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// Streams is what a command reads from and writes to.
type Streams struct {
	Out, Err io.Writer
	Color    bool      // what goes to Err is colored
	In       io.Reader // what a person types who sees Err; nil: nobody is there to be asked
	Dir      string    // where it was called
	Getenv   func(string) string

	bottom *screen // of the terminal that Err is; nil: it is none, or a plain one
}

// Standard is the process's own streams. Where Err is a terminal whose lines can be drawn anew,
// what is written to Out and Err goes above what is drawn there.
func Standard() Streams {
	dir, err := os.Getwd()
	if err != nil {
		dir = "."
	}
	s := Streams{Out: os.Stdout, Err: os.Stderr, Dir: dir, Getenv: os.Getenv, bottom: screenOn(os.Stderr, os.Getenv)}
	if term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stderr.Fd())) && inForeground(os.Stdin) {
		s.In = os.Stdin
	}
	if s.bottom == nil {
		return s
	}
	s.Color, s.Err = true, s.bottom
	if term.IsTerminal(int(os.Stdout.Fd())) {
		s.Out = outlet{s.bottom, os.Stdout}
	}
	return s
}

// inForeground reports whether this process may read from its terminal: one that a shell
// runs in the background is stopped when it tries.
func inForeground(terminal *os.File) bool {
	group, err := unix.IoctlGetInt(int(terminal.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// Talk is what is said on Err. With draw, bars are drawn at its bottom, if it can do that.
func (s Streams) Talk(draw bool) *Talk {
	t := &Talk{w: s.Err, color: s.Color}
	if draw {
		t.bottom = s.bottom
	}
	return t
}

// Prompter asks on Err, and takes answers from keys, which read In.
func (s Streams) Prompter(keys *Keyboard) *Prompter {
	return &Prompter{keys: keys, w: s.Err, screen: s.bottom}
}

// Unread reports whether f is a pipe or a socket whose other end is closed, so that nobody reads
// what is written into it.
func Unread(f *os.File) bool {
	raw, err := f.SyscallConn()
	if err != nil {
		return false
	}
	closed := false
	err = raw.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd)}}
		n, err := unix.Poll(fds, 0)
		closed = err == nil && n > 0 && fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
	})
	return err == nil && closed
}

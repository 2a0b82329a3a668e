//go:build linux || darwin

package process

import (
	"fmt"
	"os"
	"syscall"
)

// ExitError says how a program ended that was not stopped and did not exit with 0.
type ExitError struct {
	Name   string         // the command's name
	Code   int            // the exit code; -1 if a signal ended it
	Signal syscall.Signal // the signal that ended it; 0 if it exited
	Tail   []string       // its last lines of output, at most [TailLines]; not in the error's text
}

// Error tells how the program ended, in one line.
func (e *ExitError) Error() string {
	if e.Signal != 0 {
		return fmt.Sprintf("%s was ended by a signal: %s", e.Name, e.Signal)
	}
	return fmt.Sprintf("%s exited with code %d", e.Name, e.Code)
}

// exitError is the error of a program that has ended as state says, its tail still
// to come; err is what waiting for it gave.
func exitError(name string, state *os.ProcessState, err error) error {
	if err == nil {
		return nil
	}
	if state == nil {
		return fmt.Errorf("wait for %s: %w", name, err)
	}
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return &ExitError{Name: name, Code: -1, Signal: status.Signal()}
	}
	return &ExitError{Name: name, Code: state.ExitCode()}
}

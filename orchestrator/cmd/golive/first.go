package main

import (
	"errors"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// isFirst reports whether this is the first process of a container. It inherits all processes
// whose parents have ended, and who does not take notice of their ends keeps each of them, as
// a zombie, in the table of processes.
func isFirst() bool { return os.Getpid() == 1 }

// beFirst has a child be golive, passes signals on to it and takes notice of the end of every
// other child, until that one has ended; it gives the exit code. A process that waits for
// any child can start no others as package os does, which waits for its own: hence the two. The
// error says why there is no such child.
func beFirst() (int, error) {
	program, err := os.Executable()
	if err != nil {
		return 0, err
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, passedOn()...)
	group := &syscall.SysProcAttr{Setpgid: true, Foreground: hasTerminal()} // so that Ctrl-C reaches it once
	child, err := os.StartProcess(program, os.Args, &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}, Sys: group})
	if err != nil {
		signal.Stop(signals)
		return 0, err
	}
	go func() { // ends with the process
		for s := range signals {
			_ = syscall.Kill(child.Pid, s.(syscall.Signal)) // it may just have ended
		}
	}()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil: // it cannot be: there is the child to wait for
			return exitFailed, nil
		case pid == child.Pid && status.Signaled():
			return 128 + int(status.Signal()), nil
		case pid == child.Pid:
			return status.ExitStatus(), nil
		}
	}
}

// passedOn are the signals that the child gets. One that was ignored from the beginning is
// ignored by the child, too.
func passedOn() []os.Signal {
	var all []os.Signal
	for _, s := range []os.Signal{syscall.SIGHUP, os.Interrupt, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2} {
		if !signal.Ignored(s) {
			all = append(all, s)
		}
	}
	return all
}

// hasTerminal reports whether standard input is the terminal that this process belongs to, and
// who types there means it.
func hasTerminal() bool {
	group, err := unix.IoctlGetInt(0, unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

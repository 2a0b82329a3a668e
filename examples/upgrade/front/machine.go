package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// machine is the folder of all that front ends have on a machine.
type machine string

func (m machine) pidFile() string { return filepath.Join(string(m), "run", "front.pid") }
func (m machine) logFile() string { return filepath.Join(string(m), "log", "front.log") }
func (m machine) config() string  { return filepath.Join(string(m), "etc", "shop.conf") }

const (
	startTime = 10 * time.Second
	stopTime  = 3 * time.Second // until it is killed
	lookAgain = 20 * time.Millisecond
)

// claim writes the file that says who runs, and locks it: the system lets go of the lock when
// the process ends, however it ends, so that a number in a file left behind is never taken
// for a process.
func (m machine) claim() (release func(), err error) {
	f, err := os.OpenFile(m.pidFile(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for began := time.Now(); syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil; time.Sleep(lookAgain) {
		if time.Since(began) > time.Second { // more than somebody takes who looks at it
			return nil, errors.Join(fmt.Errorf("another front end runs: %s is locked", m.pidFile()), f.Close())
		}
	}
	text := fmt.Sprintf("%d %s\n", os.Getpid(), version)
	if err := errors.Join(f.Truncate(0), writeAt(f, text)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil // and with it the lock
}

func writeAt(f *os.File, text string) error {
	_, err := f.WriteAt([]byte(text), 0)
	return err
}

// running is the front end that runs; no version if none does.
func (m machine) running() (pid int, version string) {
	f, err := os.Open(m.pidFile())
	if err != nil {
		return 0, ""
	}
	defer f.Close()
	if syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) == nil {
		return 0, "" // nobody holds it
	}
	if _, err := fmt.Fscan(bufio.NewReader(f), &pid, &version); err != nil {
		return 0, "" // it has only just begun
	}
	return pid, version
}

// start starts a front end that outlives this process, and returns once it answers.
func start(ctx context.Context, m machine, address string) error {
	if err := stop(ctx, m); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(m.logFile(), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	c := exec.Command(self, "serve")
	c.Env = append(os.Environ(), "SHOP_MACHINE="+string(m))
	c.Stdout, c.Stderr = log, log
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // golive stops what is in the group of a command
	if err := c.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() { _ = c.Wait(); close(ended) }()
	ctx, cancel := context.WithTimeoutCause(ctx, startTime, fmt.Errorf("it does not answer after %s", startTime))
	defer cancel()
	for look(ctx, "http://"+address+"/version", []string{version}) != nil {
		select {
		case <-ended:
			said, _ := os.ReadFile(m.logFile())
			return fmt.Errorf("front end %s has ended: %s", version, strings.TrimSpace(string(said)))
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), stop(context.WithoutCancel(ctx), m))
		case <-time.After(lookAgain):
		}
	}
	fmt.Printf("front end %s runs at http://%s, as process %d\n", version, address, c.Process.Pid)
	return nil
}

// stop ends the front end that runs, if one does, and returns when it is gone.
func stop(ctx context.Context, m machine) error {
	for began := time.Now(); ; {
		pid, runs := m.running()
		if runs == "" {
			return nil
		}
		signal := syscall.SIGTERM
		if time.Since(began) > stopTime {
			signal = syscall.SIGKILL
		}
		if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("stop front end %s, process %d: %w", runs, pid, err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(lookAgain):
		}
	}
}

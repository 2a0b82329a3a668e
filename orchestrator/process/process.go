//go:build linux || darwin

package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"
)

const (
	outputGrace = time.Second // for output after the program's end, if another process holds the pipe
	watchEvery  = time.Second // a look at whether what a program has left behind still runs
)

// Process is a program that was started: the leader of a process group and what
// else is in that group. Its methods are safe for concurrent use.
type Process struct {
	name  string
	grace time.Duration
	cmd   *exec.Cmd
	group group
	stdin *os.File // never written to; its end tells the program that golive has died
	out   *os.File // where the program's output is read

	read   chan struct{} // closed when all output was handed over
	exited chan struct{} // closed when the program has ended and the system has forgotten it
	done   chan struct{} // closed when both have happened
	tail   tail          // after read
	err    error         // after exited; how the program ended

	stopping event       // the first Stop has begun
	hurry    event       // there is no more time for SIGTERM
	stopped  event       // the first Stop is over
	turn     sync.Mutex  // held by the Stop that does the work
	gone     atomic.Bool // nothing of the group is left; its number must not be used again
}

// Start runs a command and returns once the program runs. It does not wait for
// anything that the program does. The owner calls [Process.Stop] in the end, even
// if the program has ended by itself.
//
// An error names the command and why it could not be started: [exec.ErrNotFound]
// if the program is not in PATH, [io/fs.ErrNotExist] if it or the folder does not
// exist, or what else the system says. Nothing runs then.
func Start(c Command) (*Process, error) {
	p, err := start(c)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.name(), err)
	}
	go p.readOutput(c.Output)
	go p.supervise()
	return p, nil
}

// start runs the program, with its ends of the pipes closed on our side.
func start(c Command) (*Process, error) {
	cmd, err := c.prepare()
	if err != nil {
		return nil, err
	}
	theirIn, stdin, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer theirIn.Close()
	out, theirOut, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, stdin.Close())
	}
	defer theirOut.Close()

	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirIn, theirOut, theirOut
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(c.explain(err), stdin.Close(), out.Close())
	}
	return newProcess(c, cmd, stdin, out), nil
}

// newProcess is the process of a command that has just been started.
func newProcess(c Command, cmd *exec.Cmd, stdin, out *os.File) *Process {
	p := &Process{
		name: c.name(), grace: c.Grace,
		cmd: cmd, group: group(cmd.Process.Pid), stdin: stdin, out: out,
		read: make(chan struct{}), exited: make(chan struct{}), done: make(chan struct{}),
		stopping: newEvent(), hurry: newEvent(), stopped: newEvent(),
	}
	if p.grace == 0 {
		p.grace = DefaultGrace
	}
	return p
}

// Pid is the number of the program's own process, and of its group.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done is closed when the program has ended and its output was handed over; Output
// is not called afterwards. If processes that it has left behind hold its output
// open, Done is closed a second after it ended, or, during a Stop, after that; what
// they write then meets a closed pipe.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err tells how the program ended: nil if it exited with 0 or was running when
// [Process.Stop] was called, else an [*ExitError]. It is nil before Done is closed.
func (p *Process) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}

// supervise waits for the program's end and then, as long as nobody stops it, for
// the end of what it has left behind.
func (p *Process) supervise() {
	if err := p.cmd.Wait(); !p.stopping.happened() {
		p.err = exitError(p.name, p.cmd.ProcessState, err)
	}
	p.releaseIfEmpty()
	close(p.exited)
	p.awaitOutput()
	if exit := new(ExitError); errors.As(p.err, &exit) {
		exit.Tail = p.tail
	}
	close(p.done)
	p.watchRest()
}

// readOutput hands over the output, until the last process that could write it has
// ended or awaitOutput cuts it short.
func (p *Process) readOutput(output func(string)) {
	eachLine(&pipe{file: p.out}, func(line string) {
		p.tail.add(line)
		if output != nil {
			output(line)
		}
	})
	p.out.Close()
	close(p.read)
}

// awaitOutput returns when the output was handed over: all that the program has
// written, and what others write within a second of its end, or of the end of a
// Stop.
func (p *Process) awaitOutput() {
	select {
	case <-p.read:
	case <-time.After(outputGrace):
	case <-p.stopping.c:
		<-p.stopped.c
		select {
		case <-p.read:
		case <-time.After(outputGrace):
		}
	}
	_ = p.out.SetReadDeadline(time.Now()) // cuts it off; an error means that it is closed, for all was read
	<-p.read
}

// watchRest notices when the last process that the program has left behind ends,
// so that a later Stop does not signal a stranger with the same number.
func (p *Process) watchRest() {
	look := time.NewTicker(watchEvery)
	defer look.Stop()
	for !p.gone.Load() {
		select {
		case <-look.C:
			p.releaseIfEmpty()
		case <-p.stopping.c:
			return
		}
	}
}

// releaseIfEmpty releases what belongs to the group if no process of it exists.
func (p *Process) releaseIfEmpty() {
	if p.group.empty() {
		p.release()
	}
}

// release lets go of the group, of which nothing is left.
func (p *Process) release() {
	p.gone.Store(true)
	p.stdin.Close()
}

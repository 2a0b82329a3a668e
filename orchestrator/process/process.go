//go:build linux || darwin

package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
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
	life  *os.File // never written to; its end tells the program that golive has died
	out   *pipe    // where the program's output is read
	kept  *record  // that the program runs; nil: nowhere

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
	theirLife, life, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer theirLife.Close()
	out, theirOut, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, life.Close())
	}
	defer theirOut.Close()

	c.connect(cmd, theirLife)
	cmd.Stdout, cmd.Stderr = theirOut, theirOut
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(c.explain(err), life.Close(), out.Close())
	}
	p := newProcess(c, cmd, life, out)
	if p.kept, err = keep(c.Records, p.name, p.group); err != nil {
		_ = p.group.signal(syscall.SIGKILL) // what could not be found again must not run
		_ = cmd.Wait()
		return nil, errors.Join(err, life.Close(), out.Close())
	}
	return p, nil
}

// newProcess is the process of a command that has just been started.
func newProcess(c Command, cmd *exec.Cmd, life, out *os.File) *Process {
	p := &Process{
		name: c.name(), grace: c.Grace,
		cmd: cmd, group: group(cmd.Process.Pid), life: life, out: &pipe{file: out},
		read: make(chan struct{}), exited: make(chan struct{}), done: make(chan struct{}),
		stopping: newEvent(), hurry: newEvent(), stopped: newEvent(),
	}
	if p.grace == 0 {
		p.grace = DefaultGrace
	}
	return p
}

// Name is how the program is called in errors.
func (p *Process) Name() string { return p.name }

// Pid is the number of the program's own process, and of its group.
func (p *Process) Pid() int { return int(p.group) }

// Rest names the programs that still run in the group, in alphabetical order, as far as
// the system shows them. Behind Done it is what the program has left behind.
func (p *Process) Rest() []string {
	if p.gone.Load() || p.group.empty() {
		return nil
	}
	var names []string
	for _, m := range p.group.alive() {
		names = append(names, m.name)
	}
	slices.Sort(names)
	return names
}

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
	if p.releaseIfEmpty(); !p.gone.Load() {
		p.kept.update()
	}
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
	eachLine(p.out, func(line string) {
		p.tail.add(line)
		if output != nil {
			output(line)
		}
	})
	p.out.file.Close()
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
	p.out.cut()
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
	if p.gone.Swap(true) {
		return
	}
	p.kept.remove()
	if p.life != nil {
		p.life.Close()
	}
}

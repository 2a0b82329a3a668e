//go:build linux || darwin

package process

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"
)

// Everything must be gone within stopTime, or, if that is later, within killGrace
// after SIGKILL.
const (
	stopTime  = 5 * time.Second
	killGrace = 2 * time.Second
)

// Pauses between looks at a group whose program has ended: from the first, twice
// as long each time, up to the longest.
const (
	firstPause   = 2 * time.Millisecond
	longestPause = 100 * time.Millisecond
)

// Stop ends every process of the program's group, those that outlived the program
// included: with SIGTERM, and after the command's grace with SIGKILL. When ctx is
// done, now or before, the grace is over at once; nothing else is skipped. Stop
// returns when all are confirmed gone, within five seconds, or within two after a
// grace of more than three. It does not wait for Done, so that Output may call it.
//
// An error says what still runs, which takes a process that the system does not
// let go of or that runs as another user. Calling Stop again, or from several
// goroutines at once, is harmless; after an error it tries SIGKILL once more.
func (p *Process) Stop(ctx context.Context) error {
	if ctx.Err() != nil {
		p.hurry.happen() // before anyone says SIGTERM
	}
	defer context.AfterFunc(ctx, p.hurry.happen)()
	p.stopping.happen()
	defer p.stopped.happen()

	p.turn.Lock()
	defer p.turn.Unlock()
	if p.gone.Load() {
		return nil
	}
	if err := p.end(); err != nil {
		return fmt.Errorf("stop %s: %w", p.name, err)
	}
	p.release()
	return nil
}

// end sends the signals and returns when the group is dead. SIGKILL is sent even
// if only zombies are seen: it does nothing to them, and takes a process that was
// forked while we looked.
func (p *Process) end() error {
	began := time.Now()
	if !p.hurry.happened() {
		_ = p.group.signal(syscall.SIGTERM) // who may not be asked may not be killed either, and that is reported
		p.awaitDead(p.grace, p.hurry.c)
	}
	p.hurry.happen() // for the Stops after this one, should it give up
	err := p.group.signal(syscall.SIGKILL)
	if p.awaitDead(max(killGrace, stopTime-time.Since(began)), nil) {
		return nil
	}
	if err == nil {
		err = errors.New("the system does not let go of it")
	}
	var pids []int
	for _, m := range p.group.alive() {
		pids = append(pids, m.Pid)
	}
	return fmt.Errorf("process group %d still runs after SIGKILL (processes %v): %w", p.group, pids, err)
}

// awaitDead waits until everything is dead, and says whether it is. It looks for
// the last time when the limit is reached, or when told to hurry.
func (p *Process) awaitDead(limit time.Duration, hurry <-chan struct{}) bool {
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	var look <-chan time.Time // nil until the program itself has ended
	exited, pause := p.exited, firstPause
	for {
		select {
		case <-exited:
			exited = nil
		case <-look:
		case <-hurry:
			return p.dead()
		case <-timeout.C:
			return p.dead()
		}
		if p.dead() {
			return true
		}
		look = time.After(pause)
		pause = min(2*pause, longestPause)
	}
}

// dead says whether the program has ended and nothing of its group runs any more.
func (p *Process) dead() bool {
	select {
	case <-p.exited:
		return p.group.dead()
	default:
		return false
	}
}

// event is something that happens once.
type event struct {
	c    chan struct{} // closed when it has happened
	once *sync.Once
}

func newEvent() event { return event{c: make(chan struct{}), once: new(sync.Once)} }

func (e event) happen() { e.once.Do(func() { close(e.c) }) }

func (e event) happened() bool {
	select {
	case <-e.c:
		return true
	default:
		return false
	}
}

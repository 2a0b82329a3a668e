package orchestrator_test

import (
	"context"
	"math/rand/v2"
	"syscall"
	"time"

	"github.com/golive-dev/golive/orchestrator/view"
	"github.com/golive-dev/golive/relay/protocol"
)

// life is how an actor lives and dies under faults: what its seed says, again and again.
type life struct {
	*actor
	rnd      *rand.Rand
	from, to time.Duration // how long it lives, unless a point is where it ends
	rest     time.Duration // at most, before its next life
	away     time.Duration // before every sixth one, on average; 0: never longer than rest
	points   []view.Point  // that it comes to its end at, in turn
	sleeps   bool          // in every other life it is stopped for longer than it takes to be taken for dead, or cut off
	cut      bool          // in every other life it is cut off
}

// lives has an actor die until ctx ends, and leaves it alive.
func (l *life) lives(ctx context.Context) error {
	for n := 0; ; n++ {
		var at view.Point
		nth := 0
		if len(l.points) > 0 {
			at, nth = l.points[n%len(l.points)], 1+l.rnd.IntN(8)
			if at == view.LedgerSaved {
				nth = 1 // it is saved once a minute, and at the end
			}
		}
		span := l.from + time.Duration(l.rnd.Int64N(int64(l.to-l.from)))
		pause := time.Duration(l.rnd.Int64N(int64(l.rest)))
		if ctx.Err() != nil {
			at = ""
		}
		p := l.alive()
		if p == nil {
			var err error
			if p, err = l.start(at, nth); err != nil {
				return err
			}
		} else {
			at = ""
		}
		if ctx.Err() != nil {
			return nil
		}
		switch {
		case n%2 == 0:
		case l.cut || l.sleeps && len(l.wires) > 0 && l.rnd.IntN(2) == 0:
			l.cutOff(ctx, span/2)
		case l.sleeps:
			l.sleep(ctx, p, span/2)
		}
		l.end(ctx, p, at, span)
		if l.away > 0 && l.rnd.IntN(6) == 0 {
			pause = l.away
		}
		if ctx.Err() == nil {
			rest(ctx, pause)
		}
	}
}

// sleep stops a process after a while, and wakes it when it has been taken for dead: what
// it had begun it goes on with then.
func (l *life) sleep(ctx context.Context, p *process, after time.Duration) {
	d := protocol.LeaseBeats*heartbeat + time.Duration(l.rnd.Int64N(int64(2*time.Second)))
	rest(ctx, after)
	if ctx.Err() != nil {
		return
	}
	_ = p.Process.Signal(syscall.SIGSTOP) // it may have ended
	rest(ctx, d)
	_ = l.wake(p) // a record that cannot be written fails the test elsewhere
	l.cast.mu.Lock()
	defer l.cast.mu.Unlock()
	l.deaths[l.Kind+", asleep"]++
}

// cutOff cuts the actor off from the bus after a while, and heals that.
func (l *life) cutOff(ctx context.Context, after time.Duration) {
	k := cut{who: l.Kind, way: cutWays()[l.rnd.IntN(len(cutWays()))], lasts: 3 * time.Second, lossy: l.rnd.IntN(2) == 0}
	if *faultsFor > time.Minute {
		k.lasts = cutTimes()[min(l.rnd.IntN(3), l.rnd.IntN(3))] // the long ones seldom
	}
	rest(ctx, after)
	if ctx.Err() != nil {
		return
	}
	heal := k.sever(l.wires)
	rest(ctx, k.lasts)
	heal()
	l.cast.mu.Lock()
	defer l.cast.mu.Unlock()
	l.deaths[l.Kind+", cut off"]++
}

// wake wakes a process that was stopped, and writes that down first: what it does in the very
// next moment it had decided on before.
func (a *actor) wake(p *process) error {
	err := a.jot(action{What: wakes, By: a.Name})
	_ = p.Process.Signal(syscall.SIGCONT) // it may have ended
	return err
}

// alive gives the life that the actor has; nil when it is dead.
func (a *actor) alive() *process {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.proc == nil {
		return nil
	}
	select {
	case <-a.proc.ended:
		return nil
	default:
		return a.proc
	}
}

// end returns when the process is dead: by itself at its point, or else by us.
func (l *life) end(ctx context.Context, p *process, at view.Point, span time.Duration) {
	over := time.NewTimer(span)
	defer over.Stop()
	var stop <-chan struct{}
	if at == view.LedgerSaved {
		stop = p.ready
	}
	for {
		select {
		case <-p.ended:
			cause := "by itself"
			switch {
			case p.killed() && at == "":
				cause = "by its program"
			case p.killed():
				cause = "at " + string(at)
			}
			l.died(l.actor, p, cause)
			return
		case <-stop: // told to end, it saves the ledger
			stop = nil
			rest(ctx, span/8)
			_ = p.Process.Signal(syscall.SIGTERM) // it may have ended
		case <-over.C:
			_ = l.disturb(kills, p) // a folder that cannot be written to fails the test elsewhere
			p.kill()
			l.died(l.actor, p, "at a random moment")
			return
		case <-ctx.Done():
			if at == "" { // it may live on
				return
			}
			p.kill()
			l.died(l.actor, p, "at the end of the faults")
			return
		}
	}
}

// rest waits, at most until ctx ends.
func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

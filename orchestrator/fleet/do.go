package fleet

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// Job is one attempt of a step that is to be done on hosts.
type Job struct {
	Rollout string
	Release rollout.Release
	Step    rollout.Step // as the journal has it: running, at this attempt, in this direction

	Tell func(waiting string)  // for which agents it waits; empty: it waits no more. May be nil
	Told func([]protocol.Host) // how the hosts stand, whenever that has changed. May be nil
}

// Do blocks until the attempt is decided, and gives every host's result, by name. The error
// is a [*FailedError] when too few hosts have succeeded, and says [rollout.ErrStale] when a
// later attempt was begun. It is harmless to break it off and to call it again.
//
// Forward, so many hosts must succeed as the step needs of all that it was given to; all of
// them are tried, unless the need can no longer be met. Backward, every host on which it was
// begun forward must, all are tried whatever comes of the others, and with none there is
// nothing to do.
func (f *Fleet) Do(ctx context.Context, j Job) ([]protocol.Host, error) {
	if j.Step.Work == nil || j.Step.Number < 1 || j.Step.Attempt < 1 || !rolloutID.MatchString(j.Rollout) {
		return nil, fmt.Errorf("step %s of rollout %q is not one that agents do", j.Step.ID, j.Rollout)
	}
	ctx, cancel := context.WithCancel(ctx)
	d := &execution{Fleet: f, Job: j, asked: make(map[string]*asked), answers: make(chan answer)}
	defer d.asking.Wait()
	defer cancel()
	wake := f.watch(ctx, j, &d.asking)
	tick := time.NewTicker(LookEvery)
	defer tick.Stop()
	for all := true; ; {
		decided, err := d.look(ctx, all)
		if decided || err != nil && !bus.Unanswered(err) {
			return d.hosts(), err
		}
		all = false
		select {
		case <-ctx.Done():
			return d.hosts(), ctx.Err()
		case a := <-d.answers:
			if err := d.answered(ctx, a); err != nil && !bus.Unanswered(err) {
				return d.hosts(), err
			}
		case <-wake:
		case <-tick.C:
			all = true
		}
	}
}

// execution is the doing of a job. What it keeps in memory only saves it from asking too often.
type execution struct {
	*Fleet
	Job
	assigned protocol.Assignment
	entries  []entry // of its hosts

	asked   map[string]*asked // hosts that were told to begin
	answers chan answer
	asking  sync.WaitGroup

	waiting string          // was told
	told    []protocol.Host // was told
}

// tell tells what the job waits for, if that is new.
func (d *execution) tell(waiting string) {
	if d.Tell != nil && waiting != d.waiting {
		d.Tell(waiting)
	}
	d.waiting = waiting
}

// report tells how the hosts stand, if that is new.
func (d *execution) report() {
	if now := d.hosts(); d.Told != nil && !reflect.DeepEqual(now, d.told) {
		d.told = now
		d.Told(now)
	}
}

// hosts is how the hosts of the attempt stand.
func (d *execution) hosts() []protocol.Host {
	var all []protocol.Host
	for _, e := range d.entries {
		h := e.Host
		if d.stands(e) == protocol.HostWaiting {
			h = protocol.Host{Name: e.Name, Status: protocol.HostWaiting}
		}
		all = append(all, h)
	}
	return all
}

// stands is where a host stands in this attempt.
func (d *execution) stands(e entry) protocol.HostStatus {
	if e.Status == protocol.HostDone || e.Attempt == d.Step.Attempt {
		return e.Status
	}
	return protocol.HostWaiting
}

func (d *execution) key(host string) string {
	return protocol.HostKey(d.Rollout, d.Step.Number, d.Step.Revert, host)
}

// look finds out how everything stands, and has done what is to be done now. It reports
// whether the attempt is decided. Hosts that wait and were not told to begin are looked at
// only if all is: nobody but another orchestrator can have begun them.
func (d *execution) look(ctx context.Context, all bool) (decided bool, err error) {
	assigned, waiting, err := d.Fleet.assign(ctx, d.Job)
	if err != nil {
		return false, err
	}
	if d.tell(waiting); waiting != "" {
		return false, nil
	}
	d.assigned = assigned
	if err := d.read(ctx, all); err != nil {
		return false, err
	}
	d.report()
	done, running, waits := d.count()
	hopeless := !d.Step.Revert && done+running+len(waits) < d.need()
	switch {
	case running == 0 && len(waits) == 0:
		return true, d.verdict(done)
	case d.assigned.Cancelled:
		return false, d.stop(ctx, d.Rollout, d.Step, d.assigned)
	case !hopeless:
		d.begin(ctx, waits, running)
	case running == 0:
		if sealed, err := d.seal(ctx, waits); !sealed || err != nil {
			return false, err
		}
		return true, d.verdict(done)
	}
	return false, nil
}

// read reads the entries of the attempt's hosts, and declares those lost whose agents have
// died.
func (d *execution) read(ctx context.Context, all bool) error {
	entries := make([]entry, 0, len(d.assigned.Hosts))
	for i, name := range d.assigned.Hosts {
		if i < len(d.entries) && d.entries[i].Name == name && (d.final(d.entries[i]) || !all && d.untouched(d.entries[i])) {
			entries = append(entries, d.entries[i])
			continue
		}
		e, err := d.entry(ctx, d.key(name), name)
		if err == nil && e.Status == protocol.HostRunning {
			e, err = d.alive(ctx, e)
		}
		if err != nil {
			return err
		}
		entries = append(entries, e)
	}
	d.entries = entries
	return nil
}

// final reports whether nobody writes a host's entry any more in this attempt.
func (d *execution) final(e entry) bool {
	s := d.stands(e)
	return s == protocol.HostDone || s == protocol.HostFailed || s == protocol.HostLost
}

func (d *execution) untouched(e entry) bool {
	return d.stands(e) == protocol.HostWaiting && d.asked[e.Name] == nil
}

// alive gives the entry of a host that runs, which says lost if its agent has died.
func (d *execution) alive(ctx context.Context, e entry) (entry, error) {
	a, alive, err := d.agent(ctx, e.Name)
	if err != nil || alive && a.Instance == e.Instance {
		return e, err
	}
	if err := d.end(ctx, d.key(e.Name), e, e.Attempt, protocol.HostLost, protocol.CodeLost, reasonDied); err != nil {
		return e, err
	}
	return d.entry(ctx, d.key(e.Name), e.Name)
}

// count counts the hosts that have done it, those that run, and those that wait: also where
// an earlier attempt still runs, which ends when the host is told to begin this one.
func (d *execution) count() (done, running int, waits []entry) {
	for _, e := range d.entries {
		switch d.stands(e) {
		case protocol.HostDone:
			done++
		case protocol.HostRunning:
			running++
		case protocol.HostWaiting:
			waits = append(waits, e)
		}
	}
	return done, running, waits
}

// need is how many hosts must succeed.
func (d *execution) need() int {
	n := len(d.assigned.Hosts)
	if d.Step.Revert || len(d.Step.Work.On) == 0 {
		return n
	}
	return d.Step.Work.Need.Of(n)
}

// verdict is the error of an attempt that is decided.
func (d *execution) verdict(done int) error {
	if done >= d.need() && (done > 0 || d.Step.Revert && !d.assigned.Cancelled) {
		return nil
	}
	return &FailedError{Hosts: d.hosts(), Need: d.need(), Done: done, Cancelled: d.assigned.Cancelled && !d.assigned.Late, Late: d.late()}
}

// late reports whether time has ended the attempt, or what a host has done in it.
func (d *execution) late() bool {
	return d.assigned.Late || slices.ContainsFunc(d.hosts(), func(h protocol.Host) bool { return h.Code == protocol.CodeTimeout })
}

// begin tells hosts to begin, as many as may run at the same time. They are taken in the
// order in which they were chosen, so that those which were told and may have begun are among the
// first.
func (d *execution) begin(ctx context.Context, waits []entry, running int) {
	atOnce := d.Step.Work.AtOnce
	if atOnce == 0 {
		atOnce = len(d.assigned.Hosts)
	}
	for _, e := range waits[:max(min(len(waits), atOnce-running), 0)] {
		d.tellHost(ctx, e.Name)
	}
}

// seal writes for the hosts that wait that they do not begin in this attempt any more: one
// of them may have been told to, by another orchestrator, and not have got to it. It reports
// whether none of them has begun.
func (d *execution) seal(ctx context.Context, waits []entry) (sealed bool, err error) {
	for _, e := range waits {
		if e.Status == protocol.HostWaiting && e.Attempt == d.Step.Attempt {
			continue
		}
		if err := d.end(ctx, d.key(e.Name), e, d.Step.Attempt, protocol.HostWaiting, "", reasonHopeless); err != nil {
			return false, err
		}
	}
	if err := d.read(ctx, true); err != nil {
		return false, err
	}
	_, running, _ := d.count()
	return running == 0, nil
}

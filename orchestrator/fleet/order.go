package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

const (
	orderTimeout = 5 * time.Second // for an agent's answer
	orderPause   = time.Second     // until it is told again
)

// asked is a host that was told to begin.
type asked struct {
	waiting bool      // for its answer
	again   time.Time // when it may be told again
}

// answer is what has come of telling a host to begin: nothing but a host, if it has; a
// refusal; or an error that leaves open whether it has heard of it.
type answer struct {
	host    string
	refusal *protocol.ServiceError
	err     error
}

// tellHost tells a host to begin, unless it was told just now.
func (d *execution) tellHost(ctx context.Context, host string) {
	a := d.asked[host]
	if a == nil {
		a = new(asked)
		d.asked[host] = a
	}
	if a.waiting || time.Now().Before(a.again) {
		return
	}
	a.waiting = true
	d.asking.Go(func() {
		got := d.order(ctx, host)
		select {
		case d.answers <- got:
		case <-ctx.Done():
		}
	})
}

func (d *execution) order(ctx context.Context, host string) answer {
	got := answer{host: host}
	data, err := json.Marshal(protocol.Order{
		Rollout: d.Rollout, App: d.Release.App, Step: d.Step.ID, Attempt: d.Step.Attempt, Revert: d.Step.Revert,
	})
	if err != nil {
		got.err = err
		return got
	}
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	m, err := d.nc.RequestWithContext(ctx, protocol.AgentSubject(host, "run"), data)
	if err != nil {
		got.err = err
		return got
	}
	var said protocol.AgentAnswer
	if err := json.Unmarshal(m.Data, &said); err != nil {
		got.err = errAnswer
	}
	got.refusal = said.Error
	return got
}

var errAnswer = errors.New("the answer cannot be read")

// answered takes an answer. A refusal ends the attempt on the host, unless something runs there
// that the next look has to judge; silence does so when the agent is no more.
func (d *execution) answered(ctx context.Context, a answer) error {
	if told := d.asked[a.host]; told != nil {
		told.waiting, told.again = false, time.Now().Add(orderPause)
	}
	if a.refusal == nil && a.err == nil {
		return nil
	}
	e, err := d.entry(ctx, d.key(a.host), a.host)
	if err != nil || d.stands(e) != protocol.HostWaiting || e.Status == protocol.HostRunning {
		return err
	}
	if a.refusal != nil {
		return d.end(ctx, d.key(a.host), e, d.Step.Attempt, protocol.HostFailed, a.refusal.Code, a.refusal.Message)
	}
	_, alive, err := d.agent(ctx, a.host)
	if err != nil || alive {
		return err
	}
	return d.end(ctx, d.key(a.host), e, d.Step.Attempt, protocol.HostLost, protocol.CodeLost, reasonGone)
}

// Cancel has an attempt end: no host begins with it any more, and those that run it are told
// to stop. Do, whoever called it, sees to the rest, and tells it again to those who have not
// heard it.
func (f *Fleet) Cancel(ctx context.Context, id string, step rollout.Step) error {
	return f.cancel(ctx, id, step, false)
}

// Expire is Cancel for an attempt whose time is over. Where it was cancelled already, it
// changes nothing.
func (f *Fleet) Expire(ctx context.Context, id string, step rollout.Step) error {
	return f.cancel(ctx, id, step, true)
}

func (f *Fleet) cancel(ctx context.Context, id string, step rollout.Step, late bool) error {
	for {
		assigned, revision, err := f.readAssignment(ctx, id, step)
		switch {
		case err != nil:
			return err
		case assigned.Attempt > step.Attempt:
			return nil // it is over
		case assigned.Attempt < step.Attempt:
			assigned = protocol.Assignment{Attempt: step.Attempt, Hosts: []string{}}
		}
		if !assigned.Cancelled {
			assigned.Cancelled, assigned.Late = true, late
			_, err := f.hosts.put(ctx, protocol.AssignmentKey(id, step.Number, step.Revert), assigned, revision)
			if errors.Is(err, rollout.ErrConflict) {
				continue
			}
			if err != nil {
				return err
			}
		}
		return f.stop(ctx, id, step, assigned)
	}
}

// stop tells the hosts of a cancelled attempt that run it to stop; the others do not begin.
func (f *Fleet) stop(ctx context.Context, id string, step rollout.Step, assigned protocol.Assignment) error {
	order, err := json.Marshal(protocol.Order{Rollout: id, Step: step.ID, Attempt: step.Attempt, Revert: step.Revert})
	if err != nil {
		return err
	}
	for _, name := range assigned.Hosts {
		key := protocol.HostKey(id, step.Number, step.Revert, name)
		e, err := f.entry(ctx, key, name)
		switch {
		case err != nil:
			return err
		case e.Status == protocol.HostDone:
		case e.Attempt < step.Attempt || e.Status == protocol.HostWaiting:
			code, reason := protocol.CodeCancelled, reasonCancelled
			if assigned.Late {
				code, reason = protocol.CodeTimeout, reasonLate
			}
			err = f.end(ctx, key, e, step.Attempt, protocol.HostFailed, code, reason)
		case e.Status == protocol.HostRunning:
			err = f.nc.Publish(protocol.AgentSubject(name, "cancel"), order)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

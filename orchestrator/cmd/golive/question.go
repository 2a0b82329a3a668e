package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/report"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay/protocol"
)

// settles is how long a question waits, where its answer came too late, for the news of why.
const settles = 3 * time.Second

// vote is what a person says to an approval: yes, if nothing else.
type vote struct {
	item   int  // of the checklist that is confirmed, from 1; 0: it is about the whole
	no     bool // it is rejected
	reason string
}

// outcome is what has come of a question.
type outcome int

// The outcomes.
const (
	unanswered outcome = iota // left to others
	approved                  // by this person
	rejected                  // by this person
	gone                      // somebody else was faster, or nobody has to answer any more
)

// question is an approval that waits, put to the person at the terminal.
type question struct {
	prompt *terminal.Prompter
	say    func(text string)                                  // above the prompt
	vote   func(context.Context, vote) (rollout.State, error) // gives the rollout after it

	// told says that whoever calls see has told the person what he gives it. The next item is
	// then asked for when the person has been told of the one before.
	told bool

	mu      sync.Mutex
	step    rollout.Step
	changed chan struct{} // closed and replaced when there is news of the step
}

func newQuestion(p *terminal.Prompter, step rollout.Step, say func(string), vote func(context.Context, vote) (rollout.State, error)) *question {
	return &question{prompt: p, say: say, vote: vote, step: step, changed: make(chan struct{})}
}

// see takes in how the rollout stands.
func (q *question) see(s rollout.State) {
	q.mu.Lock()
	defer q.mu.Unlock()
	step, known := s.Step(q.step.ID)
	if !known || step.Approval == nil || step.Attempt == q.step.Attempt && report.Asks(step) && votes(step) <= votes(q.step) {
		return // it says nothing new
	}
	q.step = step
	close(q.changed)
	q.changed = make(chan struct{})
}

func votes(step rollout.Step) int { return len(step.Approval.Confirmed) + len(step.Approval.Approved) }

func (q *question) now() (rollout.Step, <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.step, q.changed
}

// put asks for each item of the checklist that nobody has confirmed, and then for the
// approval, until it is answered, here or elsewhere. An error is why an answer did not count.
func (q *question) put(ctx context.Context) (outcome, error) {
	first, _ := q.now()
	for {
		step, changed := q.now()
		if !report.Asks(step) || step.Attempt != first.Attempt {
			return gone, nil
		}
		v, said, err := q.ask(ctx, step, changed)
		switch {
		case ctx.Err() != nil:
			return unanswered, ctx.Err()
		case errors.Is(err, context.Canceled): // there is news
			continue
		case err != nil || !said:
			return unanswered, nil
		}
		after, err := q.vote(ctx, v)
		var refused *protocol.ServiceError
		switch {
		case errors.As(err, &refused) && refused.Code == api.CodeConflict && q.settle(ctx, changed):
			continue
		case err != nil:
			return unanswered, err
		case v.no:
			return rejected, nil
		case v.item == 0:
			return approved, nil
		}
		if !q.told {
			q.see(after)
		} else if err := q.reach(ctx, after); err != nil {
			return unanswered, err
		}
	}
}

// reach blocks until the rollout has been seen with all the answers that it has in s.
func (q *question) reach(ctx context.Context, s rollout.State) error {
	for {
		step, changed := q.now()
		there, known := s.Step(step.ID)
		if !known || there.Approval == nil || step.Attempt != there.Attempt || !report.Asks(step) || votes(step) >= votes(there) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// settle waits for news of the step; false says that there is none.
func (q *question) settle(ctx context.Context, changed <-chan struct{}) bool {
	t := time.NewTimer(settles)
	defer t.Stop()
	select {
	case <-changed:
		return true
	case <-t.C:
	case <-ctx.Done():
	}
	return false
}

// ask asks for one thing; false says that the answer is left to others. It is canceled by
// news of the step.
func (q *question) ask(ctx context.Context, step rollout.Step, changed <-chan struct{}) (vote, bool, error) {
	asking, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-changed:
			cancel()
		case <-asking.Done():
		}
	})
	defer func() { cancel(); watching.Wait() }()
	v, yes := vote{}, "approve"
	if open := step.Approval.Unconfirmed(); len(open) > 0 {
		v.item, yes = open[0], "confirm"
		q.say(fmt.Sprintf("  %s, item %d of %d: %s", step.ID, v.item, len(step.Approval.Checklist), step.Approval.Checklist[v.item-1]))
	}
	for {
		answer, err := q.prompt.Ask(asking, fmt.Sprintf("  %s? [y = %s, n = reject, l = leave it to others] ", step.ID, yes))
		switch {
		case err != nil:
			return v, false, err
		case terminal.IsYes(answer):
			return v, true, nil
		case terminal.IsNo(answer):
			v = vote{no: true}
			v.reason, err = q.prompt.Ask(asking, "  why? ")
			return v, true, err
		case strings.EqualFold(answer, "l") || strings.EqualFold(answer, "leave"):
			return v, false, nil
		}
	}
}

// voter sends what the person at this terminal says to an approval.
func voter(client *api.Client, id, step string) func(context.Context, vote) (rollout.State, error) {
	return func(ctx context.Context, v vote) (rollout.State, error) {
		q := api.StepRequest{Step: step, RolloutRequest: api.RolloutRequest{Rollout: id, By: me(), Reason: v.reason}}
		if v.no {
			r, err := client.Reject(ctx, q)
			return r.State, err
		}
		r, err := client.Approve(ctx, api.ApproveRequest{StepRequest: q, Item: v.item})
		return r.State, err
	}
}

// desk puts each approval that a rollout comes to to the person at the terminal, while it is
// followed.
type desk struct {
	ask func(s rollout.State, step rollout.Step) *question
	say func(text string)

	open   *question
	closed chan struct{} // when open has been answered; nil: there is none
	asking sync.WaitGroup
}

// see takes in how the rollout stands. It does not wait for answers.
func (d *desk) see(ctx context.Context, s rollout.State) {
	step, waits := report.WaitingFor(s)
	var before rollout.Step
	if d.open != nil {
		d.open.see(s)
		before, _ = d.open.now()
	}
	if !waits || before.ID == step.ID && before.Attempt == step.Attempt && report.Asks(before) {
		return
	}
	q := d.ask(s, step)
	q.told = true // by the story, before it is seen here
	last, closed := d.closed, make(chan struct{})
	d.open, d.closed = q, closed
	d.asking.Go(func() {
		defer close(closed)
		if last != nil {
			<-last // it is gone, and has to leave the screen first
		}
		switch came, err := q.put(ctx); {
		case ctx.Err() != nil:
		case err != nil:
			d.say("! " + terminal.OneLine(explain(err).message))
			d.say("  others answer with: golive approve " + s.ID + " " + step.ID)
		case came == unanswered:
			d.say("  answer later with: golive approve " + s.ID + " " + step.ID)
		}
	})
}

// waitsForPerson is the failure of a command that has nobody to ask for an approval.
func waitsForPerson(s rollout.State, step rollout.Step, again string) *failure {
	f := &failure{code: codePerson, exit: exitPerson,
		message: fmt.Sprintf("rollout %s of %s %s waits for a person: %s: %s", s.ID, s.Release.App, s.Release.Version, step.ID, report.TellApproval(s, step)),
		hint:    report.AnswerWith(s.ID, step.ID)}
	if again != "" {
		f.hint = again + "\n" + f.hint
		return f
	}
	f.hint += "\nthe rollout goes on then by itself: golive watch " + s.ID
	return f
}

package main

import (
	"context"
	"fmt"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/terminal"
)

// ending is a rehearsal that has run, and looks at the environment once more.
type ending struct{ *rehearsalRun }

// lookAgain goes back to the environment at the end: to see which of its streams were written to
// since the rehearsal began, and to tell it what came of that.
func (r ending) lookAgain(ctx context.Context, dir string) {
	if ctx.Err() != nil {
		return
	}
	environment, err := r.reachFor(ctx, dir, r.m)
	if err != nil {
		r.say("!", "it is not known whether anything was written in the environment meanwhile: %s", terminal.Flat(err.Error()))
		r.notTold(err)
		return
	}
	defer environment.Close()
	client := api.NewClient(environment.Conn())
	r.compare(ctx, client)
	r.tell(ctx, client)
}

// compare tells which streams of the environment were written to since the rehearsal began.
func (r ending) compare(ctx context.Context, client *api.Client) {
	after, err := client.Positions(ctx, r.out.Snapshot)
	if err != nil {
		r.say("!", "it is not known whether anything was written in the environment meanwhile: %s", terminal.Flat(err.Error()))
		return
	}
	r.out.Compared = true
	for i, p := range after {
		if i < len(r.before) && r.before[i].Last != p.Last {
			r.out.Moved = append(r.out.Moved, fmt.Sprintf("%s: from %d to %d", p.Stream, r.before[i].Last, p.Last))
		}
	}
}

// tell tells the environment what came of the rehearsal, if its rollout has come to an end.
func (r ending) tell(ctx context.Context, client *api.Client) {
	if !r.o.tell || r.out.Report == nil {
		return
	}
	q := api.RehearsalRequest{Outcome: r.out.outcome(r.id, r.held), By: me()}
	if _, err := client.TellRehearsal(ctx, q); err != nil {
		r.notTold(err)
		return
	}
	r.out.Told = true
}

func (r ending) notTold(err error) {
	if r.o.tell && r.out.Report != nil {
		r.say("!", "the environment does not know what came of the rehearsal: %s", terminal.Flat(err.Error()))
	}
}

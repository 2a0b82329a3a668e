package engine

import (
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

const (
	toldAgain = time.Second // after which a script that goes on is told once more that its attempt is over
	maxTold   = 1000        // attempts that this is remembered of
)

// tellOver tells a script to stop whose sign of life is of an attempt that is over: it may not
// have heard of that. It is called by one goroutine.
func (g *answers) tellOver(script protocol.Script, subject string, p protocol.ProgressMessage) {
	a, over := g.over(script, subject, p)
	if !over || time.Since(g.told[a]) < toldAgain {
		return
	}
	if len(g.told) >= maxTold {
		clear(g.told)
	}
	g.told[a] = time.Now()
	g.Log.Info("a script goes on although its attempt is over, told to stop", zap.String("rollout", a.Rollout), zap.String("script", script.String()), zap.Int("attempt", a.Number))
	if err := g.Setup.PublishCancel(a); err != nil {
		g.Log.Debug("cancel", zap.Error(err)) // its next sign of life has it told again
	}
}

// over names the attempt that a sign of life is of, if it is known here to be over without an answer.
func (g *answers) over(script protocol.Script, subject string, p protocol.ProgressMessage) (rollout.AttemptID, bool) {
	a := rollout.AttemptID{Rollout: p.Rollout, Name: script.Name, Version: script.Version, Phase: script.Phase, Number: max(p.Attempt, 1)}
	if r, open := g.View.Newest(p.Rollout); open {
		step, known := r.State.Step(script.Step())
		left := step.Script.Unanswered
		return a, known && step.Version == script.Version && (a.Number < step.Attempt || left != nil && left.Attempt == a.Number)
	}
	for _, app := range g.subscriptions.apps(subject) {
		left, _ := g.View.LeftBehind(app, p.Rollout)
		if slices.ContainsFunc(left, func(other rollout.AttemptID) bool { other.Revert = false; return other == a }) {
			return a, true
		}
	}
	return a, false
}

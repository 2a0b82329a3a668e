package engine

import (
	"time"

	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// tellMissed tells a script once more what it has missed, as its sign of life says: it may have
// been cut off when somebody paused it, had it go on or changed its pace. Each orchestrator that
// hears the sign may do so, which is harmless. It is called by one goroutine.
func (g *answers) tellMissed(script protocol.Script, p protocol.ProgressMessage) {
	if p.Told == nil {
		return
	}
	r, open := g.View.Newest(p.Rollout)
	if !open {
		return
	}
	step, known := r.State.Step(script.Step())
	if !known || step.Version != script.Version || step.Attempt != max(p.Attempt, 1) {
		return
	}
	now := g.Recorder.Now()
	missed := rollout.Missed(r.State, step, *p.Told, now)
	a := r.State.Attempt(step)
	if len(missed) == 0 || time.Since(g.told[a]) < toldAgain {
		return
	}
	if len(g.told) >= maxTold {
		clear(g.told)
	}
	g.told[a] = time.Now()
	for _, m := range missed {
		g.Log.Info("a script has missed what it was told, told again", zap.String("rollout", p.Rollout), zap.String("message", m.Subject), zap.Int("attempt", step.Attempt))
		if err := g.publish(r.State, m, r.Sequence); err != nil {
			g.Log.Debug("tell again", zap.Error(err)) // its next sign of life has it told again
		}
	}
}

package main

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/ledger"
	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// elsewhereWithin is how long a plan waits for other environments: what they tell is good to
// know, and no more.
const elsewhereWithin = 2 * time.Second

// tellElsewhere fills in how long scripts took in another environment of the manifest that
// have never run in this one. An environment that does not answer is left out.
func tellElsewhere(ctx context.Context, c *command, m *release.Manifest, p *api.PlanView) {
	unknown := func(s api.PlanStep) bool {
		return s.Kind == rollout.Migration && s.Last == nil && s.Skipped == ""
	}
	if !slices.ContainsFunc(p.Steps, unknown) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, elsewhereWithin)
	defer cancel()
	found := make([][]ledger.Entry, len(m.Environments))
	var asking sync.WaitGroup
	for i, name := range m.Environments {
		e, _ := m.Bus(name)
		place := c.within(m, e)
		if name == m.Environment.Name || !place.Known() {
			continue
		}
		asking.Go(func() {
			r, err := c.connect(ctx, place)
			if err != nil {
				return
			}
			defer r.Close()
			found[i], _ = api.NewClient(r.Conn()).Ledger(ctx, api.LedgerRequest{App: m.App})
		})
	}
	asking.Wait()
	for i, s := range p.Steps {
		if !unknown(s) {
			continue
		}
		script := protocol.Script{Name: s.Name, Version: s.Version, Phase: s.Phase}
		for n, entries := range found {
			for _, e := range entries {
				if e.Script() == script && e.Duration > 0 && (p.Steps[i].Last == nil || e.At.After(p.Steps[i].Last.At)) {
					p.Steps[i].Last = &api.LastRun{
						Environment: m.Environments[n], Duration: rollout.Duration(e.Duration), At: e.At, Rollout: e.Rollout,
					}
				}
			}
		}
	}
}

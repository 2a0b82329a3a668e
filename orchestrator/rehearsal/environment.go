package rehearsal

import (
	"context"
	"fmt"
	"slices"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/snapshot"
	"github.com/golive-dev/golive/relay/protocol"
)

// Live is the version of an app that is live in an environment; empty: none is.
func Live(ctx context.Context, client *api.Client, app string) (string, error) {
	for before := ""; ; {
		page, err := client.List(ctx, api.ListRequest{App: app, Limit: 100, Before: before})
		if err != nil {
			return "", err
		}
		for _, r := range page.Rollouts {
			if r.Status == rollout.Completed {
				return r.Release.Version, nil
			}
		}
		if before = page.Next; before == "" {
			return "", nil
		}
	}
}

// Changed tells what has run in the environment since a snapshot was taken: what that did is not
// in its data. See [Since].
func Changed(ctx context.Context, client *api.Client, s snapshot.Snapshot) ([]string, error) {
	entries, err := client.Ledger(ctx, api.LedgerRequest{App: s.App})
	if err != nil {
		return nil, err
	}
	var now []protocol.Script
	for _, e := range entries {
		if e.Void == "" {
			now = append(now, e.Script())
		}
	}
	return Since(s, func(script protocol.Script) bool { return slices.Contains(now, script) }, now), nil
}

// Differences tells in what a plan here depends on other things than the one there, whose id is
// another one.
func Differences(there, here rollout.Basis) []string {
	var all []string
	for _, ran := range there.Ran {
		if !slices.ContainsFunc(here.Ran, func(o rollout.RanScript) bool {
			return o.Name == ran.Name && o.Version == ran.Version && o.Phase == ran.Phase
		}) {
			all = append(all, fmt.Sprintf("%s %s of %s has run there, and counts as not run here: its journal is gone, or somebody has marked it", ran.Name, ran.Version, ran.Phase))
		}
	}
	for i, route := range there.Routes {
		if i >= len(here.Routes) || !slices.Equal(here.Routes[i].Online, route.Online) || here.Routes[i].Revision != route.Revision {
			all = append(all, "the traffic of "+route.Service+" is another one")
		}
	}
	if len(all) == 0 {
		all = append(all, "its release, or what is live, is another one")
	}
	return all
}

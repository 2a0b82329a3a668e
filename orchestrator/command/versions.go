package command

import (
	"context"
	"slices"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/ledger"
	"github.com/golive-dev/golive/orchestrator/rollout"
)

// checkVersions refuses a release that would go back behind what has run here, or jump over
// a version that must not be skipped.
func (c *planner) checkVersions(ctx context.Context, r rollout.Release, facts rollout.Facts, allowOlder bool) error {
	book, err := c.Ledger.Book(ctx, r.App)
	if err != nil || book.Highest() == "" {
		return err
	}
	highest := book.Highest()
	if ledger.Older(r.Version, highest) && !allowOlder {
		return refuse(api.CodeOlder, "golive backward "+r.App+" undoes what the newer version did; to bring the older one on top of that: --allow-older",
			"%s %s is older than %s, which has been live here", r.App, r.Version, highest)
	}
	for _, s := range r.Services {
		for _, online := range facts.Routes[s.Name].Online {
			if ledger.Older(s.Version, online) && !slices.Contains(s.KeepOnline, online) && !allowOlder {
				return refuse(api.CodeOlder, "to bring it all the same: --allow-older", "%s %s is older than %s, which is online here", s.Name, s.Version, online)
			}
		}
	}
	for _, v := range append(book.Skips(), r.MustNotSkip...) {
		if ledger.Older(highest, v) && ledger.Older(v, r.Version) && !book.Completed(v) {
			return refuse(api.CodeMustNotSkip, "roll out "+r.App+" "+v+" first",
				"%s %s would jump over %s, which must not be skipped: %s is here", r.App, r.Version, v, highest)
		}
	}
	return nil
}

// liveBefore tells whether the version of a release has been live here with another manifest,
// beside what the rollout with an id has done.
func liveBefore(book *ledger.Book, r rollout.Release, id string) *api.LiveBefore {
	last, known := book.Brought(r.Version, id)
	if !known || last.Digest == "" || r.Digest == "" || last.Digest == r.Digest {
		return nil
	}
	return &api.LiveBefore{Rollout: last.Rollout, At: last.At, Digest: last.Digest}
}

// checkRequires refuses a release while the version that it requires has not completed here.
func (c *planner) checkRequires(ctx context.Context, r rollout.Release) error {
	if r.Requires == nil {
		return nil
	}
	book, err := c.Ledger.Book(ctx, r.App)
	if err != nil || book.Completed(r.Requires.Version) {
		return err
	}
	hint := "roll out " + r.App + " " + r.Requires.Version + " first"
	for _, open := range c.View.OfApp(r.App) {
		if s := open.State; s.Release.Version == r.Requires.Version {
			hint = "rollout " + s.ID + " of it is " + string(s.Status) + ", bring it to its end: golive watch " + s.ID + " tells how far it is; golive deploy --queue waits for it"
		}
	}
	return refuse(api.CodeRequires, hint, "%s %s requires that %s has completed here, which it has not", r.App, r.Version, r.Requires.Version)
}

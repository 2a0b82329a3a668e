package orchestrator

import (
	"context"
	"slices"

	"github.com/Masterminds/semver/v3"

	"github.com/golive-dev/golive/orchestrator/ledger"
	"github.com/golive-dev/golive/orchestrator/rollout"
)

type appVersion = ledger.AppVersion

// liveVersions lists the completed rollouts of an app that were not undone, oldest first.
func (o *Orchestrator) liveVersions(ctx context.Context, app string) ([]appVersion, error) {
	book, err := o.index.Book(ctx, app)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(book.Versions(), func(v appVersion) bool { return v.Void != "" }), nil
}

// checkVersions refuses a release that would go back behind what has run here, or jump over
// a version that must not be skipped.
func (o *Orchestrator) checkVersions(ctx context.Context, r rollout.Release, allowOlder bool) error {
	live, err := o.liveVersions(ctx, r.App)
	if err != nil || len(live) == 0 {
		return err
	}
	book, err := o.index.Book(ctx, r.App)
	if err != nil {
		return err
	}
	newest := live[0].Version
	for _, v := range live {
		if older(newest, v.Version) {
			newest = v.Version
		}
	}
	if older(r.Version, newest) && !allowOlder {
		return refuse(CodeOlder, "golive backward "+r.App+" undoes what the newer version did; to bring the older one on top of that: --allow-older",
			"%s %s is older than %s, which has been live here", r.App, r.Version, newest)
	}
	if err := o.checkServices(ctx, r, book, allowOlder); err != nil {
		return err
	}
	for _, v := range append(book.Skips(), r.MustNotSkip...) {
		done := slices.ContainsFunc(live, func(l appVersion) bool { return l.Version == v })
		if !done && older(newest, v) && older(v, r.Version) {
			return refuse(CodeMustNotSkip, "roll out "+r.App+" "+v+" first",
				"%s %s would jump over %s, which must not be skipped: %s is here", r.App, r.Version, v, newest)
		}
	}
	return nil
}

// checkServices refuses a version of a service that is older than one that has run or
// serves here.
func (o *Orchestrator) checkServices(ctx context.Context, r rollout.Release, book *ledger.Book, allowOlder bool) error {
	if allowOlder {
		return nil
	}
	newest := make(map[string]string)
	note := func(service, version string) {
		if newest[service] == "" || older(newest[service], version) {
			newest[service] = version
		}
	}
	for _, e := range book.Entries() {
		if e.Void == "" {
			note(e.Name, e.Version)
		}
	}
	for _, s := range r.Services {
		route, err := o.gate.Route(ctx, s.Name)
		if err != nil {
			return err
		}
		for _, v := range route.Online() {
			note(s.Name, v)
		}
		if v := newest[s.Name]; v != "" && s.Name != r.App && older(s.Version, v) {
			return refuse(CodeOlder, "to bring it all the same: --allow-older", "%s %s is older than %s, which has run here", s.Name, s.Version, v)
		}
	}
	return nil
}

// older reports whether a version comes before another. Numbers that are too big to be
// compared are not.
func older(version, than string) bool {
	a, errA := semver.NewVersion(version)
	b, errB := semver.NewVersion(than)
	return errA == nil && errB == nil && a.LessThan(b)
}

package rollout_test

import (
	"strings"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/rollout"
)

func TestSourcesThatAreRefused(t *testing.T) {
	t.Parallel()
	id := strings.Repeat("0123456789", 4)
	long := func(n int) string { return strings.Repeat("x", n) }
	for _, c := range []struct {
		source rollout.Source
		want   string
	}{
		{rollout.Source{Commit: id}, ""},
		{rollout.Source{Commit: strings.Repeat("a", 64), Dirty: true}, ""},
		{rollout.Source{Commit: id, Describe: long(rollout.MaxDescribe), Remote: long(rollout.MaxRemote), Folder: long(rollout.MaxFolder)}, ""},
		{rollout.Source{Commit: id, Remote: "ssh://git@example.com/shop.git"}, ""},
		{rollout.Source{Commit: id, Remote: "git@example.com:shop.git"}, ""},
		{rollout.Source{}, `source: commit "" is no whole id of a commit`},
		{rollout.Source{Commit: id[:12]}, `source: commit "012345678901" is no whole id of a commit`},
		{rollout.Source{Commit: strings.Repeat("G", 40)}, "is no whole id"},
		{rollout.Source{Commit: id, Describe: long(rollout.MaxDescribe + 1)}, "source: describe has 257 bytes, at most 256 are allowed"},
		{rollout.Source{Commit: id, Remote: long(rollout.MaxRemote + 1)}, "source: remote has 513 bytes, at most 512 are allowed"},
		{rollout.Source{Commit: id, Folder: long(rollout.MaxFolder + 1)}, "source: folder has 1025 bytes, at most 1024 are allowed"},
		{rollout.Source{Commit: id, Folder: "a\nb"}, "source: folder holds control characters"},
		{rollout.Source{Commit: id, Remote: "https://token@example.com/shop.git"}, "source: remote holds credentials"},
		{rollout.Source{Commit: id, Remote: "https://example.com/shop.git?token=x"}, "source: remote holds credentials"},
		{rollout.Source{Commit: id, Remote: "ann:x@example.com:shop"}, "source: remote holds credentials"},
	} {
		r := ofSource()
		r.Source = &c.source
		err := r.Validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: got %v, want %q", c.source, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "token") {
			t.Errorf("the secret is told: %v", err)
		}
	}
}

// TestTheSourceIsNoPartOfThePlan holds that the same release has the same plan from whichever
// commit it was taken, while the rollout remembers the commit.
func TestTheSourceIsNoPartOfThePlan(t *testing.T) {
	t.Parallel()
	facts := rollout.Facts{Ran: neverRan}
	plain, from := ofSource(), ofSource()
	from.Source = &rollout.Source{Commit: strings.Repeat("a", 40), Dirty: true}
	before, now := rollout.NewBasis(plain, facts), rollout.NewBasis(from, facts)
	if before.Digest() != now.Digest() || len(before.Changes(now)) > 0 {
		t.Errorf("the plan has changed: %q", before.Changes(now))
	}
	s, err := rollout.Compile("id", "ann", time.Time{}, from, facts)
	if err != nil || s.Release.Source != from.Source {
		t.Errorf("the rollout has the source %v (%v)", s.Release.Source, err)
	}
	stored, err := rollout.State{}.Fold(s.ChangeFrom(rollout.State{}, 0), 0)
	if err != nil || stored.Release.Source != from.Source {
		t.Errorf("the journal has the source %v (%v)", stored.Release.Source, err)
	}
}

// ofSource is a release that may have a source.
func ofSource() rollout.Release {
	return rollout.Release{
		App: "shop", Version: "1.0.0", Strategy: rollout.Parallel,
		Services: []rollout.Service{{Name: "search", Version: "1.0.0", Instances: 1}},
	}
}

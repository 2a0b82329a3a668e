package release

import (
	"cmp"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// Requirement is what must have happened in the environment before the release.
type Requirement struct {
	Version   string // of the app, older than this one
	Completed bool   // its rollout has completed; always true in a valid manifest
}

// readRequires reads what must have happened before.
func readRequires(v value, m *Manifest) *Requirement {
	q := &Requirement{Completed: true}
	v.fields("a requirement, a map like {version: 0.0.1}", requiresFields(q, m))
	return q
}

// requiresFields are the keys of a requirement.
func requiresFields(q *Requirement, m *Manifest) []field {
	return []field{
		{key: "version", required: "0.0.1", read: func(v value) { q.Version = readOlderVersion(v, m) }},
		{key: "completed", byDefault: "true", read: func(v value) { q.Completed = readCompleted(v) }},
	}
}

// readCompleted reads whether the rollout of the required version has completed, which is all
// that can be required of it.
func readCompleted(v value) bool {
	before := len(v.r.problems)
	completed := readTruth(v)
	if !completed && len(v.r.problems) == before {
		v.report("write completed: true, or remove requires", "a rollout can be required to have completed only, found false")
	}
	return completed
}

// readOlderVersion reads a version of the app that is older than its own.
func readOlderVersion(v value, m *Manifest) string {
	version := readVersion(v)
	v.later(func() { // the app's version may stand below
		if cmp.Or(protocol.ValidateVersion(version), protocol.ValidateVersion(m.Version)) != nil {
			return // which is reported where it stands
		}
		if rollout.CompareVersions(version, m.Version) >= 0 {
			v.report("give a version that comes before it", "%s is not older than the app's version %s", quote(version), quote(m.Version))
		}
	})
	return version
}

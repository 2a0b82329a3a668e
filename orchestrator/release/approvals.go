package release

import (
	"cmp"
	"strings"
	"unicode"

	"github.com/Masterminds/semver/v3"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// readApprovals reads who may say yes.
func readApprovals(v value) rollout.Policy {
	var a rollout.Policy
	v.fields("a policy, a map like {required: true, by: [ann, bob]}", approvalsFields(&a))
	return a
}

// approvalsFields are the keys of a policy.
func approvalsFields(a *rollout.Policy) []field {
	return []field{
		{key: "required", read: func(v value) { a.Required = readTruth(v) }},
		{key: "by", read: func(v value) { a.By = readApprovers(v) }},
		{key: "count", read: func(v value) { a.Count = readApprovalsCount(v, a) }},
		{key: "notStarter", read: func(v value) { a.NotStarter = readTruth(v) }},
		{key: "deadline", read: func(v value) { a.Deadline = readDeadline(v) }},
	}
}

// readApprovers reads the users who may say yes.
func readApprovers(v value) []string {
	return readFewWords(v, "a list of users like [ann, bob]", few{"user", rollout.MaxApprovals}, func(item value, user string) {
		const longest = 256
		if strings.TrimSpace(user) != user || user == "" || len(user) > longest || strings.ContainsFunc(user, unicode.IsControl) {
			item.report("", "the user %s must be 1 to %d bytes that can be printed, without spaces around them", quote(user), longest)
		}
	})
}

// readApprovalsCount reads how many people have to say yes.
func readApprovalsCount(v value, a *rollout.Policy) int {
	count, ok := readWhole(v, 1, rollout.MaxApprovals)
	v.later(func() { // the users may stand below
		if ok && a.By != nil && count > len(a.By) {
			v.report("add users to by, or lower the count", "%d people have to approve, but by names %d", count, len(a.By))
		}
	})
	return count
}

// readDeadline reads after which time somebody is reminded of an approval.
func readDeadline(v value) rollout.Duration {
	return rollout.Duration(readBetween(v, span{what: "a deadline", like: "30m or 4h", units: "h, m and s", hint: "leave the key out for none", least: MinDeadline, most: MaxDeadline}))
}

// readChecklist reads what is confirmed one by one.
func readChecklist(v value) []string {
	return readFewWords(v, "a list of texts like [backups are fresh]", few{"item", rollout.MaxChecklist}, readable)
}

// readProse reads text for people.
func readProse(v value, want string) string {
	text, ok := v.text(want)
	if ok {
		readable(v, text)
	}
	return text
}

// readable reports text that people cannot read.
func readable(v value, text string) {
	unreadable := func(char rune) bool { return unicode.IsControl(char) && char != '\n' && char != '\t' }
	switch {
	case strings.TrimSpace(text) == "":
		v.report("", "the text must not be empty")
	case len(text) > rollout.MaxText:
		v.report("", "the text is %d bytes long, at most %d are allowed", len(text), rollout.MaxText)
	case strings.ContainsFunc(text, unreadable):
		v.report("", "the text cannot hold control characters")
	}
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
		{key: "completed", read: func(v value) { q.Completed = readCompleted(v) }},
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
		own, ownErr := semver.StrictNewVersion(m.Version)
		older, err := semver.StrictNewVersion(version)
		switch {
		case cmp.Or(ownErr, err) != nil:
			incomparable(v, version, m.Version)
		case !older.LessThan(own):
			v.report("give a version that comes before it", "%s is not older than the app's version %s", quote(version), quote(m.Version))
		}
	})
	return version
}

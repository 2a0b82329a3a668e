package release

import (
	"cmp"
	"strings"
	"unicode"

	"github.com/Masterminds/semver/v3"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// approvals reads who may say yes.
func (r *reader) approvals(v value) rollout.Policy {
	var a rollout.Policy
	r.fields(v, "a policy, a map like {required: true, by: [ann, bob]}", r.approvalsFields(&a))
	return a
}

// approvalsFields are the keys of a policy.
func (r *reader) approvalsFields(a *rollout.Policy) []field {
	return []field{
		{key: "required", read: func(v value) { a.Required = r.truth(v) }},
		{key: "by", read: func(v value) { a.By = r.approvers(v) }},
		{key: "count", read: func(v value) { a.Count = r.approvalsCount(v, a) }},
		{key: "notStarter", read: func(v value) { a.NotStarter = r.truth(v) }},
		{key: "deadline", read: func(v value) { a.Deadline = r.deadline(v) }},
	}
}

// approvers reads the users who may say yes.
func (r *reader) approvers(v value) []string {
	return r.fewWords(v, "a list of users like [ann, bob]", few{"user", rollout.MaxApprovals}, func(item value, user string) {
		const longest = 256
		if strings.TrimSpace(user) != user || user == "" || len(user) > longest || strings.ContainsFunc(user, unicode.IsControl) {
			r.report(r.begin(item.node), item.key, "", "the user %s must be 1 to %d bytes that can be printed, without spaces around them", quote(user), longest)
		}
	})
}

// approvalsCount reads how many people have to say yes.
func (r *reader) approvalsCount(v value, a *rollout.Policy) int {
	count, ok := r.whole(v, 1, rollout.MaxApprovals)
	r.checks = append(r.checks, func() { // the users may stand below
		if ok && a.By != nil && count > len(a.By) {
			r.report(r.begin(v.node), v.key, "add users to by, or lower the count", "%d people have to approve, but by names %d", count, len(a.By))
		}
	})
	return count
}

// deadline reads after which time somebody is reminded of an approval.
func (r *reader) deadline(v value) rollout.Duration {
	return rollout.Duration(r.between(v, span{what: "a deadline", like: "30m or 4h", units: "h, m and s", hint: "leave the key out for none", least: MinDeadline, most: MaxDeadline}))
}

// checklist reads what is confirmed one by one.
func (r *reader) checklist(v value) []string {
	return r.fewWords(v, "a list of texts like [backups are fresh]", few{"item", rollout.MaxChecklist}, r.readable)
}

// prose reads text for people.
func (r *reader) prose(v value, want string) string {
	text, ok := r.text(v, want)
	if ok {
		r.readable(v, text)
	}
	return text
}

// readable reports text that people cannot read.
func (r *reader) readable(v value, text string) {
	unreadable := func(char rune) bool { return unicode.IsControl(char) && char != '\n' && char != '\t' }
	switch {
	case strings.TrimSpace(text) == "":
		r.report(r.begin(v.node), v.key, "", "the text must not be empty")
	case len(text) > rollout.MaxText:
		r.report(r.begin(v.node), v.key, "", "the text is %d bytes long, at most %d are allowed", len(text), rollout.MaxText)
	case strings.ContainsFunc(text, unreadable):
		r.report(r.begin(v.node), v.key, "", "the text cannot hold control characters")
	}
}

// requires reads what must have happened before.
func (r *reader) requires(v value, m *Manifest) *Requirement {
	q := &Requirement{Completed: true}
	r.fields(v, "a requirement, a map like {version: 0.0.1}", r.requiresFields(q, m))
	return q
}

// requiresFields are the keys of a requirement.
func (r *reader) requiresFields(q *Requirement, m *Manifest) []field {
	return []field{
		{key: "version", required: "0.0.1", read: func(v value) { q.Version = r.olderVersion(v, m) }},
		{key: "completed", read: func(v value) { q.Completed = r.completed(v) }},
	}
}

// completed reads whether the rollout of the required version has completed, which is all
// that can be required of it.
func (r *reader) completed(v value) bool {
	before := len(r.problems)
	completed := r.truth(v)
	if !completed && len(r.problems) == before {
		r.report(r.begin(v.node), v.key, "write completed: true, or remove requires", "a rollout can be required to have completed only, found false")
	}
	return completed
}

// olderVersion reads a version of the app that is older than its own.
func (r *reader) olderVersion(v value, m *Manifest) string {
	version := r.version(v)
	r.checks = append(r.checks, func() { // the app's version may stand below
		if cmp.Or(protocol.ValidateVersion(version), protocol.ValidateVersion(m.Version)) != nil {
			return // which is reported where it stands
		}
		own, ownErr := semver.StrictNewVersion(m.Version)
		older, err := semver.StrictNewVersion(version)
		switch {
		case cmp.Or(ownErr, err) != nil:
			r.incomparable(v, version, m.Version)
		case !older.LessThan(own):
			r.report(r.begin(v.node), v.key, "give a version that comes before it", "%s is not older than the app's version %s", quote(version), quote(m.Version))
		}
	})
	return version
}

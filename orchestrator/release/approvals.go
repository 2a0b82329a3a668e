package release

import (
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/golive-dev/golive/orchestrator/rollout"
)

// Limits of the deadline of an approval, beside those of package rollout.
const (
	MinDeadline = time.Second
	MaxDeadline = 90 * 24 * time.Hour
)

// Limits of how long ago a rehearsal may have been: an environment knows of it for no longer.
const (
	MinRehearsed = time.Minute
	MaxRehearsed = 30 * 24 * time.Hour
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
		{key: "required", byDefault: "false", read: func(v value) { a.Required = readTruth(v) }},
		{key: "by", read: func(v value) { a.By = readApprovers(v) }},
		{key: "count", byDefault: "1", read: func(v value) { a.Count = readApprovalsCount(v, a) }},
		{key: "notStarter", byDefault: "false", read: func(v value) { a.NotStarter = readTruth(v) }},
		{key: "deadline", read: func(v value) { a.Deadline = readDeadline(v) }},
		{key: "rehearsed", read: func(v value) { a.Rehearsed = readRehearsed(v) }},
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

// readRehearsed reads within which time a release has to have passed a rehearsal.
func readRehearsed(v value) rollout.Duration {
	return rollout.Duration(readBetween(v, span{what: "the time since a rehearsal", like: "24h", units: "h, m and s", hint: "leave the key out for none", least: MinRehearsed, most: MaxRehearsed}))
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

// questionDigest is what counts of an approval.
type questionDigest struct {
	Text      string        `json:"text"`
	Checklist []string      `json:"checklist,omitempty"`
	Deadline  time.Duration `json:"deadline,omitempty"`
}

// approvalsDigest is what counts of a policy.
type approvalsDigest struct {
	Required   bool          `json:"required,omitempty"`
	By         []string      `json:"by,omitempty"`
	Count      int           `json:"count,omitempty"`
	NotStarter bool          `json:"notStarter,omitempty"`
	Deadline   time.Duration `json:"deadline,omitempty"`
	Rehearsed  time.Duration `json:"rehearsed,omitempty"`
}

// digestApprovals is what counts of a policy; nil if it says nothing.
func digestApprovals(a rollout.Policy) *approvalsDigest {
	d := approvalsDigest{a.Required, slices.Sorted(slices.Values(a.By)), unless(a.Count, 1), a.NotStarter, time.Duration(a.Deadline), time.Duration(a.Rehearsed)}
	if reflect.ValueOf(d).IsZero() {
		return nil
	}
	return &d
}

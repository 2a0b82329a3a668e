package release

import (
	"errors"
	"strings"

	"github.com/golive-dev/golive/orchestrator/mask"
	"github.com/golive-dev/golive/orchestrator/rollout"
)

// readMask reads what is masked in copies of snapshots, by stream or bucket.
func readMask(v value) map[string]mask.Written {
	entries, ok := v.entries("a map of streams and buckets like {todos: {title: text, owner.mail: mail}}")
	if !ok {
		return nil
	}
	all := make(map[string]mask.Written)
	for n, e := range entries {
		if n == mask.MaxParts {
			e.value.reportKey("", "this is stream or bucket %d: at most %d are allowed", n+1, mask.MaxParts)
			break
		}
		if err := rollout.ValidateStream(e.name); err != nil {
			e.value.reportKey("", "%s", err)
		}
		if rules, ok := readRules(e.value); ok {
			all[e.name] = rules
		}
	}
	return all
}

// readRules reads the rules for one stream or bucket.
func readRules(v value) (mask.Written, bool) {
	entries, ok := v.entries("a map of fields like {title: text, owner.mail: mail}")
	if !ok {
		return nil, false
	}
	rules := make(mask.Written)
	for _, e := range entries {
		kind, ok := e.value.text("text, mail, digits or drop")
		if !ok {
			return nil, false
		}
		rules[e.name] = mask.Kind(kind)
	}
	if err := rules.Validate(); err != nil {
		v.report("fields are masked as text, mail, digits or drop, tokens of a subject or key like \"#1\" as text or digits; {\"*\": pass} masks nothing", "%s",
			strings.TrimPrefix(errors.Join(err).Error(), "mask: "))
		return nil, false
	}
	return rules, true
}

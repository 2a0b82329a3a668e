package release

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/golive-dev/golive/orchestrator/rollout"
)

// label is what a label of an agent and its value look like.
var label = regexp.MustCompile(`^[A-Za-z0-9._/-]{1,63}$`)

// labels reads on which agents a step runs.
func (r *reader) labels(v value) map[string]string {
	entries, ok := r.entries(v, "a map of labels like {role: web}")
	switch {
	case !ok:
		return nil
	case len(entries) == 0:
		r.report(r.begin(v.node), v.key, "leave the key out for any one agent", "there is no label in it")
	case len(entries) > rollout.MaxLabels:
		e := entries[rollout.MaxLabels].value
		r.report(e.at, e.key, "", "this is label %d: at most %d are allowed", rollout.MaxLabels+1, rollout.MaxLabels)
		entries = entries[:rollout.MaxLabels]
	}
	labels := map[string]string{}
	for _, e := range entries {
		if !label.MatchString(e.name) {
			r.report(e.value.at, e.value.key, "", labelRule, "label", quote(e.name))
		}
		labels[e.name] = r.labelValue(e.value)
	}
	return labels
}

const labelRule = "the %s %s must be 1 to 63 letters, digits, dots, slashes, hyphens and underscores"

// labelValue reads the value of a label.
func (r *reader) labelValue(v value) string {
	node, ok := r.plain(v)
	if !ok {
		return ""
	}
	text, ok := textOf(node)
	switch {
	case !ok:
		r.report(r.begin(node), v.key, asText(node), "expected text, found %s", describe(node))
	case !label.MatchString(text):
		r.report(r.begin(node), v.key, "", labelRule, "value", quote(text))
	}
	return text
}

// needsOn reports a key of a step that means something on several hosts only.
func (r *reader) needsOn(v value, s *Step) {
	r.checks = append(r.checks, func() { // the labels may stand below
		if s.On == nil {
			r.report(v.at, v.key, "give labels of agents, such as on: {role: web}, or remove it", "without on the step runs on one host, and this has no effect")
		}
	})
}

// allHosts is the need of all hosts.
const allHosts = "all"

// need reads how many hosts must succeed.
func (r *reader) need(v value) rollout.Need {
	const want = `all, a number of hosts from 1 to 1000, or a share of them from "1%" to "100%"`
	node, ok := r.plain(v)
	if !ok {
		return rollout.Need{}
	}
	if number, ok := node.(*ast.IntegerNode); ok {
		if n, ok := number.Value.(uint64); ok && n >= 1 && n <= rollout.MaxHosts {
			return rollout.Need{Hosts: int(n)}
		}
	}
	text, _ := textOf(node)
	digits, isShare := strings.CutSuffix(text, "%")
	percent, err := strconv.ParseUint(digits, 10, 8)
	switch {
	case text == allHosts:
	case isShare && err == nil && percent >= 1 && percent <= 100:
		return rollout.Need{Percent: int(percent)}
	default:
		r.wrong(v, node, want)
	}
	return rollout.Need{}
}

package gate_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// note keeps what happens for the story.
func (j *judge) note(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.notes = append(j.notes, note{time.Now().UnixNano(), fmt.Sprintf(format, args...)})
}

// story is what happened, in the order of time.
func (j *judge) story() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	all := slices.Clone(j.notes)
	for _, e := range j.written {
		var states []string
		for _, v := range e.Versions {
			states = append(states, v.Version+" "+string(v.State))
		}
		all = append(all, note{e.stored, fmt.Sprintf("route %d of %s.%d: %s", e.revision, e.Rollout, e.Sequence, strings.Join(states, ", "))})
	}
	slices.SortStableFunc(all, func(a, b note) int { return cmp.Compare(a.at, b.at) })
	var b strings.Builder
	for _, n := range all {
		fmt.Fprintf(&b, "%s %s\n", time.Unix(0, n.at).Format("15:04:05.000000"), n.text)
	}
	return b.String()
}

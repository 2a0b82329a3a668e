package release

import (
	"fmt"

	"github.com/goccy/go-yaml/ast"

	"github.com/golive-dev/golive/orchestrator/rollout"
)

// retries reads how often a script is tried again. A wrong number is not 0, with
// which backoff would have no effect.
func (r *reader) retries(v value) int {
	retries, ok := r.number(v, rollout.MaxRetries)
	if !ok {
		return -1
	}
	return retries
}

// rate reads how many records a second a script may deal with; 0 sets no limit.
func (r *reader) rate(v value) *float64 {
	const want = "a number of records a second, 0 (no limit) or more"
	node, ok := r.plain(v)
	if !ok {
		return nil
	}
	rate, ok := numberOf(node)
	if !ok || rate < 0 {
		r.wrong(v, node, want)
		return nil
	}
	if rate > 0 && rate < rollout.MinRate {
		r.report(r.begin(node), v.key, "golive pause holds a script", "a rate is 0 (no limit) or at least %g records a second, found %s", rollout.MinRate, describe(node))
	}
	return &rate
}

// numberOf is the number that a node holds. Infinity and what is no number at all are
// nodes of other kinds.
func numberOf(node ast.Node) (float64, bool) {
	switch n := node.(type) {
	case *ast.FloatNode:
		return n.Value + 0, true // not -0
	case *ast.IntegerNode:
		switch i := n.Value.(type) {
		case uint64:
			return float64(i), true
		case int64:
			return float64(i), true
		}
	}
	return 0, false
}

// inFlight reads how many batches of a script may be under way at the same time.
func (r *reader) inFlight(v value) int {
	batches, ok := r.number(v, rollout.MaxInFlight)
	if ok && batches == 0 {
		r.report(r.begin(v.node), v.key, "leave the key out for what its author has chosen; golive pause holds a script",
			"at least one batch must be under way, found the number 0")
	}
	return batches
}

// number reads a whole number from 0 to most.
func (r *reader) number(v value, most int) (int, bool) { return r.whole(v, 0, most) }

// whole reads a whole number from the least to the most.
func (r *reader) whole(v value, least, most int) (int, bool) {
	want := fmt.Sprintf("a whole number from %d to %d", least, most)
	node, ok := r.plain(v)
	if !ok {
		return 0, false
	}
	number, ok := node.(*ast.IntegerNode)
	if !ok {
		r.wrong(v, node, want)
		return 0, false
	}
	n, ok := number.Value.(uint64) // negative ones are int64
	if !ok || n < uint64(least) || n > uint64(most) {
		r.wrong(v, node, want)
		return 0, false
	}
	return int(n), true
}

// truth reads true or false.
func (r *reader) truth(v value) bool {
	node, ok := r.plain(v)
	if !ok {
		return false
	}
	truth, ok := node.(*ast.BoolNode)
	if !ok {
		r.wrong(v, node, "true or false")
		return false
	}
	return truth.Value
}

package release

import (
	"fmt"

	"github.com/goccy/go-yaml/ast"

	"github.com/golive-dev/golive/orchestrator/rollout"
)

// readRetries reads how often a script is tried again. A wrong number is not 0, with
// which backoff would have no effect.
func readRetries(v value) int {
	retries, ok := readWhole(v, 0, rollout.MaxRetries)
	if !ok {
		return -1
	}
	return retries
}

// readRate reads how many records a second a script may deal with; 0 sets no limit.
func readRate(v value) *float64 {
	const want = "a number of records a second, 0 (no limit) or more"
	plain, ok := v.plain()
	if !ok {
		return nil
	}
	rate, ok := numberOf(plain.node)
	if !ok || rate < 0 {
		plain.wrong(want)
		return nil
	}
	if rate > 0 && rate < rollout.MinRate {
		plain.report("golive pause holds a script", "a rate is 0 (no limit) or at least %g records a second, found %s", rollout.MinRate, describe(plain.node))
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

// readInFlight reads how many batches of a script may be under way at the same time.
func readInFlight(v value) int {
	batches, ok := readWhole(v, 0, rollout.MaxInFlight)
	if ok && batches == 0 {
		v.report("leave the key out for what its author has chosen; golive pause holds a script",
			"at least one batch must be under way, found the number 0")
	}
	return batches
}

// readWhole reads a whole number from the least to the most.
func readWhole(v value, least, most int) (int, bool) {
	want := fmt.Sprintf("a whole number from %d to %d", least, most)
	plain, ok := v.plain()
	if !ok {
		return 0, false
	}
	number, ok := plain.node.(*ast.IntegerNode)
	if !ok {
		plain.wrong(want)
		return 0, false
	}
	n, ok := number.Value.(uint64) // negative ones are int64
	if !ok || n < uint64(least) || n > uint64(most) {
		plain.wrong(want)
		return 0, false
	}
	return int(n), true
}

// readTruth reads true or false.
func readTruth(v value) bool {
	plain, ok := v.plain()
	if !ok {
		return false
	}
	truth, ok := plain.node.(*ast.BoolNode)
	if !ok {
		plain.wrong("true or false")
		return false
	}
	return truth.Value
}

package engine

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// The first ones stand line by line; of the rest there is a line a second with their number, and
// none is left out of the count.
func TestManyOfAKindAreALineASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept, logs := observer.New(zap.WarnLevel)
		tally := newTally(zap.New(kept))
		const many = 10_000
		for n := range 3 * many {
			if n > 0 && n%many == 0 {
				<-time.After(tallyEvery)
			}
			tally.note("answer changes nothing", "a-done", errors.New("stale"))
		}
		tally.note("reply changes nothing", "b", errors.New("stale"))
		tally.close()
		tally.note("answer changes nothing", "a-done", errors.New("at the end"))
		counted := 0
		for _, line := range logs.FilterMessage("answer changes nothing").All() {
			more, _ := line.ContextMap()["more like it"].(int64)
			counted += 1 + int(more)
		}
		if counted != 3*many+1 {
			t.Errorf("%d are told, want %d", counted, 3*many+1)
		}
		if n := logs.FilterMessage("answer changes nothing").Len(); n > tallyLines+5 {
			t.Errorf("they are told in %d lines", n)
		}
		if n := logs.FilterMessage("reply changes nothing").Len(); n != 1 {
			t.Errorf("another kind is told in %d lines, want one", n)
		}
	})
}

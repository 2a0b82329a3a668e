package kept

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestWhatOthersHaveFoundIsTold(t *testing.T) {
	t.Parallel()
	w := New(Config{ID: "one"})
	w.alarms["GOLIVE"] = "found here"
	w.hear(hello{Orchestrator: "two", Alarms: map[string]string{"GOLIVE": "found there", "KV_a": "it was purged"}})
	w.hear(hello{Orchestrator: "one", Alarms: map[string]string{"KV_b": "what was said here comes back"}})
	w.hear(hello{Orchestrator: "three", Alarms: map[string]string{"KV_c": strings.Repeat("x", maxAlarms-len("KV_c"))}})
	w.hear(hello{Orchestrator: "four", Alarms: map[string]string{"KV_d": strings.Repeat("x", maxAlarms-len("KV_d")+1)}})
	if all := w.Alarms(); len(all) != 3 || !slices.Contains(all, "found here") || !slices.Contains(all, "it was purged") {
		t.Errorf("the alarms are %.40q, want the one from here, and those of two and three", all)
	}
	w.hear(hello{Orchestrator: "two"})
	w.others["three"] = told{time.Now().Add(-w.believed() - time.Second), w.others["three"].alarms}
	if all := w.Alarms(); !slices.Equal(all, []string{"found here"}) {
		t.Errorf("the alarms are %q, want none of one that says so no more, and none of one that is gone", all)
	}
}

func TestSoManyOthersAreHeard(t *testing.T) {
	t.Parallel()
	w := New(Config{ID: "one"})
	for n := range maxOthers + 1 {
		w.hear(hello{Orchestrator: fmt.Sprint(n), Alarms: map[string]string{fmt.Sprint(n): fmt.Sprint(n)}})
	}
	if n := len(w.Alarms()); n != maxOthers {
		t.Errorf("%d are heard, want %d", n, maxOthers)
	}
}

package relay

import (
	"testing"
	"time"
)

func TestTheWaitingRoom(t *testing.T) {
	var w waitingRoom
	early := true
	enter := func(reply string) entry { return w.enter(request{reply: reply}, 2, func() bool { return early }) }
	for _, step := range []struct {
		reply string
		early bool
		want  entry
	}{{"a", true, waits}, {"b", false, late}, {"c", true, waits}, {"d", true, full}, {"e", false, late}} {
		if early = step.early; enter(step.reply) != step.want {
			t.Errorf("%s did not become %d", step.reply, step.want)
		}
	}
	moment := w.requests[1].held
	if gone := w.since(moment); len(gone) != 1 || gone[0].reply != "a" || w.count() != 1 {
		t.Errorf("%+v have waited too long, %d wait on", gone, w.count())
	}
	// One that waits once more has waited since it came.
	all := w.empty()
	if len(all) != 1 || all[0].reply != "c" || w.count() != 0 {
		t.Fatalf("it held %+v, and %d are left", all, w.count())
	}
	w.enter(all[0], 2, func() bool { return true })
	if gone := w.since(moment); len(gone) != 0 {
		t.Errorf("%+v have waited since before themselves", gone)
	}
	if gone := w.since(moment.Add(time.Nanosecond)); len(gone) != 1 {
		t.Errorf("%+v have waited too long, want one", gone)
	}
}

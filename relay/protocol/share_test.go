package protocol_test

import (
	"testing"

	"github.com/golive-dev/golive/relay/protocol"
)

func TestSubjectsOfSharedWork(t *testing.T) {
	s := protocol.Script{Name: "todo-search", Version: "0.0.1+build.5", Phase: protocol.Online}
	if got, want := protocol.ShareSubject(s), "golive.share.todo-search.0_0_1=build_5.online"; got != want {
		t.Errorf("invitations are on %s, want %s", got, want)
	}
	if got, want := protocol.AskSubject(s, "i", "todos"), "golive.share.todo-search.0_0_1=build_5.online.i.todos"; got != want {
		t.Errorf("work is asked for on %s, want %s", got, want)
	}
}

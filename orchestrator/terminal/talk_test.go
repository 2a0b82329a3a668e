package terminal

import (
	"bytes"
	"testing"
)

func TestTalkSaysWithoutColorWhatItSaysWithIt(t *testing.T) {
	var plainOut, colored bytes.Buffer
	for _, s := range []*Talk{Streams{Err: &plainOut}.Talk(false), Streams{Err: &colored, Color: true}.Talk(false)} {
		s.Say(Red, "✗", "it failed")
		s.Output("todos", "a line")
	}
	if got := bytes.Count(colored.Bytes(), []byte("\x1b")); got != 4 {
		t.Errorf("%d escapes, want 4", got)
	}
	if bytes.Contains(plainOut.Bytes(), []byte("\x1b")) {
		t.Error("escapes where no color was asked for")
	}
}

package terminal

import (
	"bytes"
	"strings"
	"testing"
)

// Where drawing fails, what is said is shown all the same, and nothing is drawn any more.
func TestTalkGoesOnWhenDrawingHasFailed(t *testing.T) {
	var out bytes.Buffer
	width := 80
	bottom := &screen{w: &out, size: func() (int, int) {
		if width == 0 {
			panic("there is no width")
		}
		return width, 24
	}}
	s := Streams{Err: bottom, bottom: bottom}.Talk(true)
	all := []Bar{{Name: "todos/online", State: "running", Percent: 40, Numbers: "4 of 10"}}
	s.Draw(all)
	s.Say(Plain, "→", "before")
	width = 0
	func() {
		defer func() {
			if recover() == nil {
				t.Error("drawing has not failed")
			}
		}()
		s.Draw(all)
	}()
	s.EndDrawing()
	s.EndDrawing()
	if s.Draws() {
		t.Error("it still draws")
	}
	out.Reset()
	s.Draw(all)
	s.Say(Plain, "←", "after")
	if got := out.String(); got != "← after\n" {
		t.Errorf("it shows %q", got)
	}
}

func TestBarsOfWhatCannotBe(t *testing.T) {
	for _, percent := range []int{-1000, -2, -1, 0, 100, 101, 1 << 40} {
		for _, width := range []int{1, 20, 80, 200} {
			lines := Bars([]Bar{{Name: "todos/online", State: "running", Percent: percent, Numbers: "?"}, {Name: "b", Percent: 1}}, Look{Width: width, Height: 5})
			if len(lines) == 0 || strings.Count(strings.Join(lines, ""), "█") > 2*mostBar {
				t.Errorf("%d %% in %d columns: %q", percent, width, lines)
			}
		}
	}
}

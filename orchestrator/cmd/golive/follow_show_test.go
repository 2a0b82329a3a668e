package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/report"
	"github.com/golive-dev/golive/orchestrator/terminal"
)

// A mistake where something is shown ends neither the program nor the story.
func TestAPanicWhileSomethingIsShownIsSaid(t *testing.T) {
	var out bytes.Buffer
	f := &follower{story: &narrator{Talk: terminal.Streams{Err: &out}.Talk(true), story: report.NewStory()}}
	var none *running
	f.running = map[string]*running{"todos/online": none}
	if f.shows(func() { f.tellLines(time.Now()) }) {
		t.Fatal("it was shown")
	}
	if got := out.String(); !strings.HasPrefix(got, "! how far it is cannot be shown as it was, please report this: runtime error: invalid memory address") ||
		!strings.Contains(got, " at follow.go:") || strings.Count(got, "\n") != 1 {
		t.Errorf("it says %q", got)
	}
	out.Reset()
	f.running = nil
	if !f.shows(func() { f.tellLines(time.Now()) }) || out.Len() > 0 {
		t.Errorf("it says %q", out.String())
	}
}

// It is said once, and the rest goes on.
func TestTickingOutlivesAPanic(t *testing.T) {
	shown := &shown{}
	f := &follower{story: &narrator{Talk: terminal.Streams{Err: shown}.Talk(true), story: report.NewStory()}}
	f.running = map[string]*running{"todos/online": nil}
	stop := f.startTicking()
	shown.await(t, "please report this")
	f.mu.Lock()
	f.running = map[string]*running{}
	f.mu.Unlock()
	stop()
	if rest := shown.String(); strings.Contains(rest, "please report") {
		t.Errorf("it is said once more: %s", rest)
	}
}

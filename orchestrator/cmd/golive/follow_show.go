package main

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/golive-dev/golive/orchestrator/terminal"
)

// shows reports whether something could be shown. That it could not, because of a mistake in
// golive, ends neither the rollout nor what runs beside it: it is said, and not tried again.
func (f *follower) shows(show func()) (done bool) {
	defer func() {
		if reason := recover(); reason != nil {
			f.story.Say(terminal.Yellow, "!", "how far it is cannot be shown as it was, please report this: %v at %s", reason, panicked())
		}
	}()
	show()
	return true
}

// panicked is where the code stands that has panicked, for a function that was deferred.
func panicked() string {
	callers := make([]uintptr, 50)
	frames := runtime.CallersFrames(callers[:runtime.Callers(1, callers)])
	for above, more := frames.Next(); more; above, more = frames.Next() {
		if above.Function != "runtime.gopanic" {
			continue
		}
		for at, more := frames.Next(); more; at, more = frames.Next() {
			if !strings.HasPrefix(at.Function, "runtime.") {
				return fmt.Sprintf("%s:%d", filepath.Base(at.File), at.Line)
			}
		}
	}
	return "an unknown place"
}

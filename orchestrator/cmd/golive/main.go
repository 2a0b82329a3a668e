// Command golive brings new versions of message-driven apps live.
//
// Each command is a file of its own that turns flags into requests to the API, or into calls of
// the packages beside it, and their results into text, JSON or YAML. It is handed what all
// commands need, a command; what it ends with otherwise than well is a failure. What happens to
// a rollout comes in through events in follow.go, is told by package report, and shown by package
// terminal; an app on this machine is run by package local. Nothing imports this package.
package main

import (
	"os"
	"runtime/debug"

	"github.com/golive-dev/golive/orchestrator/terminal"
)

// gcPercent lets the heap, which is small, grow to 2.4 times what is alive before it is
// swept: less work than by default, and still below 120 MB with 500 services under way (measured).
const gcPercent = 140

func main() {
	if isFirst() {
		if code, err := beFirst(); err == nil {
			os.Exit(code)
		} // else golive itself is the first process, and what was left behind stays a zombie
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	ctx, stop := untilInterrupted()
	defer stop()
	os.Exit(run(ctx, terminal.Standard(), os.Args[1:]))
}

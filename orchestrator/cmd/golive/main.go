// Command golive brings new versions of message-driven apps live.
//
// main wires the parts: each command is a file of its own that turns flags into calls
// of the packages beside it, and their results into text, JSON or YAML.
package main

import (
	"os"
	"runtime/debug"
)

// gcPercent lets the heap, which is small, grow to three times what is alive before it is
// swept: a tenth less work, for some 15 MB with a thousand rollouts under way.
const gcPercent = 200

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	ctx, stop := untilInterrupted()
	defer stop()
	os.Exit(run(ctx, terminal(), os.Args[1:]))
}

// Command golive brings new versions of message-driven apps live.
//
// main wires the parts: each command is a file of its own that turns flags into calls
// of the packages beside it, and their results into text, JSON or YAML.
package main

import "os"

func main() {
	ctx, stop := untilInterrupted()
	defer stop()
	os.Exit(run(ctx, terminal(), os.Args[1:]))
}

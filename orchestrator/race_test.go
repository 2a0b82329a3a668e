//go:build race

package orchestrator_test

// raced says that the race detector is at work, which makes all ten times slower.
const raced = true

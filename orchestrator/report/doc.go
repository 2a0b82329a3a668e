// Package report tells in words what happens to rollouts: the story of one, line by line
// ([Story]), how far its steps are ([Pulse]), how it stands and why it has failed ([Failed]), and
// what a plan will do. A [Reporter] makes the [Report] of a rollout, which is kept as a file.
//
// It is pure: states, events and answers of the API go in, and sentences come out. It has no
// goroutine and no stream; who tells a story shows its lines with package terminal. It knows the
// API, rollouts and the words of package terminal, and no engine.
package report

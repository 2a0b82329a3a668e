// Package terminal is how a command talks: what it says while it works and draws at the bottom
// of the terminal ([Talk], [Bar]), what it asks a person ([Prompter]), and how it answers
// ([Print], [Columns]), on the streams that it is given ([Streams]).
//
// It knows text, widths and streams, and nothing of rollouts: it imports no other package of
// golive. Numbers and times that several commands tell are put into words here, and text that
// others have written is made safe here (see safe.go).
package terminal

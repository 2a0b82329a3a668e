// Package process runs one program of an app on this machine, hands over its
// output line by line, and ends it so that nothing of it is left.
//
// A program runs without a shell and leads a process group of its own, so that
// [Process.Stop] reaches what it has started as well: the service behind `go run`,
// say, and not only `go run`. Ctrl-C in a terminal goes to the group of golive
// alone; it is the owner who stops each program, also one that has ended by itself,
// because it may have left processes behind. Only a process that has moved to
// another group on purpose, as a daemon does, is out of reach.
//
// A program can tell that golive has died, even by SIGKILL, from a pipe into which
// golive never writes and which it holds open as long as anything of the program runs,
// so that its end (EOF) means that nobody is left to stop the program. This is its
// standard input or, where that is at its end from the beginning, another descriptor:
// [EnvSupervised] and [EnvSupervisedFD] in its environment tell. For a program that does
// not look, there are records: [Remains] finds what a golive that was killed has left.
//
// The package restarts nothing, writes no log and handles no signal of golive's
// own. It works on Linux and macOS; elsewhere, Windows included, it is empty and
// what imports it does not compile.
package process

package bus

import (
	"os"
	"strconv"
)

// EnvSupervised is set to 1 by a parent that holds the other end of a pipe of this process
// and never writes to it: the end of that pipe is the end of the parent. Programs hear of it
// by way of relay.UntilStopped.
const EnvSupervised = "GOLIVE_SUPERVISED"

// EnvSupervisedFD is the number of the pipe's descriptor, where that is not standard input, and
// EnvSupervisedSession the session of the parent: a process that has gone to another one, as a
// daemon does, is not supervised, although it may hold the descriptor.
const (
	EnvSupervisedFD      = "GOLIVE_SUPERVISED_FD"
	EnvSupervisedSession = "GOLIVE_SUPERVISED_SESSION"
)

// Supervisor is where this process reads of the end of the parent that supervises it; nil when
// none does. It may be no pipe, which says nothing: a child that inherits the variables from
// a supervised wrapper may have another input. It is for whoever reads it to its end.
func Supervisor() *os.File {
	if os.Getenv(EnvSupervised) != "1" {
		return nil
	}
	fd, err := strconv.Atoi(os.Getenv(EnvSupervisedFD))
	if err != nil || fd == 0 {
		return os.Stdin
	}
	if os.Getenv(EnvSupervisedSession) != strconv.Itoa(session()) {
		return nil
	}
	info, err := os.Stat("/dev/fd/" + strconv.Itoa(fd)) // without touching what may be another's
	if err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		return nil
	}
	return os.NewFile(uintptr(fd), "supervisor")
}

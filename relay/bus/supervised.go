package bus

// EnvSupervised is set to 1 by a parent that holds the other end of this process's
// standard input, a pipe, and never writes to it: the end of that input is the end of
// the parent. Programs hear of it by way of relay.UntilStopped.
const EnvSupervised = "GOLIVE_SUPERVISED"

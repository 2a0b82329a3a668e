package state

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/golive-dev/golive/relay"
)

// What a command finds in its environment.
const (
	EnvSnapshot    = "GOLIVE_SNAPSHOT"     // the id of the snapshot
	EnvSnapshotDir = "GOLIVE_SNAPSHOT_DIR" // its folder: to be filled with take, to be read with put and check
	EnvSandbox     = "GOLIVE_SANDBOX"      // 1 in a rehearsal
)

// InSandbox reports whether this process belongs to a rehearsal: GOLIVE_SANDBOX is 1. What
// it finds of addresses is the sandbox's then.
func InSandbox() bool { return os.Getenv(EnvSandbox) == "1" }

// Main runs p as a whole program, which does what its last argument says: take, put, check
// or drop, with the folder that GOLIVE_SNAPSHOT_DIR names. It returns the exit code for
// os.Exit: 0 when that is done, 1 when not, 2 when it was not called as it should be. One
// line on stdout says what was done, one on stderr what went wrong. SIGINT, SIGTERM and the
// end of a supervising parent end the provider's context.
func Main(p Provider) int {
	ctx, stop := relay.UntilStopped(context.Background())
	defer stop()
	return run(ctx, p, os.Args[1:], os.Stdout, os.Stderr)
}

func run(ctx context.Context, p Provider, args []string, stdout, stderr io.Writer) int {
	verb := ""
	if len(args) > 0 {
		verb = args[len(args)-1]
	}
	dir, s := os.Getenv(EnvSnapshotDir), Sealed{Of: p, Snapshot: os.Getenv(EnvSnapshot)}
	do := map[string]func(context.Context, string) error{
		"take": s.Take, "put": s.Put, "check": s.Check, "drop": s.Drop,
	}[verb]
	switch {
	case do == nil:
		fmt.Fprintf(stderr, "error: the last argument is %q: it has to be take, put, check or drop\n", verb)
		return 2
	case dir == "":
		fmt.Fprintf(stderr, "error: %s is not set: let it name the snapshot's folder\n", EnvSnapshotDir)
		return 2
	}
	err := do(ctx, dir)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("it was stopped: %w", err)
	}
	if err != nil {
		fmt.Fprintf(stderr, "error: %s: %v\n", verb, err)
		return 1
	}
	fmt.Fprintln(stdout, done(verb, dir))
	return 0
}

// done is the sentence about what was done.
func done(verb, dir string) string {
	words := map[string]string{"take": "taken", "put": "put back", "check": "all as it was taken", "drop": "dropped"}[verb]
	s, err := readSeal(dir)
	if verb == "drop" || err != nil {
		return words
	}
	unit := "files"
	if len(s.Files) == 1 {
		unit = "file"
	}
	return fmt.Sprintf("%s: %d %s, %s", words, len(s.Files), unit, bytesOf(s.total()))
}

// bytesOf writes a size as people do.
func bytesOf(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d bytes", n)
	}
	size, units := float64(n)/1000, "kMGTPE"
	for size >= 999.95 {
		size, units = size/1000, units[1:]
	}
	return fmt.Sprintf("%.1f %cB", size, units[0])
}

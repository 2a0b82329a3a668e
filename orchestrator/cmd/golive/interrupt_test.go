package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/terminal"
)

// get sends this process a signal.
func get(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(os.Getpid(), s); err != nil {
		t.Fatal(err)
	}
}

func mustEnd(t *testing.T, what string, ctx context.Context) {
	t.Helper()
	select {
	case <-ctx.Done():
	case <-time.After(20 * time.Second):
		t.Fatalf("%s goes on", what)
	}
}

// A closed terminal ends what runs, and one SIGHUP more is no wish to have it at once.
func TestAClosedTerminalEndsWhatRuns(t *testing.T) {
	heard := make(chan os.Signal, 1)
	signal.Notify(heard, syscall.SIGHUP) // from here on it is not ignored
	defer signal.Stop(heard)
	ctx, stop := untilInterrupted()
	defer stop()
	hard := atOnce(ctx)
	if ctx.Err() != nil || hard.Err() != nil {
		t.Fatal("it has ended before")
	}
	get(t, syscall.SIGHUP)
	mustEnd(t, "what runs", ctx)
	<-heard
	get(t, syscall.SIGHUP)
	<-heard
	get(t, syscall.SIGTERM)
	if hard.Err() != nil {
		t.Fatal("what is being stopped was to end at once")
	}
	get(t, syscall.SIGINT)
	mustEnd(t, "what is being stopped", hard)
}

func TestASignalThatIsIgnoredStaysSo(t *testing.T) {
	signal.Ignore(syscall.SIGHUP)
	defer func() { // Reset alone would leave it ignored
		heard := make(chan os.Signal, 1)
		signal.Notify(heard, syscall.SIGHUP)
		signal.Stop(heard)
	}()
	ctx, stop := untilInterrupted()
	defer stop()
	if !signal.Ignored(syscall.SIGHUP) {
		t.Error("with nohup, a closed terminal ends it")
	}
	get(t, syscall.SIGHUP)
	if ctx.Err() != nil {
		t.Error("it has ended")
	}
}

func TestAnOutputThatNobodyReadsEndsWhatRuns(t *testing.T) {
	reader, output, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer output.Close()
	ctx, stop := untilUnread(t.Context(), output)
	defer stop()
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := output.Write([]byte("hello")); err == nil {
		t.Error("a pipe that nobody reads takes what is written")
	}
	mustEnd(t, "what runs", ctx)
	get(t, syscall.SIGPIPE) // while it is being stopped
}

// A client of the bus that goes away is no reason to end: the server in this process, which still
// writes to it, gets a SIGPIPE.
func TestAnotherPipeThatNobodyReadsEndsNothing(t *testing.T) {
	reader, output, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	defer output.Close()
	ctx, stop := untilUnread(t.Context(), output)
	defer stop()
	heard := make(chan os.Signal, 2)
	signal.Notify(heard, syscall.SIGPIPE)
	defer signal.Stop(heard)
	for range 10 { // the first ones have been looked at when the last one comes
		get(t, syscall.SIGPIPE)
		<-heard
	}
	if terminal.Unread(output) || ctx.Err() != nil {
		t.Errorf("with an output that somebody reads, it has ended: %v", ctx.Err())
	}
}

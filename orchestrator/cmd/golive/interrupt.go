package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// untilInterrupted is a context that ends with the first SIGINT or SIGTERM; a second
// one ends what is then still being stopped (see atOnce).
func untilInterrupted() (context.Context, context.CancelFunc) {
	hard, kill := context.WithCancel(context.Background())
	soft, cancel := context.WithCancel(context.WithValue(context.Background(), atOnceKey{}, hard))
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() { // ends with the process
		<-signals
		cancel()
		<-signals
		kill()
	}()
	return soft, func() { signal.Stop(signals); cancel(); kill() }
}

type atOnceKey struct{}

// atOnce is a context for stopping things in: it ends when a person wants everything
// to end at once.
func atOnce(ctx context.Context) context.Context {
	if hard, ok := ctx.Value(atOnceKey{}).(context.Context); ok {
		return hard
	}
	return context.WithoutCancel(ctx)
}

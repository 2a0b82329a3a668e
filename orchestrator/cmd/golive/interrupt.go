package main

import (
	"context"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/golive-dev/golive/orchestrator/terminal"
)

// untilInterrupted is a context that ends with the first SIGINT, SIGTERM or, when the terminal
// is closed, SIGHUP; a second SIGINT or SIGTERM ends what is then still being stopped (see
// atOnce), and a third one this process, whatever it does. A SIGHUP that was ignored when the
// process began, as nohup has it, stays so; a second one says nothing new: a shell and the
// system may both send one.
func untilInterrupted() (context.Context, context.CancelFunc) {
	hard, kill := context.WithCancel(context.Background())
	soft, cancel := context.WithCancel(context.WithValue(context.Background(), atOnceKey{}, hard))
	interrupts, hangups := make(chan os.Signal, 2), make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(hangups, syscall.SIGHUP)
	}
	go func() { // ends with the process
		select {
		case <-interrupts:
		case <-hangups:
			cancel()
			<-interrupts
		}
		cancel()
		<-interrupts
		kill()
		signal.Stop(interrupts)
	}()
	return soft, func() { signal.Stop(interrupts); signal.Stop(hangups); cancel(); kill() }
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

// untilUnread is a context that ends also when nobody reads any more what this process says,
// such as a pipe to a program that has ended: it would end without having stopped what it has
// started. A SIGPIPE alone does not say so: it comes, too, when a client of the bus in this process
// has gone.
func untilUnread(ctx context.Context, outputs ...*os.File) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	pipes := make(chan os.Signal, 1)
	signal.Notify(pipes, syscall.SIGPIPE)
	go func() { // ends with ctx
		for {
			select {
			case <-pipes:
				if slices.ContainsFunc(outputs, terminal.Unread) {
					cancel()
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, func() { signal.Stop(pipes); cancel() }
}

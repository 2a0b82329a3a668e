package relay

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/golive-dev/golive/relay/bus"
)

// Main runs s as a whole program: it connects as the environment says
// ([FromEnvironment]), serves until SIGINT, SIGTERM or the end of a supervising
// parent, and returns the exit code for os.Exit. An empty s.Version is taken from
// GOLIVE_VERSION; with another one than that, it refuses to serve. Logs go to stderr.
func Main(s Service) int {
	return MainWith(func(context.Context, *Relay) (Service, error) { return s, nil })
}

// MainWith is [Main] for a service whose handlers need the bus or have to be built
// first: prepare is called once connected, and ctx ends when the program shall.
func MainWith(prepare func(ctx context.Context, r *Relay) (Service, error)) int {
	ctx, stop := UntilStopped(context.Background())
	defer stop()
	log := StderrLogger()
	if err := serveMain(ctx, log, prepare); err != nil && ctx.Err() == nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		return 1
	}
	return 0
}

func serveMain(ctx context.Context, log *zap.Logger, prepare func(context.Context, *Relay) (Service, error)) error {
	c := FromEnvironment()
	c.Name, c.Logger = os.Getenv(EnvService), log
	r, err := Connect(ctx, c)
	if err != nil {
		return err
	}
	defer r.Close()
	s, err := prepare(ctx, r)
	if err != nil {
		return err
	}
	if told := os.Getenv(EnvVersion); s.Version == "" {
		s.Version = told
	} else if told != "" && told != s.Version {
		return fmt.Errorf("service %s: its Version is %s, but %s is %s: let them be the same, or leave Version empty", s.Name, s.Version, EnvVersion, told)
	}
	return r.Serve(ctx, s)
}

// UntilStopped is a context that ends with SIGINT, with SIGTERM, and, when
// GOLIVE_SUPERVISED is 1 and the descriptor that GOLIVE_SUPERVISED_FD names, standard
// input without it, is a pipe, with the end of that. (A child that inherits the variables
// from a supervised wrapper may have another input, which says nothing about the parent. A
// daemon that has left the session that GOLIVE_SUPERVISED_SESSION names is to stay.)
func UntilStopped(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(parent, os.Interrupt, syscall.SIGTERM)
	supervisor := bus.Supervisor()
	if supervisor == nil || !isPipe(supervisor) {
		return ctx, stop
	}
	ctx, cancel := context.WithCancel(ctx)
	go func() { // ends with the process: a read of standard input cannot be interrupted
		_, _ = io.Copy(io.Discard, supervisor)
		cancel()
	}()
	return ctx, func() { cancel(); stop() }
}

func isPipe(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeNamedPipe != 0
}

// StderrLogger writes one short line per entry to stderr, from level info on.
func StderrLogger() *zap.Logger {
	enc := zapcore.EncoderConfig{
		LevelKey: "level", MessageKey: "message", LineEnding: "\n",
		EncodeLevel: zapcore.LowercaseLevelEncoder, EncodeDuration: zapcore.StringDurationEncoder,
		ConsoleSeparator: " ",
	}
	return zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(enc), zapcore.Lock(os.Stderr), zapcore.InfoLevel))
}

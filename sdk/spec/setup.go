package spec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/bus"
)

const (
	killAfter = 3 * time.Second // from SIGTERM to SIGKILL
	stopGrace = 5 * time.Second // how long a setup service may take to end, whatever it is
)

// errEnded says that the setup service has ended by itself.
var errEnded = errors.New("the setup service has ended, and shall listen until it is stopped")

// setupService is the setup service of a scenario, at work.
type setupService struct {
	end   context.CancelFunc
	ended chan struct{}
	err   error // why it has ended; to be read after ended
}

// startSetup starts the setup service, in this process or as one of its own.
func (s Suite) startSetup(ctx context.Context, b *testBus, out io.Writer) (*setupService, error) {
	ctx, end := context.WithCancel(context.WithoutCancel(ctx))
	work, err := s.setupWork(ctx, b, out)
	if err != nil {
		end()
		return nil, fmt.Errorf("start the setup service: %w", err)
	}
	service := &setupService{end: end, ended: make(chan struct{})}
	go func() {
		defer close(service.ended)
		service.err = work()
	}()
	return service, nil
}

// setupWork gives what blocks while the setup service works, until ctx ends.
func (s Suite) setupWork(ctx context.Context, b *testBus, out io.Writer) (func() error, error) {
	if len(s.Command) > 0 {
		return s.startCommand(ctx, b, out)
	}
	r, err := b.connect(ctx, "setup")
	if err != nil {
		return nil, err
	}
	setup := s.SetupService
	if setup.Logger == nil {
		setup.Logger = loggerTo(out)
	}
	return func() error {
		defer r.Close()
		return setup.Run(ctx, r)
	}, nil
}

// during is ctx as long as the setup service works. The caller must release it.
func (s *setupService) during(ctx context.Context) (while context.Context, release func()) {
	while, cancel := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-s.ended:
			cancel(s.whyEnded())
		case <-while.Done():
		}
	})
	return while, func() { cancel(nil); watching.Wait() }
}

// whyEnded says why it has ended by itself. It may be called once it has.
func (s *setupService) whyEnded() error {
	if s.err == nil {
		return errEnded
	}
	return fmt.Errorf("%w: %w", errEnded, s.err)
}

// stop ends the setup service and blocks until it has ended, or has been given up.
func (s *setupService) stop() error {
	s.end()
	grace := time.NewTimer(stopGrace)
	defer grace.Stop()
	select {
	case <-s.ended:
		return nil // why it ended before, if it did, was told then
	case <-grace.C:
		return fmt.Errorf("the setup service has not ended within %s: its scripts must return soon after their context ends", stopGrace)
	}
}

// startCommand starts the program; what it leaves running in its process group is
// killed when it has ended.
func (s Suite) startCommand(ctx context.Context, b *testBus, out io.Writer) (func() error, error) {
	cmd := exec.CommandContext(ctx, s.Command[0], s.Command[1:]...)
	cmd.Dir = s.Dir
	cmd.Env = append(cmd.Environ(), relay.EnvURL+"="+b.server.URL(), relay.EnvCredentials+"=", bus.EnvSupervised+"=1", bus.EnvSupervisedFD+"=0",
		relay.EnvService+"="+s.Service, relay.EnvVersion+"="+s.Version)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that it can be ended with all it has started
	cmd.Cancel = func() error { return signalGroup(cmd, syscall.SIGTERM) }
	cmd.WaitDelay = killAfter
	if _, err := cmd.StdinPipe(); err != nil { // its end tells the program that we have died
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w: correct Command and Dir", err)
	}
	return func() error {
		err := cmd.Wait()
		_ = signalGroup(cmd, syscall.SIGKILL) // nobody may be left
		return err
	}, nil
}

func signalGroup(cmd *exec.Cmd, signal syscall.Signal) error {
	err := syscall.Kill(-cmd.Process.Pid, signal)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

// loggerTo writes one short line per entry to out.
func loggerTo(out io.Writer) *zap.Logger {
	encoder := zapcore.NewConsoleEncoder(zapcore.EncoderConfig{
		LevelKey: "level", MessageKey: "message", LineEnding: "\n",
		EncodeLevel: zapcore.LowercaseLevelEncoder, EncodeDuration: zapcore.StringDurationEncoder, ConsoleSeparator: " ",
	})
	return zap.New(zapcore.NewCore(encoder, zapcore.AddSync(out), zapcore.InfoLevel))
}

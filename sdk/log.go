package sdk

import (
	"os"
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// logger is the script's own: lines go to the worker's logger and, unless a parent
// shows this process's output anyway, over the bus to whoever follows the rollout.
func (a *attempt) logger() *zap.Logger {
	if a.start.Rollout == "" || os.Getenv(bus.EnvSupervised) == "1" {
		return a.worker.log
	}
	encoder := zapcore.NewConsoleEncoder(zapcore.EncoderConfig{
		MessageKey: "message", EncodeDuration: zapcore.StringDurationEncoder, ConsoleSeparator: " ",
	})
	return a.worker.log.WithOptions(zap.WrapCore(func(c zapcore.Core) zapcore.Core {
		return zapcore.NewTee(c, &busCore{LevelEnabler: zapcore.InfoLevel, attempt: a, encoder: encoder})
	}))
}

// busCore publishes each entry as a protocol.LogLine. Nobody has to listen.
type busCore struct {
	zapcore.LevelEnabler
	attempt *attempt
	encoder zapcore.Encoder
}

func (c *busCore) With(fields []zapcore.Field) zapcore.Core {
	encoder := c.encoder.Clone()
	for _, f := range fields {
		f.AddTo(encoder)
	}
	return &busCore{LevelEnabler: c.LevelEnabler, attempt: c.attempt, encoder: encoder}
}

func (c *busCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

func (c *busCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	text, err := c.encoder.EncodeEntry(e, fields)
	if err != nil {
		return err
	}
	defer text.Free()
	start := c.attempt.start
	return c.attempt.worker.nc.Publish(protocol.LogSubject(start.Rollout), marshal(protocol.LogLine{
		Step: start.Step, Attempt: start.Attempt, Time: e.Time.UTC(), Level: levelName(e.Level),
		Text: clip(strings.TrimRight(text.String(), "\n")),
	}))
}

// levelName is the level as the protocol knows it.
func levelName(l zapcore.Level) string {
	if l > zapcore.ErrorLevel {
		l = zapcore.ErrorLevel
	}
	return l.String()
}

func (c *busCore) Sync() error { return nil }

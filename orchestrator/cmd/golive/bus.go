package main

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/local"
	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay"
)

// named is the bus that the flags name, or else the environment that m was loaded for.
func (c *command) named(m *release.Manifest) local.Place {
	if c.nats != "" || c.context != "" {
		return c.told()
	}
	return c.within(m, m.Environment)
}

// told is the bus that the flags name, or else the variables of the process.
func (c *command) told() local.Place {
	p := local.Place{URL: c.nats, Creds: c.creds, Context: c.context, Domain: c.domain, Inbox: c.inbox}
	switch {
	case c.nats != "" && !c.given["nats"]:
		p.Variable = relay.EnvURL
	case c.context != "" && !c.given["context"]:
		p.Variable = relay.EnvContext
	}
	return p
}

// within is the bus of an environment of a manifest.
func (c *command) within(m *release.Manifest, e release.Environment) local.Place {
	p := local.Place{URL: e.NATS, Creds: c.creds, Context: e.Context, Domain: cmp.Or(c.domain, e.Domain), Inbox: c.inbox}
	if e.Creds != "" && p.Creds == "" {
		p.Creds = e.Creds
		if !filepath.IsAbs(p.Creds) {
			p.Creds = filepath.Join(m.Dir, p.Creds)
		}
	}
	return p
}

// address is where the bus is: as the flags say, or the environment of the manifest in dir,
// else the `golive up` that runs for that folder or was called in this one.
func (c *command) address(dir string) (local.Place, error) {
	return c.addressBy(dir, func() (*release.Manifest, error) { return c.load(cmp.Or(dir, ".")) })
}

// addressBy is address, with the manifest in dir as load reads it.
func (c *command) addressBy(dir string, load func() (*release.Manifest, error)) (local.Place, error) {
	if c.nats != "" || c.context != "" {
		return c.told(), nil
	}
	if c.env != "" {
		m, err := load()
		if err != nil {
			return local.Place{}, err
		}
		if p := c.within(m, m.Environment); p.Known() {
			return p, nil
		}
	}
	var near []local.Beacon
	for _, b := range local.Beacons(local.BeaconFolder(c.Getenv)) {
		if b.Near(c.Dir) || (dir != "" && b.Near(c.absolute(dir))) {
			near = append(near, b)
		}
	}
	switch len(near) {
	case 0:
		return local.Place{}, &failure{code: codeNoBus, exit: exitFailed,
			message: "no bus is named, and no golive up runs for this folder",
			hint:    "name one with --nats URL, or start the app: golive up DIR"}
	case 1:
		return local.Place{URL: near[0].URL, Creds: c.creds, Domain: c.domain, Inbox: c.inbox}, nil
	}
	var all []string
	for _, b := range near {
		all = append(all, fmt.Sprintf("%s (golive up of %s)", b.URL, b.Dir))
	}
	return local.Place{}, &failure{code: codeNoBus, exit: exitFailed,
		message: "several golive up run for this folder: " + strings.Join(all, ", "),
		hint:    "name one with --nats URL"}
}

// load reads the manifest in a folder.
func (c *command) load(dir string) (*release.Manifest, error) {
	m, err := release.LoadFor(c.absolute(dir), c.env)
	if err != nil {
		return nil, problems(c, err, "")
	}
	return m, nil
}

// absolute is a path that was given here.
func (c *command) absolute(dir string) string {
	if filepath.IsAbs(dir) {
		return filepath.Clean(dir)
	}
	return filepath.Join(c.Dir, dir)
}

// short is a path as it is seen from here.
func (c *command) short(path string) string { return terminal.PathFrom(c.Dir, path) }

// connect reaches a bus, or says why not.
func (c *command) connect(ctx context.Context, p local.Place) (*relay.Relay, error) {
	return p.Connect(ctx, me(), c.logger())
}

// attach connects what runs for long, with a log for it: it waits for the bus as long as that
// takes. There is neither a connection nor an error when ctx ends first.
func (c *command) attach(ctx context.Context, p local.Place, name string, asJSON bool) (*relay.Relay, *zap.Logger, error) {
	level := zapcore.InfoLevel
	if c.verbose {
		level = zapcore.DebugLevel
	}
	log := c.loggerFrom(level, asJSON)
	r, err := relay.Connect(ctx, relay.Config{URL: p.URL, Credentials: p.Creds, Context: p.Context, Domain: p.Domain, Inbox: p.Inbox, Name: name, Logger: log})
	if err != nil && ctx.Err() != nil {
		return nil, log, nil
	}
	return r, log, err
}

// reach connects to the bus of the environment, as address finds it.
func (c *command) reach(ctx context.Context, dir string) (*relay.Relay, error) {
	p, err := c.address(dir)
	if err != nil {
		return nil, err
	}
	return c.connect(ctx, p)
}

// reachFor is reach for a manifest in dir that was read already.
func (c *command) reachFor(ctx context.Context, dir string, m *release.Manifest) (*relay.Relay, error) {
	p, err := c.addressBy(dir, func() (*release.Manifest, error) { return m, nil })
	if err != nil {
		return nil, err
	}
	return c.connect(ctx, p)
}

// ask connects, has f ask the orchestrator, and disconnects.
func ask[Out any](ctx context.Context, c *command, dir string, f func(context.Context, *api.Client) (Out, error)) (Out, error) {
	var none Out
	r, err := c.reach(ctx, dir)
	if err != nil {
		return none, err
	}
	return askBy(ctx, c, r, f)
}

// askBy has f ask the orchestrator over a connection, and closes it.
func askBy[Out any](ctx context.Context, c *command, r *relay.Relay, f func(context.Context, *api.Client) (Out, error)) (Out, error) {
	defer r.Close()
	client := api.NewClient(r.Conn())
	defer c.keepTime(client)
	return f(ctx, client)
}

// logger writes to stderr with -v, and nothing but warnings without.
func (c *command) logger() *zap.Logger {
	level := zapcore.WarnLevel
	if c.verbose {
		level = zapcore.DebugLevel
	}
	return c.loggerFrom(level, false)
}

// loggerFrom writes what is of a level or above to stderr, as text or JSON.
func (c *command) loggerFrom(level zapcore.Level, asJSON bool) *zap.Logger {
	config := zapcore.EncoderConfig{
		TimeKey: "time", LevelKey: "level", MessageKey: "message", LineEnding: "\n",
		EncodeTime:  zapcore.TimeEncoderOfLayout("2006-01-02T15:04:05.000Z07:00"),
		EncodeLevel: zapcore.LowercaseLevelEncoder, EncodeDuration: zapcore.StringDurationEncoder, ConsoleSeparator: " ",
	}
	encoder := zapcore.NewConsoleEncoder(config)
	if asJSON {
		encoder = zapcore.NewJSONEncoder(config)
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(c.Err)), level))
}

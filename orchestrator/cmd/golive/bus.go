package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/relay"
)

// beacon is how a running `golive up` tells other commands of this user where its bus
// is: a file in the user's cache folder for each data folder.
type beacon struct {
	URL  string `json:"url"`
	Dir  string `json:"dir"`  // of the manifest
	Cwd  string `json:"cwd"`  // where up was called
	Data string `json:"data"` // folder of the bus
	PID  int    `json:"pid"`
}

func beaconFolder(getenv func(string) string) string {
	if cache := getenv("XDG_CACHE_HOME"); cache != "" {
		return filepath.Join(cache, "golive", "up")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = filepath.Join(os.TempDir(), fmt.Sprintf("golive-%d", os.Getuid()))
	}
	return filepath.Join(cache, "golive", "up")
}

// light puts the beacon up; put takes it away again.
func (b beacon) light(folder string) (put func(), err error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("tell other commands where the bus is: %w", err)
	}
	sum := sha256.Sum256([]byte(b.Data))
	path := filepath.Join(folder, hex.EncodeToString(sum[:8])+".json")
	data, err := json.Marshal(b)
	if err == nil {
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("tell other commands where the bus is: %w", err)
	}
	return func() { _ = os.Remove(path) }, nil
}

// beacons lists those whose bus answers.
func beacons(folder string) []beacon {
	paths, _ := filepath.Glob(filepath.Join(folder, "*.json"))
	var lit []beacon
	for _, path := range paths {
		var b beacon
		data, err := os.ReadFile(path)
		if err != nil || json.Unmarshal(data, &b) != nil || !b.answers() {
			continue
		}
		lit = append(lit, b)
	}
	return lit
}

func (b beacon) answers() bool {
	u, err := url.Parse(b.URL)
	if err != nil {
		return false
	}
	conn, err := net.DialTimeout("tcp", u.Host, 500*time.Millisecond)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// near reports whether a command in dir means this bus.
func (b beacon) near(dir string) bool {
	inside := func(folder string) bool {
		return dir == folder || strings.HasPrefix(dir, folder+string(filepath.Separator))
	}
	return dir == b.Cwd || inside(b.Dir)
}

// place is where a bus is, and how one gets in.
type place struct {
	url, creds string
	context    string // of the nats command line; it says both
}

// is reports whether the place is known.
func (p place) is() bool { return p.url != "" || p.context != "" }

// environment is the place as programs find it in their environment.
func (p place) environment() []string {
	return []string{relay.EnvURL + "=" + p.url, relay.EnvCredentials + "=" + p.creds, relay.EnvContext + "=" + p.context}
}

// named is the bus that the flags name, or else the environment that m was loaded for.
func (c *command) named(m *release.Manifest) place {
	if c.nats != "" || c.context != "" {
		return place{url: c.nats, creds: c.creds, context: c.context}
	}
	return c.within(m, m.Environment)
}

// within is the bus of an environment of a manifest.
func (c *command) within(m *release.Manifest, e release.Environment) place {
	p := place{url: e.NATS, creds: c.creds, context: e.Context}
	if e.Creds != "" && p.creds == "" {
		p.creds = e.Creds
		if !filepath.IsAbs(p.creds) {
			p.creds = filepath.Join(m.Dir, p.creds)
		}
	}
	return p
}

// address is where the bus is: as the flags say, or the environment of the manifest in dir,
// else the `golive up` that runs for that folder or was called in this one.
func (c *command) address(dir string) (place, error) {
	if c.nats != "" || c.context != "" {
		return place{url: c.nats, creds: c.creds, context: c.context}, nil
	}
	if c.env != "" {
		m, err := c.load(cmp.Or(dir, "."))
		if err != nil {
			return place{}, err
		}
		if p := c.within(m, m.Environment); p.is() {
			return p, nil
		}
	}
	var near []beacon
	for _, b := range beacons(beaconFolder(c.getenv)) {
		if b.near(c.dir) || (dir != "" && b.near(c.absolute(dir))) {
			near = append(near, b)
		}
	}
	switch len(near) {
	case 0:
		return place{}, &failure{code: codeNoBus, exit: exitFailed,
			message: "no bus is named, and no golive up runs for this folder",
			hint:    "name one with --nats URL, or start the app: golive up DIR"}
	case 1:
		return place{url: near[0].URL, creds: c.creds}, nil
	}
	var all []string
	for _, b := range near {
		all = append(all, fmt.Sprintf("%s (golive up of %s)", b.URL, b.Dir))
	}
	return place{}, &failure{code: codeNoBus, exit: exitFailed,
		message: "several golive up run for this folder: " + strings.Join(all, ", "),
		hint:    "name one with --nats URL"}
}

func (c *command) absolute(dir string) string {
	if filepath.IsAbs(dir) {
		return filepath.Clean(dir)
	}
	return filepath.Join(c.dir, dir)
}

// connectTimeout is how long a command waits for the bus.
const connectTimeout = 5 * time.Second

// connect reaches a bus, or says why not.
func (c *command) connect(ctx context.Context, p place) (*relay.Relay, error) {
	trying, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	r, err := relay.Connect(trying, relay.Config{URL: p.url, Credentials: p.creds, Context: p.context, Name: "golive " + me(), Logger: c.logger()})
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("%w: nobody answered within %s", err, connectTimeout)
	}
	if err != nil {
		return nil, &failure{code: codeNoBus, exit: exitFailed, message: err.Error(),
			hint: "is a NATS server running there? name another one with --nats URL"}
	}
	return r, nil
}

// attach connects what runs for long, with a log for it: it waits for the bus as long as that
// takes. There is neither a connection nor an error when ctx ends first.
func (c *command) attach(ctx context.Context, p place, name string, asJSON bool) (*relay.Relay, *zap.Logger, error) {
	level := zapcore.InfoLevel
	if c.verbose {
		level = zapcore.DebugLevel
	}
	log := c.loggerFrom(level, asJSON)
	r, err := relay.Connect(ctx, relay.Config{URL: p.url, Credentials: p.creds, Context: p.context, Name: name, Logger: log})
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

// ask connects, has f ask the orchestrator, and disconnects.
func ask[Out any](ctx context.Context, c *command, dir string, f func(context.Context, *api.Client) (Out, error)) (Out, error) {
	var none Out
	r, err := c.reach(ctx, dir)
	if err != nil {
		return none, err
	}
	defer r.Close()
	return f(ctx, api.NewClient(r.Conn()))
}

// logger writes to stderr with -v, and nothing but warnings without.
func (c *command) logger() *zap.Logger {
	level := zapcore.WarnLevel
	if c.verbose {
		level = zapcore.DebugLevel
	}
	return c.loggerFrom(level, false)
}

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
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(c.err)), level))
}

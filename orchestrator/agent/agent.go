package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// Journal tells how a rollout stands, from the stream's leader; [*journal.Journal] does.
type Journal interface {
	Load(ctx context.Context, app, id string) (journal.Record, error)
	Now(ctx context.Context) (time.Time, error) // by which deadlines are set
}

// Config says what an agent is, and what it may run.
type Config struct {
	Conn     *nats.Conn          // required
	Journal  Journal             // required
	Releases []*release.Manifest // whose commands and checks it may run; required

	Name        string            // of the host; empty: made of the host's own name
	Labels      map[string]string // that steps ask for
	Version     string            // of golive, for people
	Environment []string          // of its programs, KEY=VALUE, beside Base
	Base        []string          // of its programs, KEY=VALUE; nil: its own
	Records     string            // folder that tells which of its programs run, for [process.Remains]; empty: none does
	Scratch     string            // folder for what state commands take and put; empty: that of the system for what is temporary
	Logger      *zap.Logger       // nil means silence

	// Skips reports whether a command is taken for done, and for undone, without being run; nil:
	// none is.
	Skips func(release.Step) bool

	// Output is called with each line that a program of a step prints, by several goroutines
	// at once; nil: nobody is told.
	Output func(step string, attempt int, line string)

	// StateOutput is called with each line that the state command of a service prints, as Output is.
	StateOutput func(service, line string)
}

// Agent is one agent. It is safe for concurrent use.
type Agent struct {
	c        Config
	log      *zap.Logger
	identity protocol.Agent // does not change
	ready    chan struct{}

	results results
	lease   lease
	jobs    jobs
	states  states
}

// New checks the configuration and starts nothing.
func New(c Config) (*Agent, error) {
	if c.Conn == nil || c.Journal == nil {
		return nil, errors.New("agent: Conn and Journal are required")
	}
	if len(c.Releases) == 0 || slices.Contains(c.Releases, nil) {
		return nil, errors.New("agent: Releases is empty: an agent runs nothing but what is in a release that it was given")
	}
	if c.Name == "" {
		c.Name = hostName()
	}
	if err := protocol.ValidateAgentName(c.Name); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	instance, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	a := &Agent{
		c: c, log: c.Logger.With(zap.String("agent", c.Name)), ready: make(chan struct{}),
		jobs: jobs{all: make(map[string]*job)},
		identity: protocol.Agent{
			Name: c.Name, Instance: instance.String(), Labels: maps.Clone(c.Labels), Version: c.Version,
			Releases: []protocol.AgentRelease{},
		},
	}
	for _, m := range c.Releases {
		r := protocol.AgentRelease{App: m.App, Version: m.Version, Digest: m.Digest()}
		a.identity.Releases = append(a.identity.Releases, r)
	}
	a.lease = lease{nc: c.Conn, log: a.log, lasts: protocol.AgentLease, lapsed: a.jobs.stop, identity: a.identity}
	return a, nil
}

var notInName = regexp.MustCompile(`[^A-Za-z0-9-]+`)

// hostName is the first part of the host's name, as far as an agent may be called so.
func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	name = notInName.ReplaceAllString(name, "-")
	return name[:min(len(name), protocol.MaxAgentName)]
}

// Name is how the agent is called.
func (a *Agent) Name() string { return a.c.Name }

// Ready is closed when the agent holds its lease and takes orders for the first time.
func (a *Agent) Ready() <-chan struct{} { return a.ready }

// saveFor is how long the results of programs that were stopped may take to be stored when
// the agent ends.
const saveFor = 10 * time.Second

// Run takes orders until ctx ends; it is called once. Programs that run then are stopped, and
// their steps have failed on this host. The error is [ErrNameTaken] when another agent has
// the name, also if it has taken it while this one could not reach the bus.
func (a *Agent) Run(ctx context.Context) error {
	if err := a.awaitBuckets(ctx); err != nil {
		return a.failure(ctx, err)
	}
	// What has run is stored also when ctx has ended, for a while.
	saving, give := context.WithCancel(context.WithoutCancel(ctx))
	defer give()
	running, stop := context.WithCancel(ctx)
	defer stop()

	unsubscribe, err := a.lease.take(running, func() (unsubscribe func(), err error) { return a.listen(running, saving) })
	if err != nil {
		return a.failure(ctx, err)
	}
	a.log.Info("agent is ready", zap.String("instance", a.identity.Instance), zap.Any("labels", a.c.Labels))
	close(a.ready)
	err = a.lease.keep(running)

	stop()
	limit := time.AfterFunc(saveFor, give)
	defer limit.Stop()
	a.lease.lapse(errStopped)
	unsubscribe()
	a.jobs.work.Wait()
	a.lease.leave(saving)
	a.log.Info("agent has stopped", zap.Error(err))
	return a.failure(ctx, err)
}

// failure is the error of Run: none when ctx has ended, unless the name is taken.
func (a *Agent) failure(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil && !errors.Is(err, ErrNameTaken) {
		return nil
	}
	return fmt.Errorf("agent %s: %w", a.c.Name, err)
}

// awaitBuckets opens the buckets once an orchestrator has made them: the agent may have been
// started before the first one of its environment.
func (a *Agent) awaitBuckets(ctx context.Context) error {
	for told := false; ; told = true {
		err := a.open(ctx)
		if !errors.Is(err, bus.ErrNone) || ctx.Err() != nil {
			return err
		}
		if !told {
			a.log.Info("waiting for the first orchestrator of this environment", zap.Error(err))
		}
		rest(ctx, time.Second)
	}
}

// open opens the buckets; the error is [bus.ErrNone] when one is missing.
func (a *Agent) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if _, err := bus.Open(ctx, a.c.Conn, bus.Agents); err != nil {
		return fmt.Errorf("open the agents' leases: %w", err)
	}
	hosts, err := bus.Open(ctx, a.c.Conn, bus.Hosts)
	if err != nil {
		return fmt.Errorf("open the hosts' results: %w", err)
	}
	a.results = results{bucket: hosts}
	js, err := bus.NewJetStream(a.c.Conn)
	if err != nil {
		return err
	}
	a.lease.js = js
	a.lease.entries, err = js.Stream(ctx, "KV_"+protocol.AgentsBucket)
	return err
}

// openTimeout is longer than an election.
const openTimeout = 30 * time.Second

package view

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// Clocks compares the clock of this orchestrator with the bus's, again and again, and knows of
// the others whose clocks differ. Make it with [NewClocks]; it is safe for concurrent use.
type Clocks struct {
	nc      *nats.Conn
	journal *journal.Journal
	own     api.ClockStatus
	every   time.Duration
	log     *zap.Logger

	mu     sync.Mutex
	others map[string]otherClock // by orchestrator
}

// otherClock is what an orchestrator has told, and when that came.
type otherClock struct {
	api.ClockStatus
	came time.Time
}

const (
	clockEvery  = 10 * time.Second // between two looks at the clock
	clockForget = 3                // looks after which an orchestrator that tells nothing more is as the bus is
)

// NewClocks is about the orchestrator called from on a host. It starts nothing.
func NewClocks(nc *nats.Conn, j *journal.Journal, from, host string, log *zap.Logger) *Clocks {
	return &Clocks{
		nc: nc, journal: j, own: api.ClockStatus{From: from, Host: host}, every: clockEvery, log: log, others: make(map[string]otherClock),
	}
}

// Run compares the clocks until ctx ends.
func (c *Clocks) Run(ctx context.Context) error {
	sub, err := c.nc.Subscribe(protocol.ClockSubject, c.hear)
	if err != nil {
		return fmt.Errorf("listen to %s: %w", protocol.ClockSubject, err)
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection may be gone
	tick := time.NewTicker(c.every)
	defer tick.Stop()
	told := time.Duration(0)
	for {
		if err := c.journal.ReadClock(ctx); err != nil && ctx.Err() == nil {
			c.log.Debug("clock not compared", zap.Error(err)) // the bus is away; it is done again
		} else if err == nil {
			told = c.tell(told)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// tell says how far the clock is ahead if that matters, or has changed since it was told last, and
// gives what it has told.
func (c *Clocks) tell(told time.Duration) time.Duration {
	ahead, _ := c.journal.Clock().Ahead()
	switch off := ahead.Abs() > bus.ClockTolerance; {
	case !off && told == 0:
		return 0
	case !off:
		c.log.Info("this machine's clock is as the bus's again")
		ahead = 0
	case (ahead - told).Abs() > bus.ClockTolerance:
		c.log.Warn("this machine's clock is not as the bus's: set it, as by NTP; until then all is dated by the bus", zap.Duration("ahead", ahead.Round(time.Millisecond)))
	default:
		ahead = told
	}
	status := c.own
	status.Ahead = rollout.Duration(ahead.Round(time.Millisecond))
	data, err := json.Marshal(status)
	if err == nil {
		err = c.nc.Publish(protocol.ClockSubject, data)
	}
	if err != nil {
		c.log.Debug("clock not told", zap.Error(err))
	}
	return ahead
}

// hear takes in what an orchestrator tells, this one too.
func (c *Clocks) hear(m *nats.Msg) {
	var status api.ClockStatus
	if json.Unmarshal(m.Data, &status) != nil || status.From == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget()
	if time.Duration(status.Ahead).Abs() <= bus.ClockTolerance {
		delete(c.others, status.From)
	} else if _, known := c.others[status.From]; known || len(c.others) < maxClocks {
		c.others[status.From] = otherClock{status, time.Now()}
	}
}

// maxClocks is of how many orchestrators it is known that their clocks differ.
const maxClocks = 100

func (c *Clocks) forget() {
	for from, o := range c.others {
		if time.Since(o.came) > clockForget*c.every {
			delete(c.others, from)
		}
	}
}

// Differ lists the orchestrators whose clocks differ from the bus's by more than
// [bus.ClockTolerance], by host.
func (c *Clocks) Differ() []api.ClockStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget()
	var all []api.ClockStatus
	for _, o := range c.others {
		all = append(all, o.ClockStatus)
	}
	slices.SortFunc(all, func(a, b api.ClockStatus) int { return strings.Compare(a.Host+" "+a.From, b.Host+" "+b.From) })
	return all
}

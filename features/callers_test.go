package features

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/cucumber/godog"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay"
)

// callers send a request all the time, and keep when each was answered and how.
type callers struct {
	service string
	relay   *relay.Relay
	end     context.CancelFunc
	calling sync.WaitGroup

	mu    sync.Mutex
	calls []call
}

// call is one request that is over.
type call struct {
	at      time.Time
	outcome string // "answered", "maintenance", or an error
}

const howMany = 8 // callers side by side, each of them asking again at once

func (s *scenario) callerSteps(sc *godog.ScenarioContext) {
	sc.Step(`^callers send (\S+)\.(\S+) all the time$`, s.startCallers)
	sc.Step(`^the callers have called for (\d+) seconds more$`, s.callersCall)
	sc.Step(`^what the callers saw, second by second, agrees with the downtime that golive reports$`, s.callersAgree)
}

func (s *scenario) startCallers(ctx context.Context, service, message string) error {
	o, err := s.look(ctx)
	if err != nil {
		return err
	}
	r, err := relay.Connect(ctx, relay.Config{URL: o.url, Name: "callers"})
	if err != nil {
		return err
	}
	calling, end := context.WithCancel(context.WithoutCancel(ctx))
	c := &callers{service: service, relay: r, end: end}
	s.callers = c
	for range howMany {
		c.calling.Go(func() {
			for calling.Err() == nil {
				err := r.Request(calling, service+"."+message, nil, nil)
				if calling.Err() == nil {
					c.note(err)
				}
			}
		})
	}
	return nil
}

func (c *callers) stop() {
	if c == nil {
		return
	}
	c.end()
	c.calling.Wait()
	c.relay.Close()
}

func (c *callers) note(err error) {
	outcome := "answered"
	switch {
	case errors.Is(err, relay.ErrMaintenance):
		outcome = "maintenance"
	case err != nil:
		outcome = err.Error()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, call{time.Now(), outcome})
}

func (s *scenario) callersCall(ctx context.Context, seconds int) error {
	t := time.NewTimer(time.Duration(seconds) * time.Second)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// second is what the callers saw in one second.
type second struct {
	from                         time.Time
	answered, maintenance, other int
	covered                      float64 // the share of it that golive reports as downtime
}

func (s *scenario) callersAgree(ctx context.Context) error {
	outage, err := s.reportedOutage(ctx)
	if err != nil {
		return err
	}
	s.callers.mu.Lock()
	defer s.callers.mu.Unlock()
	seconds := s.callers.bySecond(outage)
	var table strings.Builder
	var wrong []string
	fmt.Fprintf(&table, "%s was under maintenance for %s, golive says\n", outage.Service, outage.To.Sub(outage.From))
	fmt.Fprintln(&table, "second  answered  under maintenance  other  share of downtime that golive reports")
	for n, one := range seconds {
		fmt.Fprintf(&table, "%6d  %8d  %17d  %5d  %.3f\n", n, one.answered, one.maintenance, one.other, one.covered)
		if err := one.disagrees(); err != nil {
			wrong = append(wrong, fmt.Sprintf("second %d: %v", n, err))
		}
	}
	godog.Log(ctx, table.String())
	if err := s.callers.edges(outage); err != nil {
		wrong = append(wrong, err.Error())
	}
	if len(wrong) > 0 {
		return errors.New(strings.Join(wrong, "\n"))
	}
	return nil
}

func (s *scenario) reportedOutage(ctx context.Context) (rollout.Outage, error) {
	o, err := s.look(ctx)
	if err != nil {
		return rollout.Outage{}, err
	}
	client := api.NewClient(o.nc)
	list, err := client.List(ctx, api.ListRequest{Limit: 1})
	if err != nil {
		return rollout.Outage{}, err
	}
	for _, outage := range list.Rollouts[0].Outages {
		if outage.Service == s.callers.service && !outage.To.IsZero() {
			return outage, nil
		}
	}
	return rollout.Outage{}, fmt.Errorf("golive reports no downtime of %s that is over: %+v", s.callers.service, list.Rollouts[0].Outages)
}

// bySecond counts, from the second before the downtime to the one after it.
func (c *callers) bySecond(o rollout.Outage) []second {
	first := o.From.Add(-1500 * time.Millisecond)
	seconds := make([]second, int(o.To.Sub(first)/time.Second)+2)
	for n := range seconds {
		one := &seconds[n]
		one.from = first.Add(time.Duration(n) * time.Second)
		to := one.from.Add(time.Second)
		begin, end := one.from, to
		if o.From.After(begin) {
			begin = o.From
		}
		if o.To.Before(end) {
			end = o.To
		}
		one.covered = max(end.Sub(begin).Seconds(), 0)
	}
	for _, call := range c.calls {
		n := int(call.at.Sub(first) / time.Second)
		if call.at.Before(first) || n >= len(seconds) {
			continue
		}
		switch call.outcome {
		case "answered":
			seconds[n].answered++
		case "maintenance":
			seconds[n].maintenance++
		default:
			seconds[n].other++
		}
	}
	return seconds
}

// edges compares when the callers first and last met maintenance with what golive says.
func (c *callers) edges(o rollout.Outage) error {
	var first, last time.Time
	for _, call := range c.calls {
		if call.outcome != "maintenance" {
			continue
		}
		if first.IsZero() {
			first = call.at
		}
		last = call.at
	}
	const most = time.Duration(grain * float64(time.Second))
	if early, late := first.Sub(o.From).Abs(), last.Sub(o.To).Abs(); early > most || late > most {
		return fmt.Errorf("callers met maintenance from %s to %s, golive says from %s to %s", first, last, o.From, o.To)
	}
	return nil
}

// grain is how exactly callers tell a time, in seconds, on a busy machine.
const grain = 0.1

func (s second) disagrees() error {
	switch {
	case s.other > 0:
		return fmt.Errorf("%d calls had another outcome", s.other)
	case s.covered == 0 && s.maintenance > 0:
		return fmt.Errorf("%d calls met maintenance", s.maintenance)
	case s.covered == 1 && s.answered > 0:
		return fmt.Errorf("%d calls were answered", s.answered)
	case s.covered > grain && s.maintenance == 0:
		return errors.New("no call met maintenance")
	case s.covered < 1-grain && s.answered == 0:
		return errors.New("no call was answered")
	}
	return nil
}

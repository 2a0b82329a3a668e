package orchestrator_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
	"github.com/golive-dev/golive/sdk"
)

// dayOfRollouts is what an environment has in 24 hours that has one every ten seconds, night
// and day: such as 400 services which are brought out twenty times each.
const dayOfRollouts = 8640

var soakRollouts = flag.Int("soak.rollouts", 72, fmt.Sprintf("how many rollouts one process does; %d are a day's", dayOfRollouts))

const (
	soakApps = 12
	soakKeep = 3 * time.Second // of journals
)

// What may be left of each rollout, once its journal was dropped: the ledger's entries of its
// scripts and of its version, here and in the bus.
const (
	soakBytes      = 4 << 10
	soakGoroutines = 60 // more than before, of all together
)

// soakApp is an app of which one version after the other is brought out.
type soakApp struct {
	e       *environment
	service string
	version int
	stops   []func() // what stops the parts of each version that still run
}

// release is the newest version of the app.
func (a *soakApp) release() rollout.Release {
	v := fmt.Sprintf("1.0.%d", a.version)
	return rollout.Release{App: a.service + "-app", Version: v, Strategy: rollout.Parallel, Services: []rollout.Service{{
		Name: a.service, Version: v, Migrations: []protocol.Phase{protocol.Offline, protocol.Online},
		Instances: 1, Retries: 1, Backoff: rollout.Duration(10 * time.Millisecond),
	}}}
}

// What becomes of a version.
const (
	soakFine = iota
	soakFailsOnce
	soakFails
	soakUndone
	soakAborted
)

// fate is what becomes of the newest version.
func (a *soakApp) fate() int {
	return map[int]int{2: soakFailsOnce, 3: soakFails, 4: soakUndone, 5: soakAborted}[a.version%6]
}

func (a *soakApp) script(fate int) sdk.Script {
	return func(ctx context.Context, run *sdk.Run) error {
		run.Progress(1, 1, "")
		switch {
		case run.Start.Revert:
		case fate == soakFailsOnce && run.Start.Attempt == 1:
			return errors.New("bad luck")
		case fate == soakFails && run.Start.Attempt == 1:
			return sdk.Permanent(errors.New("bad luck"))
		case fate == soakAborted:
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
}

// start runs the setup service and the instance of the newest version, on connections of their
// own, and stops those of versions that nobody can come back to.
func (a *soakApp) start(r rollout.Release) error {
	ctx, cancel := context.WithCancel(context.Background())
	var running errgroup.Group
	script := a.script(a.fate())
	v := r.Version
	for _, serve := range []func(*relay.Relay) error{
		func(r *relay.Relay) error {
			return sdk.SetupService{Service: a.service, Version: v, Offline: script, Online: a.script(soakFine), RevertOffline: script, RevertOnline: a.script(soakFine)}.Run(ctx, r)
		},
		func(r *relay.Relay) error {
			return r.Serve(ctx, relay.Service{Name: a.service, Version: v, Handlers: map[string]relay.Handler{
				"tell": func(context.Context, *relay.Message) (any, error) { return v, nil },
			}})
		},
	} {
		opening, done := context.WithTimeout(ctx, patience)
		conn, err := relay.Connect(opening, relay.Config{URL: a.e.nc.ConnectedUrl(), Name: v})
		done()
		if err != nil {
			cancel()
			return errors.Join(err, running.Wait())
		}
		running.Go(func() error { defer conn.Close(); return serve(conn) })
	}
	a.stops = append(a.stops, func() { cancel(); _ = running.Wait() })
	if n := len(a.stops) - 3; n > 0 {
		a.stops[0]()
		a.stops = a.stops[1:]
	}
	return nil
}

func (a *soakApp) stop() {
	for _, stop := range a.stops {
		stop()
	}
	a.stops = nil
}

// next brings the next version, and sees to it until it has ended.
func (a *soakApp) next(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	a.version++
	r, id, fate := a.release(), newID(a.e.t), a.fate()
	if err := a.start(r); err != nil {
		return err
	}
	if _, err := a.e.client.Deploy(ctx, api.DeployRequest{Rollout: id, Release: r, By: "test"}); err != nil {
		return fmt.Errorf("deploy %s: %w", r.Version, err)
	}
	want := rollout.Completed
	switch fate {
	case soakFails:
		if err := a.until(ctx, id, rollout.Failed); err != nil {
			return err
		}
		if _, err := a.e.client.Retry(ctx, api.RetryRequest{Rollout: id, By: "test"}); err != nil {
			return err
		}
	case soakUndone:
		if err := a.until(ctx, id, rollout.Completed); err != nil {
			return err
		}
		if _, err := a.e.client.Backward(ctx, api.BackwardRequest{App: r.App, Rollout: id, By: "test"}); err != nil {
			return fmt.Errorf("backward %s: %w", r.Version, err)
		}
		want = rollout.Reverted
	case soakAborted:
		if _, err := a.e.client.Abort(ctx, api.AbortRequest{RolloutRequest: api.RolloutRequest{Rollout: id, By: "test"}, Force: true}); err != nil {
			return err
		}
		want = rollout.Aborted
	}
	return a.until(ctx, id, want)
}

// until follows a rollout until it has a status.
func (a *soakApp) until(ctx context.Context, id string, want rollout.Status) error {
	var last rollout.State
	err := a.e.client.Follow(ctx, id, 0, func(f api.Followed) error {
		if last = f.State; last.Status == want && !f.Past {
			return errSeen
		}
		return nil
	})
	if errors.Is(err, errSeen) {
		return nil
	}
	return fmt.Errorf("rollout %s of %s %s is %s, want %s: %w", id, last.Release.App, last.Release.Version, last.Status, want, err)
}

// used is what a process needs when nothing happens.
type used struct {
	goroutines int
	heap       uint64 // bytes that are in use
	stored     uint64 // bytes in the journal
}

func (u used) String() string {
	return fmt.Sprintf("%d goroutines, %.1f MB of heap, %.1f kB in the journal", u.goroutines, float64(u.heap)/1e6, float64(u.stored)/1e3)
}

// TestManyRollouts does a day's worth of rollouts in one process, some of which fail, are
// undone or aborted, and sees what is left of them: the bus, two orchestrators, setup services
// and instances are all in it. It runs alone: what other tests need would be counted, too.
func TestManyRollouts(t *testing.T) {
	relaytest.Long(t)
	e := newEnvironment(t)
	e.log = zap.NewNop() // else all lines are kept
	e.keep = soakKeep
	e.orchestrate()
	e.orchestrate()
	apps := make([]*soakApp, soakApps)
	for i := range apps {
		apps[i] = &soakApp{e: e, service: fmt.Sprint("soak-", string(rune('a'+i)))}
	}
	rounds := 3
	if *soakRollouts >= 1000 {
		rounds = 12
	}
	each := max(1, *soakRollouts/rounds/soakApps)
	var all []used
	begun := time.Now()
	for range rounds {
		rolling, ctx := errgroup.WithContext(t.Context())
		for _, a := range apps {
			rolling.Go(func() error {
				for range each {
					if err := a.next(ctx); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err := rolling.Wait(); err != nil {
			t.Fatal(err)
		}
		all = append(all, e.rests(apps))
		t.Logf("%6d rollouts after %s: %s", len(all)*each*soakApps, time.Since(begun).Round(time.Second), all[len(all)-1])
	}
	for _, a := range apps {
		a.stop()
	}
	e.judgeUse(all, each*soakApps)
}

// rests waits until the journal has dropped what has ended, and looks what is needed then.
func (e *environment) rests(apps []*soakApp) used {
	e.t.Helper()
	js, err := jetstream.New(e.nc)
	e.must(err)
	var u used
	e.until("the journal has dropped what has ended", func() bool {
		s, err := js.Stream(e.t.Context(), protocol.Stream)
		if err != nil {
			return false
		}
		info, err := s.Info(e.t.Context(), jetstream.WithSubjectFilter(protocol.AllRollouts))
		if err != nil {
			return false
		}
		u.stored = info.State.Bytes
		return len(info.State.Subjects) <= 2*len(apps)
	})
	still, before := 0, 0
	e.until("what has ended is gone", func() bool {
		now := runtime.NumGoroutine()
		if still++; now != before {
			still, before = 0, now
		}
		return still > 20
	})
	runtime.GC()
	runtime.GC() // what finalizers have let go of
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u.goroutines, u.heap = runtime.NumGoroutine(), m.HeapAlloc
	return u
}

// judgeUse compares what was needed at the end with what was after the second round, when all
// had been met once.
func (e *environment) judgeUse(all []used, each int) {
	e.t.Helper()
	first, last := all[1], all[len(all)-1]
	if last.goroutines > first.goroutines+soakGoroutines {
		e.t.Errorf("there are %d goroutines, and there were %d", last.goroutines, first.goroutines)
	}
	rollouts := uint64((len(all) - 2) * each)
	if grown := last.heap - min(first.heap, last.heap); rollouts >= dayOfRollouts/2 && grown > rollouts*soakBytes {
		e.t.Errorf("%d bytes are left of each rollout, want at most %d", grown/rollouts, soakBytes)
	}
}

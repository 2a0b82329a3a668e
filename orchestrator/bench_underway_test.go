package orchestrator_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/golive-dev/golive/orchestrator"
	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

const (
	underWay      = 1000 // rollouts
	underWayShort = 50   // with -short
	commandsAhead = 64   // commands at a time
)

// manyApps are that many first versions.
func manyApps() [][]rollout.Release {
	n := underWay
	if testing.Short() {
		n = underWayShort
	}
	return releasesOf(n, n, 0)
}

// BenchmarkMemoryUnderWay measures the memory of golive serve, with its server in another
// process, while the scripts of 1,000 rollouts (50 with -short) have been started and have
// not answered: rss-MB, beside idle-MB before the first. It makes one pass, whatever b.N is.
//
//	go test -run '^$' -bench MemoryUnderWay -count 6 ./orchestrator
func BenchmarkMemoryUnderWay(b *testing.B) {
	golive := buildGolive(b)
	b.Run("serve", func(b *testing.B) {
		s, releases := newBenchStage(b, true), manyApps()
		started := make(chan struct{}, 2*len(releases))
		s.listenBare(releases, func(ctx context.Context, nc *nats.Conn, m *nats.Msg) error {
			started <- struct{}{}
			return giveNoAnswer(ctx, nc, m)
		})
		p := runServe(b, golive, s.server.URL(), orchestrator.DefaultHeartbeat)
		p.await(serveReady)
		idle := memoryOf(p, "VmRSS")
		s.must(s.deployAll(b.Context(), releases))
		for range releases {
			receive(s, started, "a start")
		}
		onePass(b)
		b.ReportMetric(idle, "idle-MB")
		b.ReportMetric(memoryOf(p, "VmRSS"), "rss-MB")
		b.ReportMetric(memoryOf(p, "VmHWM"), "peak-MB")
	})
}

// onePass says that the time of a benchmark means nothing.
func onePass(b *testing.B) { b.ReportMetric(0, "ns/op") }

func receive[T any](s *benchStage, from <-chan T, what string) T {
	s.b.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(benchPatience):
		s.b.Fatalf("%s does not come", what)
		panic("unreachable")
	}
}

// deployAll begins the first rollout of each app. A command that nobody has answered is
// repeated, as the command line does.
func (s *benchStage) deployAll(ctx context.Context, releases [][]rollout.Release) error {
	ctx, cancel := context.WithTimeout(ctx, benchPatience)
	defer cancel()
	deploying, ctx := errgroup.WithContext(ctx)
	deploying.SetLimit(commandsAhead)
	for _, app := range releases {
		deploying.Go(func() error {
			id, err := uuid.NewV7()
			if err != nil {
				return err
			}
			q := api.DeployRequest{Rollout: id.String(), Release: app[0], By: "benchmark"}
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			for {
				asking, cancel := context.WithTimeout(ctx, 2*time.Second) // its orchestrator may have been killed
				_, err := s.client.Deploy(asking, q)
				cancel()
				if err == nil {
					return nil
				}
				select {
				case <-tick.C:
				case <-ctx.Done():
					return fmt.Errorf("deploy %s: %w", app[0].App, err)
				}
			}
		})
	}
	return deploying.Wait()
}

// BenchmarkRecovery measures how long it takes from the restart of what was killed with
// SIGKILL until all of 1,000 rollouts (50 with -short) have completed: recovery-s. The
// server, in this process, the orchestrator (golive serve) and the worker, with all setup
// services on our SDK, are a process each. It makes one pass, whatever b.N is.
//
// Killed is the worker or the orchestrator, either while the offline scripts of all rollouts
// run (state=running), or in the middle of everything, when a third of the rollouts have
// completed (state=midway). The scripts do nothing; those that all run at once end when the
// worker is started again, or, where the orchestrator is killed, while it is away.
//
// A worker is taken for dead after three heartbeats, so where an attempt was cut off it cannot
// be faster; an orchestrator's work is given to another after 3 s. Midway, a command that the
// dead orchestrator had got is repeated after 2 s.
//
//	go test -run '^$' -bench Recovery -count 3 -timeout 30m ./orchestrator
func BenchmarkRecovery(b *testing.B) {
	golive := buildGolive(b)
	syncedAndNot(b, func(b *testing.B, unsynced bool) {
		for _, state := range []string{"running", "midway"} {
			for _, c := range []struct {
				killed    string
				heartbeat time.Duration
			}{{"worker", time.Second}, {"worker", orchestrator.DefaultHeartbeat}, {"orchestrator", orchestrator.DefaultHeartbeat}} {
				if testing.Short() && c.killed == "worker" && c.heartbeat > time.Second {
					continue
				}
				b.Run(fmt.Sprintf("state=%s/killed=%s/heartbeat=%s", state, c.killed, c.heartbeat), func(b *testing.B) {
					r := &recovery{benchStage: newBenchStage(b, unsynced), golive: golive, heartbeat: c.heartbeat, releases: manyApps()}
					r.measure(state == "running", c.killed == "worker")
				})
			}
		}
	})
}

type recovery struct {
	*benchStage
	golive    string
	heartbeat time.Duration
	releases  [][]rollout.Release
	outcomes  chan *nats.Msg
	completed map[string]bool // rollouts
}

func (r *recovery) measure(running, killWorker bool) {
	r.hearOutcomes()
	engine := r.runServe()
	role := "worker"
	if running {
		role = "holding worker"
	}
	worker := r.work(role)
	deployed := r.deployMeanwhile()
	if running {
		r.must(deployed())
		for range r.releases {
			worker.await("runs ")
		}
	} else {
		r.awaitCompleted(len(r.releases) / 3)
	}
	left := len(r.releases) - len(r.completed)
	var begun time.Time
	if killWorker {
		worker.kill()
		begun = time.Now()
		r.work("worker")
	} else {
		engine.kill()
		if running {
			_, err := fmt.Fprintln(worker.stdin, "go")
			r.must(err)
		}
		begun = time.Now()
		r.runServe()
	}
	r.awaitCompleted(len(r.releases))
	took := time.Since(begun)
	r.must(deployed())
	onePass(r.b)
	r.b.ReportMetric(took.Seconds(), "recovery-s")
	r.b.ReportMetric(float64(left), "rollouts-left")
}

// deployMeanwhile begins all rollouts, and gives what waits for the end of that.
func (r *recovery) deployMeanwhile() (deployed func() error) {
	ended := make(chan error, 1)
	go func() { ended <- r.deployAll(r.b.Context(), r.releases) }()
	deployed = sync.OnceValue(func() error { return <-ended })
	r.b.Cleanup(func() { _ = deployed() }) // who has not asked for it has failed
	return deployed
}

func (r *recovery) runServe() *benchPlayer {
	r.b.Helper()
	p := runServe(r.b, r.golive, r.server.URL(), r.heartbeat)
	p.await(serveReady)
	return p
}

func (r *recovery) work(role string) *benchPlayer {
	r.b.Helper()
	p := playRole(r.b, role, r.server.URL(), envBenchApps+"="+strconv.Itoa(len(r.releases)))
	p.await("ready")
	return p
}

func (r *recovery) hearOutcomes() {
	r.b.Helper()
	nc := r.connect().Conn()
	r.outcomes, r.completed = make(chan *nats.Msg, 100*len(r.releases)), make(map[string]bool)
	for _, name := range []string{"*.0.1-set-up", "*.0.1-setup-failed"} {
		_, err := nc.ChanSubscribe(name, r.outcomes)
		r.must(err)
	}
	r.must(nc.Flush())
}

// awaitCompleted waits until so many rollouts have completed.
func (r *recovery) awaitCompleted(n int) {
	r.b.Helper()
	for len(r.completed) < n {
		m := receive(r.benchStage, r.outcomes, "the outcome of a rollout")
		if !strings.HasSuffix(m.Subject, "-set-up") {
			r.b.Fatalf("%s: %s", m.Subject, m.Data)
		}
		r.completed[m.Header.Get(protocol.HeaderRollout)] = true // it may be told again
	}
}

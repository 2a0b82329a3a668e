package orchestrator_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// bigRelease is one of n services with scripts of all phases.
func bigRelease(n int) rollout.Release {
	r := rollout.Release{App: "big", Version: "1.0.0", Strategy: rollout.Parallel}
	for i := range n {
		r.Services = append(r.Services, rollout.Service{
			Name: fmt.Sprintf("service-%03d", i), Version: "1.0.0",
			Migrations: []protocol.Phase{protocol.Before, protocol.Offline, protocol.Online},
		})
	}
	return r
}

// BenchmarkBigRollout brings one release of many services, each with scripts of all phases,
// whose setup services answer at once; golive serve is a process of its own. It tells how many
// bytes the journal keeps, also of each step, how many messages were stored for each event,
// and how much memory golive has taken. It makes one pass, whatever b.N is.
//
//	go test -run '^$' -bench BigRollout -count 3 ./orchestrator
func BenchmarkBigRollout(b *testing.B) {
	golive := buildGolive(b)
	counts := []int{1, 10, 100, 500}
	if testing.Short() {
		counts = []int{10}
	}
	for _, orchestrators := range []int{1, 3} {
		for _, n := range counts {
			b.Run(fmt.Sprintf("orchestrators=%d/services=%d", orchestrators, n), func(b *testing.B) {
				s, r := newBenchStage(b, true), bigRelease(n)
				s.listenBare([][]rollout.Release{{r}}, answerByName)
				var all []*benchPlayer
				for range orchestrators {
					p := runServe(b, golive, s.server.URL(), orchestrator.DefaultHeartbeat)
					p.await(serveReady)
					all = append(all, p)
				}
				nc := s.connect().Conn()
				completed, err := nc.SubscribeSync(protocol.CompletedSubject(r.App, r.Version))
				s.must(err)
				s.must(nc.Flush())
				appends := countAppends(s, nc)
				ctx, cancel := context.WithTimeout(b.Context(), 5*time.Minute)
				defer cancel()
				begun := time.Now()
				_, err = s.deploy(ctx, r)
				s.must(err)
				_, err = completed.NextMsgWithContext(ctx)
				s.must(err)
				took := time.Since(begun)
				onePass(b)
				b.ReportMetric(took.Seconds(), "s")
				kept := s.spent(nc).streams[protocol.Stream]
				steps := float64(4 * n)
				b.ReportMetric(float64(kept.Bytes)/1e6, "kept-MB")
				b.ReportMetric(float64(kept.Bytes)/steps, "B/step")
				tried, events := appends()
				b.ReportMetric(float64(events), "events")
				b.ReportMetric(float64(tried)/float64(events), "appends/event")
				most := 0.0
				for _, p := range all {
					most = max(most, memoryOf(p, "VmHWM"))
				}
				b.ReportMetric(most, "peak-MB")
			})
		}
	}
}

// countAppends counts what is published on rollouts' subjects, and what of it is stored.
func countAppends(s *benchStage, nc *nats.Conn) func() (tried, stored uint64) {
	s.b.Helper()
	var tried uint64
	sub, err := nc.Subscribe(protocol.AllRollouts, func(*nats.Msg) { tried++ })
	s.must(err)
	s.must(nc.Flush())
	return func() (uint64, uint64) {
		s.must(nc.Flush())
		s.must(sub.Drain())
		js, err := jetstream.New(nc)
		s.must(err)
		stream, err := js.Stream(s.b.Context(), protocol.Stream)
		s.must(err)
		info, err := stream.Info(s.b.Context(), jetstream.WithSubjectFilter(protocol.AllRollouts))
		s.must(err)
		var stored uint64
		for _, n := range info.State.Subjects {
			stored += n
		}
		return tried, stored
	}
}

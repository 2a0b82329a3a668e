package orchestrator_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// BenchmarkRollouts measures how many rollouts a second golive brings through, with so many
// apps side by side, each of which begins its next version when the one before has
// completed. A rollout is of one service with two scripts that do nothing, and no instance.
//
// Everything is in this process: the server, the orchestrator on a connection inside of it,
// as in golive up, and over TCP, on a connection each, a setup service on bare nats.go, which
// answers with the named message as a request, and the one who gives the commands.
//
// publishes/s is what the bus alone does in the same run, half a second before and after;
// publishes/rollout-time is how many of these it would have done in the time of a rollout.
//
// The history of the apps grows with b.N, so give that: with fewer rollouts than apps,
// there are as few apps.
//
//	go test -run '^$' -bench Rollouts/ -benchtime 2000x -count 6 ./orchestrator
func BenchmarkRollouts(b *testing.B) {
	syncedAndNot(b, func(b *testing.B, unsynced bool) {
		for _, atOnce := range []int{1, 100, 1000} {
			b.Run(fmt.Sprintf("at-once=%d", atOnce), func(b *testing.B) {
				s, releases := newBenchStage(b, unsynced), releasesOf(atOnce, b.N, 0)
				s.listenBare(releases, answerByName)
				s.measureRollouts(releases)
			})
		}
	})
}

// BenchmarkRolloutKinds is [BenchmarkRollouts] with 100 apps side by side and something else
// than there: setup services that send plain replies, those of our SDK, or, beside the named
// message, one instance of each version, which is started with the command.
//
//	go test -run '^$' -bench RolloutKinds -benchtime 2000x -count 6 ./orchestrator
func BenchmarkRolloutKinds(b *testing.B) {
	const atOnce = 100
	syncedAndNot(b, func(b *testing.B, unsynced bool) {
		b.Run("kind=reply", func(b *testing.B) {
			s, releases := newBenchStage(b, unsynced), releasesOf(atOnce, b.N, 0)
			s.listenBare(releases, answerByReply)
			s.measureRollouts(releases)
		})
		b.Run("kind=sdk", func(b *testing.B) {
			s, releases := newBenchStage(b, unsynced), releasesOf(atOnce, b.N, 0)
			ctx, stop := context.WithCancel(context.Background())
			wait := listenSDK(ctx, s.connect(), releases, nothing)
			b.Cleanup(func() { stop(); s.must(wait()) })
			s.measureRollouts(releases)
		})
		b.Run("kind=instance", func(b *testing.B) {
			s, releases := newBenchStage(b, unsynced), releasesOf(atOnce, b.N, 1)
			s.listenBare(releases, answerByName)
			s.measureRollouts(releases)
		})
	})
}

const baseline = 500 * time.Millisecond // of each of two measurements of the bus alone

func (s *benchStage) measureRollouts(releases [][]rollout.Release) {
	s.orchestrate()
	bus := s.connectInside().Conn()
	published := s.publishes(bus, baseline)
	before := s.spent(bus)
	s.b.ReportAllocs()
	s.b.ResetTimer()
	took := s.rollAll(releases)
	s.b.StopTimer()
	after := s.spent(bus)
	published = (published + s.publishes(bus, baseline)) / 2
	rate := float64(s.b.N) / took.Seconds()
	s.b.ReportMetric(float64(took.Nanoseconds())/float64(s.b.N), "ns/op") // without what is set up for it
	s.b.ReportMetric(rate, "rollouts/s")
	s.b.ReportMetric(published, "publishes/s")
	s.b.ReportMetric(published/rate, "publishes/rollout-time")
	reportSpent(s.b, before, after, s.b.N)
}

// BenchmarkOneRollout measures one rollout alone, of one of a hundred apps in turn, from the
// call of Client.Deploy to the moment at which another process hears that it has completed.
// That process tells the time by the clock on the wall, which both have in common. ns/op
// also holds its telling.
//
//	go test -run '^$' -bench OneRollout -benchtime 1000x -count 6 ./orchestrator
func BenchmarkOneRollout(b *testing.B) {
	syncedAndNot(b, func(b *testing.B, unsynced bool) {
		s, releases := newBenchStage(b, unsynced), releasesOf(100, b.N, 0)
		s.listenBare(releases, answerByName)
		s.orchestrate()
		observer := playRole(b, "observer", s.server.URL(), envBenchApps+"="+strconv.Itoa(len(releases)))
		observer.await("ready")
		took := make([]time.Duration, 0, b.N)
		ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
		defer cancel()
		b.ResetTimer()
		for n := range b.N {
			r := releases[n%len(releases)][n/len(releases)]
			begun := time.Now()
			_, err := s.deploy(ctx, r)
			s.must(err)
			at := heardAt(b, observer, protocol.CompletedSubject(r.App, r.Version))
			took = append(took, at.Sub(begun.Round(0))) // the other process has no monotonic clock of ours
		}
		b.StopTimer()
		slices.Sort(took)
		b.ReportMetric(milliseconds(took[len(took)/2]), "p50-ms")
		b.ReportMetric(milliseconds(took[len(took)*99/100]), "p99-ms")
	})
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// heardAt waits until the observer has heard a message, and gives the time at which it did.
func heardAt(b *testing.B, observer *benchPlayer, subject string) time.Time {
	b.Helper()
	for {
		heard, at, _ := strings.Cut(observer.line(), " ")
		if heard != subject {
			continue // the one before, told again
		}
		nanoseconds, err := strconv.ParseInt(at, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		return time.Unix(0, nanoseconds)
	}
}

package orchestrator_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
	"github.com/golive-dev/golive/sdk"
)

// tripDelay is how long everything takes on its way between a part and the bus. It is far more
// than anything else takes, so what a rollout takes tells how often it waits for a way.
const tripDelay = 40 * time.Millisecond

// BenchmarkRoundTrips counts how many round trips to the bus a rollout waits for, one after
// the other, from the call of Client.Deploy until another connection hears that it has
// completed: everybody is so far away from the bus that nothing else counts. The rollout has
// an offline script, a move of traffic and an online script, and a setup service of the SDK.
//
//	go test -run '^$' -bench RoundTrips -benchtime 10x ./orchestrator
func BenchmarkRoundTrips(b *testing.B) {
	bus := relaytest.Start(b)
	cable := bus.Cable()
	far := func() *relay.Relay {
		r, err := relay.Connect(b.Context(), relay.Config{URL: cable.URL()})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(r.Close)
		return r
	}
	s := &benchStage{b: b}
	s.client = api.NewClient(far().Conn())
	releases := releasesOf(1, b.N+1, 0) // the first of an app is special
	s.orchestrateOn(far())
	ctx, stop := context.WithCancel(context.Background())
	wait := listenSDK(ctx, far(), releases, func(context.Context, *sdk.Run) error { return nil })
	b.Cleanup(func() { stop(); s.must(wait()) })
	nc := far().Conn()
	var took []time.Duration
	for n, r := range releases[0] {
		completed, err := nc.SubscribeSync(protocol.CompletedSubject(r.App, r.Version))
		s.must(err)
		s.must(nc.Flush())
		cable.Delay(tripDelay)
		begun := time.Now()
		_, err = s.deploy(b.Context(), r)
		s.must(err)
		_, err = completed.NextMsg(benchPatience)
		s.must(err)
		if cable.Delay(0); n > 0 {
			took = append(took, time.Since(begun))
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2])/float64(2*tripDelay), "round-trips")
}

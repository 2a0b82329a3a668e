package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
	"github.com/golive-dev/golive/sdk"
)

// endless is more than any test moves.
const endless = 1_000_000_000

// counter is a target that only counts.
type counter struct{ records, batches atomic.Int64 }

func (c *counter) take(_ context.Context, _ *sdk.Run, b sdk.Batch[int]) error {
	c.records.Add(int64(len(b.Records)))
	c.batches.Add(1)
	return nil
}

// paceOf is the payload of a pace message.
func paceOf(t *testing.T, m protocol.StartMessage, p protocol.Pace) string {
	t.Helper()
	data, err := json.Marshal(protocol.ControlMessage{Rollout: m.Rollout, Attempt: m.Attempt, Pace: &p})
	must(t, err)
	return string(data)
}

func rate(r float64) *float64 { return &r }

// awaitProgress waits for a progress message.
func awaitProgress(t *testing.T, from <-chan *nats.Msg, what string, is func(protocol.ProgressMessage) bool) protocol.ProgressMessage {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		var p protocol.ProgressMessage
		must(t, json.Unmarshal(receive(t, from, what).Data, &p))
		if is(p) {
			return p
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s, at last %+v", what, patience, p)
		}
	}
}

// speed measures how many records a second the counter sees over about two seconds.
func (c *counter) speed() float64 {
	timer := time.NewTimer(2 * time.Second)
	began, from := time.Now(), c.records.Load()
	<-timer.C
	return float64(c.records.Load()-from) / time.Since(began).Seconds()
}

// mustSee fails the test unless the counter sees so many records a second, to one in twenty.
// A machine that has other things to do may need several looks.
func (c *counter) mustSee(t *testing.T, what string, want float64) {
	t.Helper()
	var seen []int
	for range 8 {
		got := c.speed()
		if math.Abs(got-want) <= 0.05*want {
			return
		}
		seen = append(seen, int(got))
	}
	t.Errorf("%s: %d records a second, want %.0f", what, seen, want)
}

// In real time: a backfill keeps to its rate, and to another one from when it is told of it.
func TestABackfillKeepsToItsPace(t *testing.T) {
	relaytest.Long(t)
	s, to := newStage(t), &counter{}
	m := start(protocol.Online, 1)
	m.Pace = &protocol.Pace{Rate: rate(5_000)}
	beats := s.listen(m.Script().Subject(protocol.Progress))
	it := s.run(setup(sdk.Backfill[int]{Source: numbers(endless), BatchSize: 100, Batch: to.take, Rate: 7}.Run))
	s.send(m)
	awaitProgress(t, beats, "records", func(p protocol.ProgressMessage) bool { return p.Done != nil && *p.Done > 0 })
	to.mustSee(t, "at first", 5_000)

	s.tell(protocol.PaceSet, m, paceOf(t, m, protocol.Pace{Rate: rate(20_000)}))
	awaitProgress(t, beats, "the new limit", func(p protocol.ProgressMessage) bool { return p.Limit == 20_000 })
	to.mustSee(t, "faster", 20_000)

	s.tell(protocol.PaceSet, m, paceOf(t, m, protocol.Pace{InFlight: 2}))
	it.awaitLine("told")
	to.mustSee(t, "with fewer in flight", 20_000)
	awaitProgress(t, beats, "the rate", func(p protocol.ProgressMessage) bool {
		return p.Limit == 20_000 && math.Abs(p.Rate-20_000) < 4_000 && p.Average > 5_000 && p.Average < 20_000 && p.Held == "" && p.Total == endless
	})
}

// A change of pace reaches also a backfill that waits: for its next batch at a very low
// rate, or for a resume. The size of its batches stays.
func TestAPaceReachesABackfillThatWaits(t *testing.T) {
	s, to := newStage(t), &counter{}
	m := start(protocol.Online, 1)
	m.Pace = &protocol.Pace{Rate: rate(0.01)}
	beats, answers := s.listen(m.Script().Subject(protocol.Progress)), s.accept(m)
	it := s.run(setup(sdk.Backfill[int]{Source: numbers(100), Batch: to.take}.Run))
	s.send(m)
	awaitProgress(t, beats, "the limit", func(p protocol.ProgressMessage) bool { return p.Limit == 0.01 })
	if n := to.records.Load(); n != 0 {
		t.Errorf("%d records came", n)
	}
	s.tell(protocol.Pause, m, "")
	it.awaitLine("told")
	s.tell(protocol.PaceSet, m, paceOf(t, m, protocol.Pace{Rate: rate(0)}))
	awaitProgress(t, beats, "the limit to go", func(p protocol.ProgressMessage) bool { return p.Held == "paused" && p.Limit == 0 })
	if n := to.records.Load(); n != 0 {
		t.Errorf("%d records came while it is paused", n)
	}
	s.tell(protocol.Resume, m, "")
	if h := answers.mustBeDone(); h.Items != 100 || to.batches.Load() != 100 {
		t.Errorf("answered %s after %d batches", h.msg.Data, to.batches.Load())
	}
}

func TestARateThatIsSetFixesSmallBatches(t *testing.T) {
	for r, want := range map[float64]int64{10: 50, 1000: 1} { // batches of 100 records
		s, to := newStage(t), &counter{}
		b := sdk.Backfill[int]{Source: numbers(100), Rate: r, Throttle: func(context.Context, *sdk.Run) (string, error) { return "", nil }, Batch: to.take}
		m := start(protocol.Online, 1)
		m.Pace = &protocol.Pace{InFlight: 3}
		answers := s.accept(m)
		beats := s.listen(m.Script().Subject(protocol.Progress))
		s.run(setup(b.Run))
		s.send(m)
		awaitProgress(t, beats, "the limit", func(p protocol.ProgressMessage) bool { return p.Limit == r })
		s.tell(protocol.PaceSet, m, paceOf(t, m, protocol.Pace{Rate: rate(0)}))
		answers.mustBeDone()
		if got := to.batches.Load(); got != want {
			t.Errorf("with %v records a second, %d batches, want %d", r, got, want)
		}
	}
}

func TestPacesOfAnAttempt(t *testing.T) {
	inBothDirections(t, func(t *testing.T, m protocol.StartMessage, setup func(sdk.Script) sdk.SetupService) {
		s := newStage(t)
		asked, paces := make(chan struct{}), make(chan protocol.Pace)
		it := s.run(setup(func(_ context.Context, run *sdk.Run) error {
			for range asked {
				paces <- run.Pace()
			}
			return nil
		}))
		answers := s.accept(m)
		mustBe := func(rate float64, inFlight int) {
			t.Helper()
			asked <- struct{}{}
			if p := receive(t, paces, "the pace"); p.Rate == nil || *p.Rate != rate || p.InFlight != inFlight {
				t.Errorf("its pace is %+v, want %v and %d", p, rate, inFlight)
			}
		}
		m.Pace = &protocol.Pace{Rate: rate(5), InFlight: 2}
		s.tell(protocol.PaceSet, m, paceOf(t, m, protocol.Pace{InFlight: 3})) // before the start
		s.tell(protocol.PaceSet, m, paceOf(t, m, protocol.Pace{Rate: rate(6)}))
		s.tell(protocol.PaceSet, m, "") // names nothing
		for range 3 {
			it.awaitLine(elsewhere)
		}
		s.send(m)
		mustBe(6, 3)
		s.tell(protocol.PaceSet, m, paceOf(t, m, protocol.Pace{Rate: rate(0)}))
		it.awaitLine("told")
		mustBe(0, 3)
		other := m
		other.Attempt++
		s.tell(protocol.PaceSet, other, paceOf(t, other, protocol.Pace{InFlight: 9}))
		it.awaitLine(elsewhere)
		mustBe(0, 3)
		close(asked)
		answers.mustBeDone()
	})
}

// A pause takes effect at the boundary of a batch: those under way are finished, none
// begins.
func TestABackfillIsPausedBetweenBatches(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	m := start(protocol.Online, 1)
	begun, finish := make(chan int, 1000), make(chan struct{})
	beats, answers := s.listen(m.Script().Subject(protocol.Progress)), s.accept(m)
	it := s.run(setup(sdk.Backfill[int]{Source: numbers(100), BatchSize: 10, InFlight: 2, Batch: func(ctx context.Context, _ *sdk.Run, b sdk.Batch[int]) error {
		begun <- b.Records[0].Value
		select {
		case <-finish:
		case <-ctx.Done():
		}
		return ctx.Err()
	}}.Run))
	s.send(m)
	for range 2 {
		receive(t, begun, "a batch")
	}
	s.tell(protocol.Pause, m, "")
	it.awaitLine("told")
	finish <- struct{}{}
	finish <- struct{}{}
	p := awaitProgress(t, beats, "what was finished", func(p protocol.ProgressMessage) bool { return p.Held == "paused" && *p.Done == 20 })
	for range 3 {
		p = awaitProgress(t, beats, "a sign of life", func(p protocol.ProgressMessage) bool { return true })
	}
	if len(begun) > 0 || *p.Done != 20 {
		t.Errorf("%d batches have begun while it is paused; it tells %+v", len(begun), p)
	}
	s.tell(protocol.Resume, m, "")
	close(finish)
	if h := answers.mustBeDone(); h.Items != 100 {
		t.Errorf("answered %s", h.msg.Data)
	}
}

func TestAPausedBackfillEndsWithTheScript(t *testing.T) {
	s := newStage(t)
	m := start(protocol.Online, 1)
	answers := s.accept(m)
	beats := s.listen(m.Script().Subject(protocol.Progress))
	s.run(setup(sdk.Backfill[int]{Source: numbers(endless), Batch: (&counter{}).take, Rate: 1000}.Run))
	s.send(m)
	awaitProgress(t, beats, "its beginning", func(p protocol.ProgressMessage) bool { return p.Limit == 1000 })
	s.tell(protocol.Pause, m, "")
	awaitProgress(t, beats, "the pause", func(p protocol.ProgressMessage) bool { return p.Held == "paused" })
	s.cancel(m, "")
	answers.mustBeFailed(protocol.CodeCancelled)
}

// The author's throttle holds the work for as long as it gives a reason, which is shown; an
// error is one too.
func TestAThrottleHoldsTheWork(t *testing.T) {
	t.Parallel()
	s, to := newStage(t), &counter{}
	m := start(protocol.Online, 1)
	b, asked := sdk.Backfill[int]{Source: numbers(100), Batch: to.take}, 0
	b.Throttle = func(context.Context, *sdk.Run) (string, error) {
		if to.records.Load() > 0 {
			t.Error("records came while it was held")
		}
		switch asked++; asked {
		case 1:
			return "replica lag 12 s", nil
		case 2:
			return "", errors.New("no answer of the replica")
		}
		return "", nil
	}
	beats, answers := s.listen(m.Script().Subject(protocol.Progress)), s.accept(m)
	s.run(setup(b.Run))
	s.send(m)
	for _, held := range []string{"throttled: replica lag 12 s", "throttled: no answer of the replica"} {
		awaitProgress(t, beats, held, func(p protocol.ProgressMessage) bool { return p.Held == held })
	}
	answers.mustBeDone()
}

func TestAThrottleThatFailsForGoodEndsTheScript(t *testing.T) {
	s, to := newStage(t), &counter{}
	b := sdk.Backfill[int]{Source: numbers(endless), Batch: to.take, Throttle: func(context.Context, *sdk.Run) (string, error) {
		return "", sdk.Permanent(errors.New("no such replica"))
	}}
	mustFail(t, s.attempt(start(protocol.Online, 1), b.Run), "throttle: no such replica")
}

package sdk

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/golive-dev/golive/relay/protocol"
)

// A throttle that does not answer holds the work, and one that answers again lets it go.
func TestAThrottleThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := true
		l := newLeader(&Run{Log: zap.NewNop()}, backfillConfig{throttle: func(ctx context.Context, _ *Run) (string, error) {
			if hangs {
				<-ctx.Done()
			}
			return "", ctx.Err()
		}})
		began := time.Now()
		l.askThrottle(t.Context())
		if want := "throttled: no answer within 10s: context deadline exceeded"; l.pacer.throttled != want || time.Since(began) > throttleLimit {
			t.Errorf("after %s it is %q", time.Since(began), l.pacer.throttled)
		}
		hangs = false
		if l.askThrottle(t.Context()); l.pacer.throttled != "" {
			t.Errorf("it is %q", l.pacer.throttled)
		}
	})
}

// What has failed is not tried again while the script is paused, however long that is.
func TestNothingIsTriedAgainWhilePaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		work := &Backfill[int]{Source: Source[int]{Records: ten}, Retries: 3, Each: func(context.Context, *Run, Record[int]) error {
			if tries++; tries == 1 {
				return errors.New("the target is down")
			}
			return nil
		}}
		script := newScriptContext(t.Context())
		defer script.stop()
		ended := make(chan error, 1)
		go func() {
			ended <- newPartitionRun(work, partitionTask{
				run: &Run{Log: zap.NewNop()}, grant: grant{Size: 10}, limiter: newLimiter(limits{inFlight: 1}),
				report: func(context.Context, watermark) error { return nil },
			}).do(script)
		}()
		synctest.Wait() // for the next try
		script.pause()
		pause(t.Context(), 24*time.Hour) // of the bubble
		if tries != 1 {
			t.Errorf("it was tried %d times", tries)
		}
		script.resume(time.Time{})
		if err := <-ended; err != nil || tries != 11 {
			t.Errorf("after %d tries it ended with %v", tries, err)
		}
	})
}

func TestAPaceThatIsNoneIsNotTaken(t *testing.T) {
	one, less := 1.0, -1.0
	if p := merge(protocol.Pace{Rate: &one, InFlight: 2}, protocol.Pace{Rate: &less, InFlight: -3}); *p.Rate != 1 || p.InFlight != 2 {
		t.Errorf("its pace is %v and %d", *p.Rate, p.InFlight)
	}
}

// Fewer in flight than are under way: none begins until there is room again.
func TestFewerInFlightThanAreUnderWay(t *testing.T) {
	v := newLimiter(limits{inFlight: 3})
	mustBe := func(begins bool) {
		t.Helper()
		if _, wait := v.try(time.Now(), 1); (wait == nil) != begins {
			t.Errorf("a batch begins: %t", !begins)
		}
	}
	for range 3 {
		mustBe(true)
	}
	v.set(limits{inFlight: 1})
	mustBe(false)
	v.free(2)
	mustBe(false)
	v.free(1)
	mustBe(true)
	mustBe(false)
	v.set(limits{inFlight: 2, held: "paused"})
	mustBe(false)
	v.set(limits{inFlight: 2})
	mustBe(true)
}

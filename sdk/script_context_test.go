package sdk

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// inTime runs do on the context of a script, in a time of its own, that passes while all wait.
func inTime(t *testing.T, do func(t *testing.T, c *scriptContext)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := newScriptContext(t.Context())
		defer c.stop()
		do(t, c)
	})
}

// pass lets time pass.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// mustBe fails the test unless the context, and what is derived from it, has ended like this.
func mustBe(t *testing.T, ctx context.Context, err, cause error) {
	t.Helper()
	synctest.Wait()
	if got := ctx.Err(); got != err {
		t.Errorf("error %v, want %v", got, err)
	}
	if got := context.Cause(ctx); got != cause {
		t.Errorf("cause %v, want %v", got, cause)
	}
	select {
	case <-ctx.Done():
		if err == nil {
			t.Error("it is done")
		}
	default:
		if err != nil {
			t.Error("it is not done")
		}
	}
}

func TestADeadlineStandsStillWhileAScriptIsPaused(t *testing.T) {
	inTime(t, func(t *testing.T, c *scriptContext) {
		type key struct{}
		derived, cancel := context.WithCancel(context.WithValue(c, key{}, "value"))
		defer cancel()
		early := time.Now().Add(time.Minute)
		c.resume(early)
		if d, ok := derived.Deadline(); !ok || !d.Equal(early) {
			t.Errorf("deadline %s, %t", d, ok)
		}
		pass(59 * time.Second)
		c.pause()
		c.pause() // repeated
		if d, ok := derived.Deadline(); ok {
			t.Errorf("deadline %s while paused", d)
		}
		pass(time.Hour)
		mustBe(t, c, nil, nil)
		if !paused(derived) {
			t.Error("it is not paused")
		}
		c.resume(time.Now().Add(10 * time.Second))
		if paused(derived) {
			t.Error("it is still paused")
		}
		pass(9 * time.Second)
		mustBe(t, derived, nil, nil)
		pass(time.Second)
		mustBe(t, c, context.DeadlineExceeded, context.DeadlineExceeded)
		mustBe(t, derived, context.DeadlineExceeded, context.DeadlineExceeded)
		late, cancelLate := context.WithCancel(c)
		defer cancelLate()
		mustBe(t, late, context.DeadlineExceeded, context.DeadlineExceeded)
	})
}

func TestADeadlineCanBeMovedAndTakenAway(t *testing.T) {
	inTime(t, func(t *testing.T, c *scriptContext) {
		c.resume(time.Now().Add(time.Minute))
		c.resume(time.Now().Add(time.Hour)) // of a resume whose pause was lost
		pass(time.Minute)
		mustBe(t, c, nil, nil)
		c.resume(time.Time{})
		if d, ok := c.Deadline(); ok {
			t.Errorf("deadline %s", d)
		}
		pass(time.Hour)
		mustBe(t, c, nil, nil)
		c.resume(time.Now().Add(-time.Second))
		mustBe(t, c, context.DeadlineExceeded, context.DeadlineExceeded)
	})
}

// What the orchestrator says at the deadline may come before it by the own clock.
func TestACancelAtTheDeadlineIsTheDeadline(t *testing.T) {
	for _, c := range []struct {
		left       time.Duration // 0: there is no deadline
		paused     bool
		err, cause error
	}{
		{cancelSlack - 1, false, context.DeadlineExceeded, context.DeadlineExceeded},
		{cancelSlack, false, context.Canceled, errCancelled},
		{cancelSlack - 1, true, context.Canceled, errCancelled},
		{0, false, context.Canceled, errCancelled},
	} {
		inTime(t, func(t *testing.T, script *scriptContext) {
			if c.left > 0 {
				script.resume(time.Now().Add(c.left))
			}
			if c.paused {
				script.pause()
			}
			script.cancel()
			mustBe(t, script, c.err, c.cause)
		})
	}
}

func TestTheOuterContextEndsAScriptThatIsPaused(t *testing.T) {
	why := errors.New("why")
	inTime(t, func(t *testing.T, _ *scriptContext) {
		outer, end := context.WithCancelCause(t.Context())
		c := newScriptContext(outer)
		defer c.stop()
		c.pause()
		derived, cancel := context.WithTimeout(c, time.Hour)
		defer cancel()
		end(why)
		mustBe(t, c, context.Canceled, why)
		mustBe(t, derived, context.Canceled, why)
	})
	inTime(t, func(t *testing.T, _ *scriptContext) {
		soon := time.Now().Add(time.Second)
		outer, cancel := context.WithDeadline(t.Context(), soon)
		defer cancel()
		c := newScriptContext(outer)
		defer c.stop()
		c.resume(soon.Add(time.Hour))
		if d, ok := c.Deadline(); !ok || !d.Equal(soon) {
			t.Errorf("deadline %s, %t", d, ok)
		}
		c.pause()
		pass(time.Second)
		mustBe(t, c, context.DeadlineExceeded, context.DeadlineExceeded)
	})
}

func TestWhoAwaitsAResumeWakesUp(t *testing.T) {
	for name, tt := range map[string]struct {
		wake func(c *scriptContext, cancel context.CancelFunc)
		want error
	}{
		"resumed":                {func(c *scriptContext, _ context.CancelFunc) { c.resume(time.Time{}) }, nil},
		"cancelled":              {func(c *scriptContext, _ context.CancelFunc) { c.end(errCancelled) }, context.Canceled},
		"ended":                  {func(c *scriptContext, _ context.CancelFunc) { c.stop() }, context.Canceled},
		"its own context ended":  {func(_ *scriptContext, cancel context.CancelFunc) { cancel() }, context.Canceled},
		"resumed, its time over": {func(c *scriptContext, _ context.CancelFunc) { c.resume(time.Now().Add(-time.Second)) }, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			inTime(t, func(t *testing.T, c *scriptContext) {
				c.pause()
				derived, cancel := context.WithCancel(c)
				defer cancel()
				woken := make(chan error, 1)
				go func() { woken <- awaitResume(derived) }()
				pass(time.Hour)
				if len(woken) > 0 {
					t.Fatalf("it did not wait: %v", <-woken)
				}
				tt.wake(c, cancel)
				got := <-woken
				if name == "resumed, its time over" && got == nil { // it was first
					synctest.Wait()
					got = awaitResume(derived)
				}
				if got != tt.want {
					t.Errorf("woken with %v, want %v", got, tt.want)
				}
			})
		})
	}
}

func TestAContextThatOutlivesTheScriptWakesUpWithIt(t *testing.T) {
	inTime(t, func(t *testing.T, c *scriptContext) {
		c.pause()
		woken := make(chan error, 1)
		go func() { woken <- awaitResume(context.WithoutCancel(c)) }()
		pass(time.Hour)
		c.stop()
		if err := <-woken; err != context.Canceled {
			t.Errorf("woken with %v", err)
		}
	})
}

// The run knows of the pause, whatever context it is asked with.
func TestARunIsPausedInAnyContext(t *testing.T) {
	inTime(t, func(t *testing.T, c *scriptContext) {
		run := &Run{script: c}
		c.pause()
		if !run.Paused() {
			t.Error("it is not paused")
		}
		woken := make(chan error, 1)
		go func() { woken <- run.AwaitResume(t.Context()) }()
		pass(time.Hour)
		if len(woken) > 0 {
			t.Fatalf("it did not wait: %v", <-woken)
		}
		c.resume(time.Time{})
		if err := <-woken; err != nil || run.Paused() {
			t.Errorf("woken with %v, paused %t", err, run.Paused())
		}
		c.stop()
		if err := run.AwaitResume(t.Context()); err != context.Canceled {
			t.Errorf("once the script has ended: %v", err)
		}
	})
}

func TestARunWithoutAScriptContextIsNeverPaused(t *testing.T) {
	run := new(Run)
	ctx, cancel := context.WithCancel(t.Context())
	if err := run.AwaitResume(ctx); err != nil || run.Paused() {
		t.Errorf("paused %t, error %v", run.Paused(), err)
	}
	cancel()
	if err := run.AwaitResume(ctx); err != context.Canceled {
		t.Errorf("error %v", err)
	}
}

func TestWhatIsNoScriptsContextIsNeverPaused(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	if paused(ctx) {
		t.Error("it is paused")
	}
	if err := awaitResume(ctx); err != nil {
		t.Error(err)
	}
	cancel()
	if err := awaitResume(ctx); err != context.Canceled {
		t.Errorf("error %v", err)
	}
}

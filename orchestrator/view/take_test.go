package view

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Whoever comes while a question is asked waits for the next one: what is answered then is not
// from before it came.
func TestManyShareAQuestionThatBeginsAfterThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		together := newTogether()
		var asked atomic.Int64
		question := func(context.Context) error {
			asked.Add(1)
			<-time.After(time.Second) // in the time of the bubble
			return nil
		}
		var waiting sync.WaitGroup
		for n := range 5 {
			for range 100 {
				waiting.Go(func() {
					before := asked.Load()
					if err := together.await(t.Context(), question); err != nil {
						t.Error(err)
					}
					if asked.Load() == before {
						t.Error("it was told of a question that had begun before it came")
					}
				})
			}
			synctest.Wait()
			if n == 0 {
				if got := asked.Load(); got != 1 {
					t.Errorf("%d questions are asked at once", got)
				}
			}
		}
		waiting.Wait()
		if got := asked.Load(); got != 2 {
			t.Errorf("%d questions were asked for all, want 2", got)
		}
	})
}

func TestQuestionsArePaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		together, one := newTogether(), newOneByOne()
		for name, ask := range map[string]func(context.Context, func(context.Context) error) error{"together": together.await, "one by one": one.ask} {
			began := time.Now()
			for range 5 {
				if err := ask(t.Context(), func(context.Context) error { return nil }); err != nil {
					t.Fatal(err)
				}
			}
			if took := time.Since(began); took != 4*askPause {
				t.Errorf("%s: five questions took %s, want %s", name, took, 4*askPause)
			}
		}
	})
}

// Who gives up leaves the question to those who wait on.
func TestWhoGivesUpLeavesTheQuestionToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		together := newTogether()
		asks := func(context.Context) error { return nil }
		if err := together.await(t.Context(), asks); err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithTimeout(t.Context(), askPause/2)
		defer cancel()
		var waiting sync.WaitGroup
		waiting.Go(func() {
			if err := together.await(short, asks); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("who gives up is told %v", err)
			}
		})
		synctest.Wait()
		waiting.Go(func() {
			if err := together.await(t.Context(), asks); err != nil {
				t.Errorf("who waits on is told %v", err)
			}
		})
		waiting.Wait()
	})
}

func TestTooManyAreTurnedAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		together, one := newTogether(), newOneByOne()
		stuck := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		ctx, cancel := context.WithCancel(t.Context())
		var waiting sync.WaitGroup
		for range maxTogether {
			waiting.Go(func() { _ = together.await(ctx, stuck) })
		}
		for range maxAsking {
			waiting.Go(func() { _ = one.ask(ctx, stuck) })
		}
		synctest.Wait()
		if err := together.await(ctx, stuck); !errors.Is(err, ErrBusy) {
			t.Errorf("one more that waits with others is told %v", err)
		}
		if err := one.ask(ctx, stuck); !errors.Is(err, ErrBusy) {
			t.Errorf("one more that waits for its turn is told %v", err)
		}
		cancel()
		waiting.Wait()
	})
}

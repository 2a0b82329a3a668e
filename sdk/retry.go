package sdk

import (
	"context"
	"errors"
	"time"
)

// longestBackoff is the longest pause between two tries.
const longestBackoff = 30 * time.Second

// retry is how often, and after what pauses, something is tried again.
type retry struct {
	times   int
	backoff time.Duration // before the first further try; it doubles
}

// do tries until it works, trying again is of no use, or ctx has ended. It tells how often
// it has tried.
func (r retry) do(ctx context.Context, try func() error) (tries int, err error) {
	for {
		tries++
		if err = try(); err == nil || !r.again(ctx, tries, err) {
			return tries, err
		}
	}
}

// again waits for the next try after one has failed, as long as the script is paused too;
// false: there is none.
func (r retry) again(ctx context.Context, tries int, err error) bool {
	return tries <= r.times && !final(err) && pause(ctx, r.after(tries)) && awaitResume(ctx) == nil
}

// after is the pause after so many tries.
func (r retry) after(tries int) time.Duration {
	d := r.backoff
	for n := 1; n < tries && d < longestBackoff; n++ {
		d *= 2
	}
	return min(d, longestBackoff)
}

// final reports whether trying again is of no use.
func final(err error) bool {
	return errors.Is(err, ErrSuperseded) || errors.As(err, new(*permanentError))
}

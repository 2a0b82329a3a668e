// Package transfer carries the state of a service between whoever keeps it and an orchestrator
// that takes, checks or puts it back.
//
// The keeper calls [Give] or [Receive] with the order that it got: a function of its own writes the
// state, or reads it. The orchestrator calls [Fetch] or [Deliver]. Pieces go one by one, each when the
// one before has arrived, so neither side holds more than a few of them in memory, whatever the
// size. A question whose answer was lost is asked again. Each side notices within
// [protocol.StateSilence] that the other one is gone, and the end is only taken for one if its
// digest is right: what was cut off is never taken for whole.
//
// [Pack] and [Unpack] make one stream of bytes of a folder, and a folder of that.
package transfer

import (
	"errors"
	"fmt"
	"time"

	"github.com/golive-dev/golive/relay/protocol"
)

// Causes for which a keeper's function is ended.
var (
	errAskerGone = errors.New("nothing was heard of the orchestrator any more")
	errBrokenOff = errors.New("the orchestrator has broken it off")
)

// ErrNobody says that nobody listens who keeps the state.
var ErrNobody = errors.New("nobody answers who keeps it")

// Error is what a keeper has answered in place of the state, or why it was given up.
type Error struct {
	From string // who it was; empty: not known
	Code string // of [protocol]; empty: it has failed
	Why  string
}

// Error is of [error].
func (e *Error) Error() string {
	if e.From == "" {
		return e.Why
	}
	return e.From + ": " + e.Why
}

// timeoutError is the cause when the time of an order is over.
func timeoutError(o protocol.StateOrder) error {
	return fmt.Errorf("it has not ended within %s", time.Duration(o.Timeout))
}

package orchestrator_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/golive-dev/golive/orchestrator/view"
)

// haltLine is what an orchestrator says that has come to where it is to wait.
const haltLine = "halted"

// halt has an orchestrator wait at a point, so that somebody can cut it off, or others, at that
// very moment.
type halt struct {
	mu   sync.Mutex
	at   view.Point
	left int           // times that it still has to come there
	goOn chan struct{} // closed when it shall go on; nil while it does not wait
}

// obey takes orders until ctx ends.
func (h *halt) obey(ctx context.Context, orders <-chan order) {
	for {
		select {
		case o := <-orders:
			h.mu.Lock()
			h.at, h.left = o.At, max(o.Nth, 1)
			if h.goOn != nil {
				close(h.goOn)
				h.goOn = nil
			}
			h.mu.Unlock()
		case <-ctx.Done():
			return
		}
	}
}

// come waits if p is where it is to wait, but not for ever.
func (h *halt) come(p view.Point) {
	h.mu.Lock()
	if h.at != p {
		h.mu.Unlock()
		return
	}
	if h.left--; h.left > 0 {
		h.mu.Unlock()
		return
	}
	h.at = ""
	goOn := make(chan struct{})
	h.goOn = goOn
	h.mu.Unlock()
	fmt.Println(haltLine)
	select {
	case <-goOn:
	case <-time.After(patience):
	}
}

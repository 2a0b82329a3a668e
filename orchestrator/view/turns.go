package view

import (
	"context"
	"sync"
)

// turns has those who change one rollout do it one after the other in this process: side by
// side all but one of them would be refused by the journal, and look again. It is safe for
// concurrent use.
type turns struct {
	mu      sync.Mutex
	waiting map[string]*turn // by rollout
}

type turn struct {
	free chan struct{} // holds an element while nobody has the turn
	many int           // who has it or waits for it
}

// await blocks until it is the caller's turn with a rollout, and gives what ends that.
func (t *turns) await(ctx context.Context, id string) (leave func(), err error) {
	t.mu.Lock()
	if t.waiting == nil {
		t.waiting = make(map[string]*turn)
	}
	own := t.waiting[id]
	if own == nil {
		own = &turn{free: make(chan struct{}, 1)}
		own.free <- struct{}{}
		t.waiting[id] = own
	}
	own.many++
	t.mu.Unlock()
	select {
	case <-own.free:
		return func() { own.free <- struct{}{}; t.forget(id, own) }, nil
	case <-ctx.Done():
		t.forget(id, own)
		return nil, ctx.Err()
	}
}

// forget counts one less who has the turn or waits for it.
func (t *turns) forget(id string, own *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if own.many--; own.many == 0 {
		delete(t.waiting, id)
	}
}

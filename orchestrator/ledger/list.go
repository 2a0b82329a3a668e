package ledger

import (
	"iter"
	"slices"
)

// maxChunk is how many items one chunk holds: small enough for one message, whatever the
// items say, and quickly copied.
const maxChunk = 100

// list is a list in chunks that are stored one by one. It is a value: nothing in it is
// ever changed in place, so that one can be written while the next one is being made.
type list[T any] []chunk[T]

type chunk[T any] struct {
	items   []T
	changed uint64 // sequence of the event that changed it last
}

// add is the list with one more item, because of the event at sequence.
func (l list[T]) add(item T, sequence uint64) list[T] {
	if len(l) == 0 || len(l[len(l)-1].items) == maxChunk {
		return append(slices.Clone(l), chunk[T]{items: []T{item}, changed: sequence})
	}
	next := slices.Clone(l)
	end := &next[len(next)-1]
	end.items, end.changed = append(slices.Clone(end.items), item), sequence
	return next
}

// change is the list with each item that which reports changed by to, because of the
// event at sequence.
func (l list[T]) change(sequence uint64, which func(T) bool, to func(*T)) list[T] {
	next, cloned := l, false
	for n, c := range l {
		var items []T
		for i, item := range c.items {
			if !which(item) {
				continue
			}
			if items == nil {
				items = slices.Clone(c.items)
			}
			to(&items[i])
		}
		if items == nil {
			continue
		}
		if !cloned {
			next, cloned = slices.Clone(l), true
		}
		next[n] = chunk[T]{items: items, changed: sequence}
	}
	return next
}

// backward goes through the items from the newest on.
func (l list[T]) backward() iter.Seq[T] {
	return func(yield func(T) bool) {
		for _, c := range slices.Backward(l) {
			for _, item := range slices.Backward(c.items) {
				if !yield(item) {
					return
				}
			}
		}
	}
}

// all copies the items, oldest first.
func (l list[T]) all() []T {
	var items []T
	for _, c := range l {
		items = append(items, c.items...)
	}
	return items
}

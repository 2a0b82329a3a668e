package ledger

import "github.com/golive-dev/golive/orchestrator/rollout"

// After is the book as it would be if what led to s were the app's next event. The ledger
// itself does not change.
func (b *Book) After(s rollout.State) *Book { return b.apply(s, b.sequence+1) }

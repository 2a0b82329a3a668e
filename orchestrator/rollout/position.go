package rollout

import "time"

// Position is an event in the journal, as somebody who has seen it can find it again: a journal
// that was put back from a backup may have another one at its sequence. The zero value is no
// event.
type Position struct {
	Sequence uint64    `json:"sequence"`
	Rollout  string    `json:"rollout"`
	At       time.Time `json:"at,omitzero"` // of the event; zero: not known
}

// PositionOf is where the event that has led to s stands.
func PositionOf(s State, sequence uint64) Position {
	return Position{Sequence: sequence, Rollout: s.ID, At: s.Event.At}
}

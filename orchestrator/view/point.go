package view

// Point is a place in the engine between two steps of which one or both have an effect
// that others can see.
type Point string

// The points.
const (
	EventSaved  Point = "event-saved"  // an event is durable, nothing was done about it
	Announced   Point = "announced"    // the world has been told of an event, its steps have not begun
	TimerSet    Point = "timer-set"    // the rollout's timer is set
	StartSent   Point = "start-sent"   // a start has been sent, the work item is not acknowledged
	TrafficLed  Point = "traffic-led"  // a route is where it shall be, which is not recorded
	ItemDone    Point = "item-done"    // a work item is done, and not acknowledged
	AnswerSaved Point = "answer-saved" // an answer is durable, and its sender does not know it
	LedgerSaved Point = "ledger-saved" // the ledger's snapshot is stored
)

// Points lists all points.
func Points() []Point {
	return []Point{EventSaved, Announced, TimerSet, StartSent, TrafficLed, ItemDone, AnswerSaved, LedgerSaved}
}

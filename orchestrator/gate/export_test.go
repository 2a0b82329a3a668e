package gate

import "context"

// Confirmed waits for the confirmations of a revision, as a worker does that has written it.
func (g *Gate) Confirmed(ctx context.Context, o Order, at Route) error {
	if o.Tell == nil {
		o.Tell = func(string) {}
	}
	return g.confirmed(ctx, o, at, &Moved{})
}

// ErrOvertaken is what [Gate.Confirmed] gives when another worker has led the route further.
var ErrOvertaken = errOvertaken

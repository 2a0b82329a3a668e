package journal

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"
)

// EventMessage makes the message of an event without storing it.
var EventMessage = event

// BeforePurge has f called before each purge of the stream, with its number, from 1.
func (j *Journal) BeforePurge(f func(number int)) {
	j.states.stream = &purging{Stream: j.states.stream, before: f}
}

type purging struct {
	jetstream.Stream
	before func(number int)
	number int
}

func (p *purging) Purge(ctx context.Context, opts ...jetstream.StreamPurgeOpt) error {
	p.number++
	p.before(p.number)
	return p.Stream.Purge(ctx, opts...)
}

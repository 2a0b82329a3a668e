package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync/atomic"

	"github.com/golive-dev/golive/relay"
)

// Stream is [relay.Relay.Stream] from inside the script, to where [Run.Request] would go.
func (r *Run) Stream(ctx context.Context, name string, payload any, opts ...relay.StreamOption) iter.Seq2[relay.Record, error] {
	return func(yield func(relay.Record, error) bool) {
		to, ours, err := r.version(ctx, name)
		if err != nil {
			yield(relay.Record{}, err)
			return
		}
		begun, again := false, false
		for record, err := range r.relay.Stream(ctx, name, payload, slices.Concat([]relay.StreamOption{relay.ToVersion(to)}, opts)...) {
			if again = !begun && ours != "" && to == "" && (errors.Is(err, relay.ErrNobodyListens) || errors.Is(err, relay.ErrMaintenance)); again {
				break // it has changed since, and no handler has seen the message
			}
			begun = true
			if !yield(record, err) {
				return
			}
		}
		if !again {
			return
		}
		r.routes.forget()
		for record, err := range r.relay.Stream(ctx, name, payload, slices.Concat([]relay.StreamOption{relay.ToVersion(ours)}, opts)...) {
			if !yield(record, err) {
				return
			}
		}
	}
}

// FromStream is the source whose records are those of the stream that answers a message, as
// of [Run.Stream]; its total is known once the sender has told it. Each record must have a
// cursor, and the sender must go on behind the one it is given. Records are JSON, unless T
// is []byte or [json.RawMessage], which get them as they are; one that cannot be read ends
// the script.
func FromStream[T any](name string, payload any, opts ...relay.StreamOption) Source[T] {
	var total atomic.Int64
	return Source[T]{
		total: total.Load,
		Records: func(ctx context.Context, run *Run, _, after string) iter.Seq2[Record[T], error] {
			opts := slices.Concat(opts, []relay.StreamOption{relay.TotalTo(&total)})
			if after != "" {
				opts = append(opts, relay.After(after))
			}
			return func(yield func(Record[T], error) bool) {
				for record, err := range run.Stream(ctx, name, payload, opts...) {
					r := Record[T]{Cursor: record.Cursor}
					if err == nil {
						err = decodeTo(&r.Value, record)
					}
					if !yield(r, err) || err != nil {
						return
					}
				}
			}
		},
	}
}

func decodeTo[T any](value *T, record relay.Record) error {
	switch to := any(value).(type) {
	case *[]byte:
		*to = record.Data
	case *json.RawMessage:
		*to = record.Data
	default:
		if err := record.Decode(value); err != nil {
			return Permanent(fmt.Errorf("%s: %w", recordName("", record.Cursor), err))
		}
	}
	return nil
}

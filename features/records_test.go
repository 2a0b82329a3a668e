package features

import (
	"context"
	"errors"
	"iter"
	"os"
	"strconv"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/sdk"
)

// playRecords is a setup service whose scripts work through records.
func playRecords(phases []string) int {
	report("setup service")
	s := sdk.SetupService{Service: os.Getenv(relay.EnvService), Version: os.Getenv(relay.EnvVersion)}
	for _, phase := range phases {
		script := workThrough(s.Service + " " + s.Version + " " + phase)
		switch protocol.Phase(phase) {
		case protocol.Before:
			s.Before = script
		case protocol.Offline:
			s.Offline = script
		case protocol.Online:
			s.Online = script
		}
	}
	return sdk.Main(s)
}

// todo is a record that such a script works on.
type todo struct {
	ID    int64  `json:"id"`
	Title string `json:"title"`
}

// workThrough is a script that works through as many records as the board says. The first
// ones, as many as it says, cannot be dealt with.
func workThrough(name string) sdk.Script {
	return func(ctx context.Context, run *sdk.Run) error {
		orders, released := make(chan order, 1), make(chan struct{})
		var failure error
		go func() { // until it is released, or the script has ended
			defer close(released)
			_, failure = ask(ctx, name, func(o order) { orders <- o })
		}()
		select {
		case o := <-orders:
			if err := backfillOf(o, released).Run(ctx, run); err != nil {
				return err
			}
			<-released
			return failure
		case <-released:
			return failure
		}
	}
}

func backfillOf(o order, released <-chan struct{}) sdk.Backfill[todo] {
	asked := 0
	return sdk.Backfill[todo]{
		Source: sdk.Source[todo]{
			Records: func(_ context.Context, run *sdk.Run, _, after string) iter.Seq2[sdk.Record[todo], error] {
				if after != "" {
					run.Log.Info("goes on behind todo " + after)
				}
				return todosBehind(after, o.Items)
			},
			Count: func(context.Context, *sdk.Run) (int64, error) { return max(o.Items, o.Total), nil },
		},
		Each: func(_ context.Context, _ *sdk.Run, r sdk.Record[todo]) error {
			if r.Value.ID <= o.Aside {
				return sdk.Permanent(errors.New(o.Text))
			}
			return nil
		},
		Rate: o.Rate, PutAside: true,
		Before: []sdk.Check{o.check("before")}, After: []sdk.Check{o.check("after")},
		Throttle: func(context.Context, *sdk.Run) (string, error) {
			asked++
			select {
			case <-released:
				return "", nil
			default:
			}
			if asked == 1 { // it begins well
				return "", nil
			}
			return o.Held, nil
		},
	}
}

// check is one that holds, unless the order is another.
func (o order) check(when string) sdk.Check {
	return sdk.Check{Name: "todos " + when, Do: func(context.Context, *sdk.Run) error {
		if o.Check == when {
			return errors.New(o.Text)
		}
		return nil
	}}
}

// todosBehind gives the todos up to the last one that come after a cursor.
func todosBehind(after string, last int64) iter.Seq2[sdk.Record[todo], error] {
	return func(yield func(sdk.Record[todo], error) bool) {
		begin := int64(0)
		if after != "" {
			var err error
			if begin, err = strconv.ParseInt(after, 10, 64); err != nil {
				yield(sdk.Record[todo]{}, sdk.Permanent(err))
				return
			}
		}
		for id := begin + 1; id <= last; id++ {
			name := strconv.FormatInt(id, 10)
			if !yield(sdk.Record[todo]{Value: todo{ID: id, Title: "todo " + name}, Cursor: name}, nil) {
				return
			}
		}
	}
}

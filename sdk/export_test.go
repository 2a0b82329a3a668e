package sdk

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// RememberAfter makes s remember an answer that is not accepted within d.
func (s SetupService) RememberAfter(d time.Duration) SetupService {
	s.rememberAfter = d
	return s
}

// CountPutAside counts the records that run's step has put aside, by a list that is read
// through another bucket.
func CountPutAside(ctx context.Context, run *Run, through func(jetstream.KeyValue) jetstream.KeyValue) (int, error) {
	f := newFailedRecords(run, "", 0)
	if err := f.open(ctx); err != nil {
		return 0, err
	}
	f.kv = through(f.kv)
	all, err := f.list(ctx)
	return len(all), err
}

package journal

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay/bus"
)

// Clock is the time of the bus, as the leader of the journal's stream tells it. What is written
// into the journal is dated by it, so that orchestrators whose own clocks differ mean the same.
// It is read whenever the end of the stream is asked for, and by [Journal.ReadClock].
func (j *Journal) Clock() *bus.Clock { return j.clock }

// ReadClock asks the leader what time it is. It blocks until that has answered, for five seconds
// at most.
func (j *Journal) ReadClock(ctx context.Context) error {
	if _, err := j.info(ctx); err != nil {
		return fmt.Errorf("read the clock of the bus: %w", err)
	}
	return nil
}

// Now is the time of the bus, asked for at this moment.
func (j *Journal) Now(ctx context.Context) (time.Time, error) {
	if err := j.ReadClock(ctx); err != nil {
		return time.Time{}, err
	}
	return j.clock.Now(), nil
}

// info asks the leader for the state of the stream, and what time it is.
func (j *Journal) info(ctx context.Context) (*jetstream.StreamInfo, error) {
	asked := j.clock.Own()
	info, err := j.states.stream.Info(ctx)
	if err != nil {
		return nil, err
	}
	j.clock.Heard(asked, j.clock.Own(), info.TimeStamp)
	return info, nil
}

// OwnClock has the journal take another clock for that of this machine; for tests.
func (j *Journal) OwnClock(own func() time.Time) { j.clock = bus.NewClock(own) }

package sdk_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/sdk"
)

// A deadline is a time of the bus, whose clock may be another than this machine's: how long is
// left counts.
func TestADeadlineIsCountedByWhatIsLeft(t *testing.T) {
	t.Parallel()
	s, g := newStage(t), newGuided(t)
	s.run(sdk.SetupService{Service: "todo-search", Version: "0.0.1", Online: g.script})
	within := func(what string, left time.Duration) {
		t.Helper()
		g.do <- func(ctx context.Context, _ *sdk.Run) error {
			d, ok := ctx.Deadline()
			if is := time.Until(d); !ok || is > left || is < left-20*time.Second {
				t.Errorf("%s it has the deadline %s (%s away), %t, want one %s away", what, d, is, ok, left)
			}
			return ctx.Err()
		}
		must(t, receive(t, g.did, what))
	}
	const hour = time.Hour
	m := start(protocol.Online, 2)
	m.Deadline, m.Left = time.Now().Add(-hour), protocol.Duration(time.Minute) // the bus is behind
	s.send(m)
	receive(t, g.begun, "the script")
	within("after the start", time.Minute)
	data, err := json.Marshal(protocol.ControlMessage{Rollout: rollout, Attempt: 2, Deadline: time.Now().Add(hour), Left: protocol.Duration(2 * time.Minute)})
	must(t, err)
	s.tell(protocol.Resume, m, string(data)) // it is ahead
	g.do <- func(ctx context.Context, _ *sdk.Run) error { return s.untilLeft(ctx, 2*time.Minute) }
	must(t, receive(t, g.did, "the resume"))
	within("after the resume", 2*time.Minute)
	close(g.do)
}

// untilLeft blocks until a script has about so much time left.
func (s *stage) untilLeft(ctx context.Context, left time.Duration) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(20 * time.Second); ; {
		if d, ok := ctx.Deadline(); ok && time.Until(d) > left-30*time.Second && time.Until(d) <= left {
			return nil
		}
		select {
		case <-tick.C:
		case <-late:
			return context.DeadlineExceeded
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// A control that names an attempt which cannot be is obeyed by none, also not by the one that
// its other half names.
func TestAControlOfAnAttemptThatMakesNoSenseIsNotObeyed(t *testing.T) {
	t.Parallel()
	s, g := newStage(t), newGuided(t)
	it := s.run(sdk.SetupService{Service: "todo-search", Version: "0.0.1", Online: g.script})
	m := start(protocol.Online, 2)
	s.send(m)
	receive(t, g.begun, "the script")
	for _, c := range []struct{ header, payload string }{
		{"", `{"attempt": 0}`}, {"abc", `{"attempt": 2}`}, {"2.0", ""}, {"0", `{"attempt": 2}`}, {"02", ""}, {"2", `{"attempt": "2"}`}, {"2", `{"attempt": 2, "deadline": 5}`},
	} {
		out := nats.NewMsg(m.Script().Subject(protocol.Cancel))
		out.Header.Set(protocol.HeaderRollout, rollout)
		if c.header != "" {
			out.Header.Set(protocol.HeaderAttempt, c.header)
		}
		out.Data = []byte(c.payload)
		must(t, s.nc.PublishMsg(out))
		it.awaitLine("it names no attempt")
	}
	g.do <- func(ctx context.Context, _ *sdk.Run) error { return ctx.Err() }
	must(t, receive(t, g.did, "the script"))
	close(g.do)
}

package features

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cucumber/godog"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay/protocol"
)

func (s *scenario) wireSteps(sc *godog.ScenarioContext) {
	sc.Step(`^somebody observes these messages:$`, s.observe)
	sc.Step(`^these messages are observed, and no other:$`, s.observed)
	sc.Step(`^somebody publishes "([^"]*)" by hand$`, s.publishByHand)
	sc.Step(`^somebody requests "([^"]*)" with:$`, s.request)
	sc.Step(`^the reply is "(.*)"$`, s.replyIs)
	sc.Step(`^the stream holds these events of the app (\S+):$`, s.holdsEvents)
}

// observation is what was heard of some messages, in order.
type observation struct {
	arrived chan *nats.Msg
	heard   []*nats.Msg
}

// observe listens. An observer of a start would keep NATS from saying that nobody runs
// it, so it is not for starts. What has happened before is told before: a rollout has ended
// once the journal says so, and what the world is told of that comes a moment later.
func (s *scenario) observe(ctx context.Context, names *godog.Table) error {
	o, err := s.look(ctx)
	if err != nil {
		return err
	}
	if err := workDone(ctx, o.nc); err != nil {
		return err
	}
	o.observed = &observation{arrived: make(chan *nats.Msg, 100)} // one channel: the order is kept
	for _, row := range names.Rows {
		if _, err := o.nc.ChanSubscribe(row.Cells[0].Value, o.observed.arrived); err != nil {
			return err
		}
	}
	return o.nc.FlushTimeout(patience)
}

// workDone blocks until the orchestrators have done all that the journal asks of them.
func workDone(ctx context.Context, nc *nats.Conn) error {
	ctx, cancel := withPatience(ctx)
	defer cancel()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	for {
		c, err := js.Consumer(ctx, protocol.Stream, "golive-orchestrators")
		switch {
		case errors.Is(err, jetstream.ErrConsumerNotFound): // the orchestrator is about to make it
		case err != nil:
			return err
		case c.CachedInfo().NumPending == 0 && c.CachedInfo().NumAckPending == 0:
			return nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("the orchestrators are still at work, %w", context.Cause(ctx))
		}
	}
}

// observed waits until so many messages were heard as the table has, and compares each
// with its row: name, headers, and text in the payload.
func (s *scenario) observed(ctx context.Context, table *godog.Table) error {
	if s.outside == nil || s.outside.observed == nil {
		return errors.New("nobody observes")
	}
	o := s.outside.observed
	ctx, cancel := withPatience(ctx)
	defer cancel()
	rows := table.Rows[1:]
	for len(o.heard) < len(rows) {
		select {
		case m := <-o.arrived:
			o.heard = append(o.heard, m)
		case <-ctx.Done():
			return fmt.Errorf("only %d messages were heard, %s: %w", len(o.heard), names(o.heard), context.Cause(ctx))
		}
	}
	if err := s.outside.nc.FlushWithContext(ctx); err != nil { // what was published before is here now
		return err
	}
	for len(o.arrived) > 0 {
		o.heard = append(o.heard, <-o.arrived)
	}
	if len(o.heard) > len(rows) {
		return fmt.Errorf("%d messages were heard: %s", len(o.heard), names(o.heard))
	}
	return compareMessages(o.heard, table)
}

// compareMessages compares each message with its row of the table.
func compareMessages(messages []*nats.Msg, table *godog.Table) error {
	for i, row := range table.Rows[1:] {
		for j, cell := range row.Cells {
			title := table.Rows[0].Cells[j].Value
			if got := part(messages[i], title); !lineLike(cell.Value).MatchString(got) {
				return fmt.Errorf("message %d of %s has the %s %q, not %q", i+1, names(messages), title, got, cell.Value)
			}
		}
	}
	return nil
}

// part is what a column of the table is about.
func part(m *nats.Msg, title string) string {
	switch title {
	case "message":
		return m.Subject
	case "payload":
		return string(m.Data)
	}
	return m.Header.Get(title)
}

func names(messages []*nats.Msg) string {
	var all []string
	for _, m := range messages {
		all = append(all, m.Subject)
	}
	return fmt.Sprintf("%q", all)
}

// publishByHand publishes as a person does who tries a script out, again until somebody
// listens, and returns when the script has answered.
func (s *scenario) publishByHand(ctx context.Context, name string) error {
	o, err := s.look(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := withPatience(ctx)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := o.nc.RequestWithContext(ctx, name, nil)
		if !errors.Is(err, nats.ErrNoResponders) {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("nobody listens to %s: %w", name, context.Cause(ctx))
		}
	}
}

// request sends a request as a deployment system does, and keeps the reply.
func (s *scenario) request(ctx context.Context, name string, payload *godog.DocString) error {
	o, err := s.look(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := withPatience(ctx)
	defer cancel()
	m, err := o.nc.RequestWithContext(ctx, name, []byte(payload.Content))
	if err != nil {
		return fmt.Errorf("request %s: %w", name, err)
	}
	o.reply = string(m.Data)
	return nil
}

func (s *scenario) replyIs(expected string) error {
	if s.outside == nil || !lineLike(expected).MatchString(s.outside.reply) {
		return fmt.Errorf("the reply is %s", s.outside.reply)
	}
	return nil
}

// holdsEvents compares all events of an app that are kept, oldest first.
func (s *scenario) holdsEvents(ctx context.Context, app string, table *godog.Table) error {
	ctx, cancel := withPatience(ctx)
	defer cancel()
	events, err := s.events(ctx, app)
	if err != nil {
		return err
	}
	defer events.Stop()
	var kept []*nats.Msg
	for range table.Rows[1:] {
		m, err := events.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("only %d events are there: %w", len(kept), err)
		}
		kept = append(kept, &nats.Msg{Subject: m.Subject(), Header: m.Headers(), Data: m.Data()})
	}
	return compareMessages(kept, table)
}

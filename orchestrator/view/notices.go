package view

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// Notices are what orchestrators tell each other, and watchers, of running attempts. It is
// safe for concurrent use.
type Notices struct {
	Conn *nats.Conn
	View *View
	From string // which orchestrator this one is
	Log  *zap.Logger
}

// Tell makes a notice about a rollout known here and everywhere. It does not block.
func (o *Notices) Tell(s rollout.State, n api.Notice) {
	n.From, n.Rollout = o.From, s.ID
	known := o.View.Of(n.Rollout, n.Step, n.Attempt)
	changed := known.Sent != n.Sent || known.Waiting != n.Waiting
	if !changed && n.Waiting == "" {
		return // a wait is told again and again, for those who have begun to listen meanwhile
	}
	o.take(n)
	data, err := json.Marshal(n)
	if err == nil {
		err = o.Conn.Publish(protocol.NoticeSubject(s.Release.App, s.ID), data)
	}
	if err != nil {
		o.Log.Debug("notice", zap.Error(err))
	}
	if changed && n.Waiting != "" && !n.Sent {
		o.Log.Info("waiting", zap.String("rollout", s.ID), zap.String("step", n.Step), zap.String("for", n.Waiting))
	}
}

func (o *Notices) take(n api.Notice) {
	o.View.Note(n.Rollout, n.Step, n.Attempt, func(s *Observed) {
		s.Sent = s.Sent || n.Sent
		s.Waiting = n.Waiting
		if n.Server != "" {
			s.Server, s.Connection = n.Server, n.Connection
		}
	})
}

// Hear takes in what other orchestrators tell, until ctx ends.
func (o *Notices) Hear(ctx context.Context) error {
	own := []byte(`{"from":"` + o.From + `"`)
	sub, err := o.Conn.Subscribe(protocol.AllNotices, func(m *nats.Msg) {
		var n api.Notice
		if bytes.HasPrefix(m.Data, own) {
			return
		}
		if json.Unmarshal(m.Data, &n) == nil {
			o.take(n)
		}
	})
	if err != nil {
		return fmt.Errorf("listen to %s: %w", protocol.AllNotices, err)
	}
	<-ctx.Done()
	_ = sub.Unsubscribe() // the connection may be gone
	return nil
}

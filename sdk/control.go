package sdk

import (
	"context"
	"encoding/json"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/relay/protocol"
)

// control is a message that the orchestrator sends to every instance about a script,
// whichever direction that runs in.
type control struct {
	script protocol.Script
	verb   protocol.Verb // Cancel, Pause, Resume or PaceSet
}

// controlSubjects are the controls of all jobs, by subject.
func controlSubjects(jobs []job) map[string]control {
	all := make(map[string]control)
	for _, j := range jobs {
		for _, verb := range []protocol.Verb{protocol.Cancel, protocol.Pause, protocol.Resume, protocol.PaceSet} {
			all[j.script.Subject(verb)] = control{j.script, verb}
		}
	}
	return all
}

// hearControls deals with controls in the order in which they come, until ctx ends.
func (w *worker) hearControls(ctx context.Context, said <-chan *nats.Msg, known map[string]control) {
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-said:
			w.control(known[m.Subject], m)
		}
	}
}

// control deals with a message about an attempt, which may run here, run elsewhere or be
// about to begin.
func (w *worker) control(c control, m *nats.Msg) {
	var which protocol.ControlMessage
	rollout, attempt, err := protocol.About(m.Header, m.Data)
	if err == nil && json.Valid(m.Data) { // the headers may say it all
		err = json.Unmarshal(m.Data, &which)
	}
	about := zap.Int("attempt", attempt)
	if err != nil || rollout == "" || attempt == 0 {
		w.log.Warn("it names no attempt", zap.String("message", m.Subject), about, zap.Error(err))
		return
	}
	which.Rollout, which.Attempt = rollout, attempt
	if left := time.Duration(which.Left); left > 0 { // by this machine's clock
		which.Deadline = time.Now().Add(left)
	}
	if w.attempts.control(c, which) {
		w.log.Info("told", zap.String("message", m.Subject), about)
	} else {
		w.log.Debug("told of an attempt that does not run here", zap.String("message", m.Subject), about)
	}
}

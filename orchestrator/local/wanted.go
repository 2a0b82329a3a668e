package local

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay/protocol"
)

// hearWanted has the setup services started that somebody needs: to undo what they did, in this
// rollout or one before it, or to try records again. It returns once that is heard, until stop
// is called.
func (u *upRun) hearWanted() (stop func(), err error) {
	nc, subject := u.relay.Conn(), protocol.WantedSubject(u.app.manifest.App)
	sub, err := nc.Subscribe(subject, u.wanted)
	if err == nil {
		err = nc.FlushTimeout(connectTimeout)
	}
	if err != nil {
		return nil, fmt.Errorf("listen to %s: %w", subject, err)
	}
	return func() { _ = sub.Unsubscribe() }, nil // the connection may be gone
}

// wanted starts the setup services that may listen to the starts that are wanted, and says which
// those are.
func (u *upRun) wanted(m *nats.Msg) {
	var q protocol.Wanted
	if json.Unmarshal(m.Data, &q) != nil || m.Reply == "" {
		return
	}
	answer := protocol.Starting{Starts: []string{}}
	for _, setup := range u.app.manifest.SetupServices() {
		theirs := slices.DeleteFunc(slices.Clone(q.Starts), func(start string) bool { return !setup.ListensTo(start) })
		if len(theirs) == 0 {
			continue
		}
		if err := u.app.startSetup(setup); err != nil {
			u.Talk.Say(terminal.Red, "✗", "%s", err)
			continue
		}
		answer.Starts = append(answer.Starts, theirs...)
	}
	data, err := json.Marshal(answer)
	if err == nil && protocol.IsInbox(m.Reply) {
		err = m.Respond(data)
	}
	if err != nil { // it is not waited for then
		u.Logger.Warn("it is not told which setup services are being started", zap.Error(err))
	}
}

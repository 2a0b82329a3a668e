package spec

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/relay/protocol"
)

// claimed reads which run a named message is about. The reason says why it is not
// about this one; it is empty when it is.
func (c *conversation) claimed(m *nats.Msg) (a protocol.Answer, reason string) {
	rollout, attempt, err := protocol.About(m.Header, m.Data)
	if err != nil {
		return a, "its " + err.Error()
	}
	_ = json.Unmarshal(m.Data, &a) // the headers may say it all
	a.Rollout, a.Attempt = rollout, attempt
	switch {
	case a.Rollout == "":
		return a, "it names no rollout; copy the headers Golive-Rollout and Golive-Attempt from the start"
	case a.Rollout != c.start.Rollout:
		return a, "it is about another rollout, " + a.Rollout
	case a.Attempt == 0 && (c.start.Attempt > 1 || c.start.Revert):
		return a, "it names no attempt; copy the header Golive-Attempt from the start"
	case a.Attempt != 0 && a.Attempt != c.start.Attempt:
		return a, fmt.Sprintf("it is about attempt %d, and attempt %d is under way", a.Attempt, c.start.Attempt)
	}
	a.Attempt = c.start.Attempt
	return a, ""
}

// judge is the answer that a named message gives: its name decides.
func judge(a protocol.Answer, m *nats.Msg, done bool) *protocol.Answer {
	a.Done = done
	switch {
	case done:
		a.Error = nil
	case a.Error == nil:
		reason := strings.TrimSpace(string(m.Data))
		if reason == "" {
			reason = "it does not say why"
		}
		a.Error = &protocol.ScriptError{Code: protocol.CodeFailed, Message: reason}
	}
	return &a
}

// judgeReply is the answer that a plain reply gives: done only if it says so.
func (c *conversation) judgeReply(m *nats.Msg) *protocol.Answer {
	doneName := c.script.Subject(protocol.DoneVerb(c.start.Revert))
	text, failure := string(m.Data), m.Header.Get(protocol.HeaderError)
	var a protocol.Answer
	isJSON := json.Unmarshal(m.Data, &a) == nil
	if !isJSON {
		a = protocol.Answer{} // what could be read of it means nothing
	}
	a.Rollout, a.Attempt = c.start.Rollout, c.start.Attempt
	if failure == "" && (isJSON && a.Done || lastLine(text) == doneName) {
		a.Done, a.Error = true, nil
		return &a
	}
	a.Done = false
	switch said := strings.TrimSpace(text); {
	case failure != "":
		a.Error = &protocol.ScriptError{Code: protocol.CodeReply, Message: failure}
	case a.Error != nil: // it says in JSON what a failed message would
	case said != "":
		a.Error = &protocol.ScriptError{Code: protocol.CodeReply, Message: said}
	default:
		a.Error = &protocol.ScriptError{Code: protocol.CodeReply, Message: "the reply is empty; reply " + doneName + ` or {"done": true}`}
	}
	return &a
}

// lastLine is the last line of text that is not empty.
func lastLine(text string) string {
	text = strings.TrimRight(text, "\r\n")
	return text[strings.LastIndex(text, "\n")+1:]
}

// isNoResponders says whether m is NATS's word that nobody has got a message.
func isNoResponders(m *nats.Msg) bool {
	return m.Header.Get(protocol.HeaderStatus) == "503" && len(m.Data) == 0
}

// isNoAnswer says whether m, on a reply subject, comes from NATS itself.
func isNoAnswer(m *nats.Msg) bool {
	if m.Header.Get(protocol.HeaderStatus) != "" {
		return true
	}
	var ack struct {
		Stream string  `json:"stream"`
		Seq    *uint64 `json:"seq"`
		Error  struct {
			Code int `json:"err_code"`
		} `json:"error"`
	}
	return json.Unmarshal(m.Data, &ack) == nil && (ack.Stream != "" && ack.Seq != nil || ack.Error.Code != 0)
}

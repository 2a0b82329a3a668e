package spec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/golive-dev/golive/relay/protocol"
)

// String is the recording as text that is the same whenever the same scripts did the
// same: ids are numbered in the order in which they appear; instants, digests, traces
// and the step's number in a reply subject are left out; JSON has its fields in order.
// Of the progress that a script tells in a row the last is shown, before what it says
// next; bare signs of life are not, because their number is a matter of time.
func (r *Recording) String() string {
	t := transcript{ids: make(map[string]string)}
	for _, m := range withoutSignsOfLife(r.Messages()) {
		t.write(m)
	}
	return t.text.String()
}

// withoutSignsOfLife leaves of the progress messages in a row the last that tells something,
// and none that follows an answer.
func withoutSignsOfLife(messages []Message) []Message {
	var kept []Message
	type state struct {
		running  bool
		progress *Message // told since the last other message, and not yet kept
	}
	scripts := make(map[protocol.Script]*state)
	for _, m := range messages {
		s := scripts[m.Script]
		if s == nil {
			s = &state{}
			scripts[m.Script] = s
		}
		if m.Name == m.Script.Subject(protocol.Progress) {
			if s.running && tells(m) {
				s.progress = &m
			}
			continue
		}
		if s.progress != nil {
			kept = append(kept, *s.progress)
		}
		s.progress, s.running = nil, m.starts() || s.running && !m.ends()
		kept = append(kept, m)
	}
	return kept
}

func (m Message) starts() bool { return m.Reply != "" }

// ends says whether m answers a start: it is not what the orchestrator sends meanwhile.
func (m Message) ends() bool {
	return !slices.ContainsFunc([]protocol.Verb{protocol.Cancel, protocol.Pause, protocol.Resume, protocol.PaceSet}, func(v protocol.Verb) bool {
		return m.Name == m.Script.Subject(v)
	})
}

func tells(m Message) bool {
	var p protocol.ProgressMessage
	return json.Unmarshal(m.Data, &p) == nil && p.Done != nil
}

// transcript writes messages in a form that does not depend on when and where.
type transcript struct {
	text strings.Builder
	ids  map[string]string
}

func (t *transcript) write(m Message) {
	if t.text.Len() > 0 {
		t.text.WriteString("\n")
	}
	t.text.WriteString(t.normal(m.Name) + "\n")
	for _, key := range slices.Sorted(maps.Keys(m.Header)) {
		for _, value := range m.Header[key] {
			fmt.Fprintf(&t.text, "  %s: %s\n", key, t.normal(value))
		}
	}
	if m.Reply != "" {
		fmt.Fprintf(&t.text, "  reply: %s\n", t.normal(m.Reply))
	}
	for line := range strings.Lines(payload(m.Data)) {
		t.text.WriteString("  " + t.normal(strings.TrimRight(line, "\n")) + "\n")
	}
}

// payload is JSON on one line with its fields in order, and anything else as it is.
func payload(data []byte) string {
	var value any
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if decoder.Decode(&value) != nil || decoder.More() {
		return string(data)
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if encoder.Encode(value) != nil {
		return string(data)
	}
	return out.String()
}

var (
	traces     = regexp.MustCompile(`\b00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\b`)
	ids        = regexp.MustCompile(`\b[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b`)
	instants   = regexp.MustCompile(`\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)`)
	digests    = regexp.MustCompile(`\bsha256:[0-9a-f]{64}\b`)
	stepNumber = regexp.MustCompile(`^(golive\.answer\.[^.]+)\.\d+\.`)
)

func (t *transcript) normal(text string) string {
	text = traces.ReplaceAllString(text, "<trace>")
	text = ids.ReplaceAllStringFunc(text, func(id string) string {
		if t.ids[id] == "" {
			t.ids[id] = fmt.Sprintf("<id %d>", len(t.ids)+1)
		}
		return t.ids[id]
	})
	text = instants.ReplaceAllString(text, "<instant>")
	text = digests.ReplaceAllString(text, "<digest>")
	return stepNumber.ReplaceAllString(text, "$1.<step>.")
}

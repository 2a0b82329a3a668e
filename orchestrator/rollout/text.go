package rollout

import (
	"slices"
	"strings"

	"github.com/golive-dev/golive/relay/protocol"
)

// What a state keeps of texts that are not golive's own, so that nothing that a script, a
// host or a person says can make it outgrow a message.
const (
	maxKept      = 4 << 10 // bytes of each text of an answer, or of what a person wants
	maxChecks    = 20      // of an answer that are kept
	maxCheckText = 512     // bytes of the name, and of the error, of each
)

// Clip is a text, with no more than its first 4 KiB; one that was longer ends in "…".
func Clip(text string) string { return cut(text, maxKept) }

func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + " …"
}

// Clipped is an answer that a state has room for, however long its texts are, and without
// what cannot be, such as less than no items.
func Clipped(a protocol.Answer) *protocol.Answer {
	a.Note, a.Digest, a.Items, a.PutAside = Clip(a.Note), Clip(a.Digest), max(a.Items, 0), max(a.PutAside, 0)
	a.Checks = slices.Clone(a.Checks[:min(len(a.Checks), maxChecks)])
	for i := range a.Checks {
		a.Checks[i].Name, a.Checks[i].Error = cut(a.Checks[i].Name, maxCheckText), cut(a.Checks[i].Error, maxCheckText)
	}
	if a.Error != nil {
		e := *a.Error
		e.Code, e.Message = Clip(e.Code), Clip(e.Message)
		a.Error = &e
	}
	return &a
}

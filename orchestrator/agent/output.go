package agent

import (
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/golive-dev/golive/relay/protocol"
)

// tail keeps the end of what programs write, as text.
type tail struct {
	mu    sync.Mutex
	kept  []byte
	lines int
	cut   bool
}

// add adds a line; what is no UTF-8 in it is replaced.
func (t *tail) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lines++; t.lines > 1 {
		t.kept = append(t.kept, '\n')
	}
	t.kept = append(t.kept, strings.ToValidUTF8(line, "\uFFFD")...)
	more := len(t.kept) - protocol.MaxHostOutput
	if more <= 0 {
		return
	}
	for t.cut = true; more < len(t.kept) && !utf8.RuneStart(t.kept[more]); {
		more++
	}
	t.kept = append(t.kept[:0], t.kept[more:]...)
}

// text is what is kept, and whether there was more.
func (t *tail) text() (string, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.kept), t.cut
}

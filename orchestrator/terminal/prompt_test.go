package terminal

import (
	"context"
	"io"
	"testing"
)

// hasty types an answer as soon as it sees a question.
type hasty struct{ types *io.PipeWriter }

func (h hasty) Write(question []byte) (int, error) {
	_, err := io.WriteString(h.types, "y\n")
	return len(question), err
}

// An answer that comes as soon as the question is seen is not lost, also where somebody has given
// up waiting for one before.
func TestAnAnswerAtOnceIsNotLost(t *testing.T) {
	for range 200 {
		read, write := io.Pipe()
		keys := NewKeyboard(read)
		given, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := (&Prompter{keys: keys, w: io.Discard}).Ask(given, "before? "); err == nil {
			t.Fatal("there was an answer")
		}
		if got, err := (&Prompter{keys: keys, w: hasty{write}}).Ask(t.Context(), "now? "); got != "y" || err != nil {
			t.Fatalf("answer %q, error %v", got, err)
		}
		_ = write.Close()
	}
}

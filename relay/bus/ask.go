package bus

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// Ask asks the API of JetStream for what its client has no method for, such as
// "STREAM.SNAPSHOT.TODOS", and reads the answer into answer unless that is nil. It ends after
// five seconds, or with ctx. A question that is nil is an empty one. A refusal is a [*jetstream.APIError]; [ErrFull] says that there is
// no room.
func (j JetStream) Ask(ctx context.Context, what string, question, answer any) error {
	var data []byte
	if question != nil {
		var err error
		if data, err = json.Marshal(question); err != nil {
			return fmt.Errorf("ask JetStream %s: %w", what, err)
		}
	}
	prefix := j.prefix
	if prefix == "" {
		prefix = jetstream.DefaultAPIPrefix
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	m, err := j.js.Conn().RequestWithContext(ctx, prefix+what, data)
	if err != nil {
		return fmt.Errorf("ask JetStream %s: %w", what, err)
	}
	if err := Refusal(m.Data); err != nil {
		return err
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(m.Data, answer); err != nil {
		return fmt.Errorf("answer to %s: %w", what, err)
	}
	return nil
}

// Refusal is the error in an answer of JetStream's API; nil: it has none. [ErrFull] says that
// there is no room.
func Refusal(answer []byte) error {
	var refused struct {
		Error *jetstream.APIError `json:"error"`
	}
	if len(answer) == 0 || json.Unmarshal(answer, &refused) != nil || refused.Error == nil {
		return nil
	}
	return stored(refused.Error)
}

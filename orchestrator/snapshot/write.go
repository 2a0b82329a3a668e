package snapshot

import (
	"encoding/json"
	"io"

	"github.com/klauspost/compress/s2"
)

// Write writes an archive of messages, in the order of their sequences, as a take would have
// written it of a stream that holds them and ends with the last one. What it is put back from by
// [Put] keeps the sequences. It blocks as w does.
func Write(w io.Writer, messages []Message) error {
	zip := s2.NewWriter(w, s2.WriterConcurrency(1))
	archive := writer{w: zip}
	state := State{Messages: uint64(len(messages)), First: 1}
	for i, m := range messages {
		if i == 0 {
			state.First = m.Sequence
		}
		state.Last = m.Sequence
		state.Bytes += uint64(len(m.Subject) + len(m.Header) + len(m.Body))
	}
	body, err := json.Marshal(state)
	if err != nil {
		return err
	}
	for _, m := range append([]Message{{Subject: stateEntry, Body: body}}, messages...) {
		if err := archive.write(m); err != nil {
			return err
		}
	}
	if err := archive.write(Message{}); err != nil {
		return err
	}
	return zip.Close()
}

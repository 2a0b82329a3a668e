package snapshot

import "io"

// Messages reads an archive to its end as [Read] does, and calls f with each message, in the order
// of their sequences. What f is given is valid until it returns; an error of it ends the reading,
// and is given back.
func Messages(r io.Reader, f func(Message) error) (Content, error) {
	return readAll(r, each{message: f}, nil)
}

// HeaderOf is a header of a message; empty: it has none of that name.
func HeaderOf(m Message, name string) string { return header(m, name) }

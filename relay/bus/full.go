package bus

import (
	"errors"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// ErrFull says that JetStream stores nothing more, because there is no room for it. What is
// stored already can be read.
var ErrFull = errors.New("JetStream is full")

// fullError is the error of a server that has no room.
type fullError struct {
	why string
	err error
}

// Error says what is full and what to do, as far as the server tells.
func (e *fullError) Error() string {
	next := "raise max_file_store of the bus, or what its account may store"
	if strings.Contains(e.why, "no space left") {
		next = "make room on the disk of the bus"
	}
	return ErrFull.Error() + " (" + e.why + "): " + next
}

// Unwrap gives [ErrFull], and the error of NATS.
func (e *fullError) Unwrap() []error { return []error{ErrFull, e.err} }

// Codes of the server's errors that say that there is no room.
const (
	codeAccountFull   = 10002 // what the account may store
	codeFull          = 10023 // max_file_store, or max_memory_store
	codeMemoryFull    = 10028
	codeStorageFull   = 10047
	codeNotStored     = 10077 // says why in its text
	textStreamFull    = "maximum bytes exceeded"
	textDiskFull      = "no space left"
	textCriticalWrite = "critical write error" // the disk was full: a server takes nothing more then
)

// stored is the error of something that was to be stored, by the name of its cause.
func stored(err error) error {
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return err
	}
	switch text := strings.ToLower(api.Description); {
	case api.ErrorCode == codeAccountFull, api.ErrorCode == codeFull, api.ErrorCode == codeMemoryFull, api.ErrorCode == codeStorageFull,
		api.ErrorCode == codeNotStored && (strings.Contains(text, textStreamFull) || strings.Contains(text, textDiskFull) || strings.Contains(text, textCriticalWrite)):
		return &fullError{api.Description, err}
	}
	return err
}

package snapshot

import (
	"context"
	"errors"
	"io"
)

// ErrNotFound says that there is no such snapshot, or none of its parts.
var ErrNotFound = errors.New("there is no such snapshot")

// Store is where snapshots lie: [Objects], or a [Folder]. Names are made of letters, digits, and
// of -, _, . and / between them.
type Store interface {
	// Write stores what write writes under a name, whole or not at all. Another thing of that
	// name is replaced.
	Write(ctx context.Context, name string, write func(io.Writer) error) error
	// Open gives what is stored under a name; [ErrNotFound] says that nothing is.
	Open(ctx context.Context, name string) (io.ReadCloser, error)
	// Names lists what is stored.
	Names(ctx context.Context) ([]string, error)
	// Remove forgets what is stored under a name, if anything is.
	Remove(ctx context.Context, name string) error
	// Sweep removes what is left of writes that have died. Nobody may be writing.
	Sweep(ctx context.Context) error
	// String says for people where it is.
	String() string
}

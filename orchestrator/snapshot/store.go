package snapshot

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"time"

	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
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
	// OpenAt is Open from an offset on that is not behind its end.
	OpenAt(ctx context.Context, name string, offset int64) (io.ReadCloser, error)
	// Names lists what is stored.
	Names(ctx context.Context) ([]string, error)
	// Remove forgets what is stored under a name, if anything is.
	Remove(ctx context.Context, name string) error
	// Sweep removes what is left of writes that have died. Nobody may be writing.
	Sweep(ctx context.Context) error
	// String says for people where it is.
	String() string
}

// Config says where snapshots lie, and how many are kept.
type Config struct {
	Folder string // absolute, in which each environment has one named after its id; empty: in the object store of the environment
	Keep   int    // of each app; 0: all

	At func(Point) // is called at each point of a take; it may end the process, to show that nothing is lost; nil: nothing
}

// Look opens the snapshots of an environment and makes nothing; [bus.ErrNone] says that there is
// no store yet.
func (c Config) Look(ctx context.Context, js bus.JetStream, environment string) (*Snapshots, error) {
	if c.Folder != "" {
		return c.in(js, Folder(filepath.Join(c.Folder, environment))), nil
	}
	stream, err := bus.LookObjects(ctx, js, protocol.SnapshotsStore, environment, objectsFormat)
	if err != nil {
		return nil, err
	}
	return c.in(js, &Objects{js, stream}), nil
}

// Make is [Config.Look] for one who is about to take one: it makes what is missing.
func (c Config) Make(ctx context.Context, js bus.JetStream, environment string, replicas int) (*Snapshots, error) {
	if c.Folder != "" {
		return c.in(js, Folder(filepath.Join(c.Folder, environment))), nil
	}
	objects, err := MakeObjects(ctx, js.Conn(), environment, replicas)
	if err != nil {
		return nil, err
	}
	return c.in(js, objects), nil
}

func (c Config) in(js bus.JetStream, store Store) *Snapshots {
	return &Snapshots{JetStream: js, Store: store, Keep: c.Keep, Now: time.Now, At: c.At}
}

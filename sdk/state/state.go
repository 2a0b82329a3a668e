// Package state is for authors of services that keep state outside of NATS: it takes that
// state into a folder, puts it back from there, and checks such a folder.
//
// What knows the state is a [Provider]. [Files], [SQLite] and [PostgreSQL] are ready; for
// anything else an author writes three methods. [Main] makes a program of it, which golive
// calls as a command:
//
//	func main() {
//		os.Exit(state.Main(state.SQLite{Path: os.Getenv("LEDGER_DB")}))
//	}
//
// The README has the contract of such a command, for authors in any language.
//
// A folder counts only when it is sealed: [Sealed] writes the size and the SHA-256 of each
// file into [SealFile] when the provider has ended well, and not before. What is missing,
// added, cut short or altered afterwards is found by Check, and is never put. A take that
// fails or is killed leaves no seal.
//
// A provider holds no connection and no lock between two calls, and each call may be
// repeated, also after one that was killed. So the same three methods serve a service that
// holds its files itself and is asked over the bus, instead of a command: it is
// Take, Put and Check of a Sealed, called with a folder of the service's own, that it hands
// out there. Nothing in this package waits for anything outside but the state itself.
package state

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// Provider takes, puts and checks one kind of state. Its methods are given a folder that is
// theirs until they return, block until they are done, and return soon after ctx has ended.
// One call at a time is made for a state; [Sealed] and [Main] call them.
type Provider interface {
	// Take fills the empty folder dir with the state as it is at one moment: with regular
	// files, in folders where it likes, whose names are UTF-8. It must not change the state.
	// After an error what it has written is removed.
	Take(ctx context.Context, dir string) error

	// Put makes the state what a Take has written to dir: all of it or, with an error, none.
	// Put once more, it changes nothing. It must not change dir.
	Put(ctx context.Context, dir string) error

	// Check reads what a Take has written to dir, and returns an error if a Put of it would
	// fail. It looks at dir alone, which it must not change.
	Check(ctx context.Context, dir string) error
}

// Dropper is a [Provider] that keeps something outside of the folder, such as a snapshot of
// a volume or the database of a rehearsal.
type Dropper interface {
	// Drop removes what belongs to the snapshot in dir and is not there. The folder may be
	// empty or gone; what is gone already is no error.
	Drop(ctx context.Context, dir string) error
}

// Sealed is a provider whose folders have a seal. Its methods have the shape of a
// [Provider]'s, and add what is the same for all.
type Sealed struct {
	Of       Provider // required
	Snapshot string   // the snapshot's id, which is kept in the seal; empty: it is not compared
}

// Take has the provider fill dir, which must be there and empty, and seals it. After an
// error dir is empty again; what was in it before is never touched.
func (s Sealed) Take(ctx context.Context, dir string) (err error) {
	if err := mustBeEmpty(dir); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, clear(dir))
		}
	}()
	if err := s.Of.Take(ctx, dir); err != nil {
		return err
	}
	files, err := measure(ctx, dir)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("the provider ended well but wrote nothing to %s: let it fail when there is no state to take", dir)
	}
	return writeSeal(dir, seal{Format: sealFormat, Snapshot: s.Snapshot, Files: files})
}

// Check compares dir with its seal and has the provider look at it. The error is an
// [ErrUnfinished] or [ErrAltered] where the seal shows that.
func (s Sealed) Check(ctx context.Context, dir string) error {
	if err := s.verify(ctx, dir); err != nil {
		return err
	}
	return s.Of.Check(ctx, dir)
}

// Put compares dir with its seal and has the provider put it. The errors are those of Check;
// the provider is not called with a folder that its seal does not fit.
func (s Sealed) Put(ctx context.Context, dir string) error {
	if err := s.verify(ctx, dir); err != nil {
		return err
	}
	return s.Of.Put(ctx, dir)
}

// Drop has a provider that is a [Dropper] remove what it keeps outside of dir. The folder
// itself is left to whoever has made it.
func (s Sealed) Drop(ctx context.Context, dir string) error {
	if d, ok := s.Of.(Dropper); ok {
		return d.Drop(ctx, dir)
	}
	return nil
}

func (s Sealed) verify(ctx context.Context, dir string) error {
	want, err := readSeal(dir)
	if err != nil {
		return err
	}
	if s.Snapshot != "" && want.Snapshot != "" && s.Snapshot != want.Snapshot {
		return fmt.Errorf("folder %s holds snapshot %s, not %s: give the folder of the right one", dir, want.Snapshot, s.Snapshot)
	}
	files, err := measure(ctx, dir)
	if err != nil {
		return err
	}
	if err := want.compare(files); err != nil {
		return fmt.Errorf("folder %s: %w", dir, err)
	}
	return nil
}

// mustBeEmpty returns an error if there is no folder dir, or anything in it.
func mustBeEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("the folder to fill: %w", err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("folder %s is not empty, it holds %q: give an empty one", dir, entries[0].Name())
	}
	return nil
}

// clear empties a folder.
func clear(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		err = errors.Join(err, removeTree(dir+string(os.PathSeparator)+e.Name()))
	}
	return err
}

package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"github.com/golive-dev/golive/orchestrator/process"
	"github.com/golive-dev/golive/orchestrator/snapshot"
)

// prefix is how the names of all sandboxes begin.
const prefix = "golive-rehearsal-"

// Sandbox is the folder that a rehearsal has for itself. Only its owner may read it. A lock says
// that it is in use for as long as this process lives.
type Sandbox struct {
	Dir  string
	lock *flock.Flock
}

// Folders of a sandbox.
const (
	dataFolder     = "data"     // of golive and the services
	archivesFolder = "archives" // of the snapshot
	homeFolder     = "home"
	tempFolder     = "tmp"
	treeFolder     = "tree" // of a commit
)

// Make makes a sandbox in the folder parent.
func Make(parent string) (*Sandbox, error) {
	dir, err := os.MkdirTemp(parent, making)
	if err != nil {
		return nil, fmt.Errorf("make the folder of the rehearsal: %w", err)
	}
	s := &Sandbox{Dir: dir, lock: flock.New(filepath.Join(dir, "lock"))}
	for _, name := range []string{dataFolder, archivesFolder, homeFolder, tempFolder, treeFolder} {
		err = errors.Join(err, os.Mkdir(filepath.Join(dir, name), 0o700))
	}
	locked := false
	if err == nil {
		locked, err = s.lock.TryLock()
	}
	if err == nil && !locked {
		err = errors.New("its lock is taken")
	}
	if err == nil { // now that it is locked, it may be found
		s.Dir = filepath.Join(parent, prefix+strings.TrimPrefix(filepath.Base(dir), making))
		err = os.Rename(dir, s.Dir)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make the folder of the rehearsal: %w", err), os.RemoveAll(dir))
	}
	return s, nil
}

// Data is the folder of what golive and the services keep.
func (s *Sandbox) Data() string { return filepath.Join(s.Dir, dataFolder) }

// Archives is where the archives of the snapshot lie.
func (s *Sandbox) Archives() snapshot.Folder {
	return snapshot.Folder(filepath.Join(s.Dir, archivesFolder))
}

// Tree is an empty folder for the files of a commit.
func (s *Sandbox) Tree() string { return filepath.Join(s.Dir, treeFolder) }

// Remove removes the sandbox. Nothing of it may run any more.
func (s *Sandbox) Remove() error {
	return errors.Join(remove(s.Dir), s.lock.Close())
}

// remove removes a sandbox. It goes under another name first: without its lock, as it is while it is
// being removed, it would look like one that was left.
func remove(dir string) error {
	gone := filepath.Join(filepath.Dir(dir), making+strings.TrimPrefix(filepath.Base(dir), prefix))
	now := time.Now()
	if err := errors.Join(os.Chtimes(dir, now, now), os.Rename(dir, gone)); err != nil {
		return err
	}
	return os.RemoveAll(gone)
}

// Keep lets go of the sandbox, and says by its name that it is no rubbish: it is never swept. It
// gives its folder.
func (s *Sandbox) Keep() (string, error) {
	kept := filepath.Join(filepath.Dir(s.Dir), "golive-kept-"+strings.TrimPrefix(filepath.Base(s.Dir), prefix))
	if err := errors.Join(os.RemoveAll(filepath.Join(s.Dir, archivesFolder)), os.Rename(s.Dir, kept)); err != nil {
		return s.Dir, err
	}
	return kept, s.lock.Close()
}

// Sweep removes the sandboxes in parent whose rehearsal was killed, and stops what they have left
// running. Those of rehearsals that run, and those of other users, stay. It tells which it has
// removed. What is being stopped is killed when atOnce ends.
func Sweep(atOnce context.Context, parent string) (swept []string, err error) {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		dir := filepath.Join(parent, e.Name())
		if !strings.HasPrefix(e.Name(), prefix) && !abandoned(e) || !own(dir) {
			continue
		}
		lock := flock.New(filepath.Join(dir, "lock"))
		if free, e := lock.TryLock(); e != nil || !free {
			continue // it is in use, or being made or removed
		}
		if e := stopRemains(atOnce, filepath.Join(dir, dataFolder, "processes")); e != nil {
			err = errors.Join(err, e, lock.Close())
			continue
		}
		e := errors.Join(remove(dir), lock.Close())
		if errors.Is(e, fs.ErrNotExist) {
			continue // its own rehearsal, or another sweep, has just removed it
		}
		if e != nil {
			err = errors.Join(err, e)
			continue
		}
		swept = append(swept, dir)
	}
	return swept, err
}

// making is how the folder of a sandbox is called until it is locked, and while it is removed.
const making = "golive-making-"

// madeWithin is how long a sandbox takes to be made at most.
const madeWithin = time.Minute

// abandoned reports whether an entry is a sandbox whose maker was killed before it was made.
func abandoned(e os.DirEntry) bool {
	info, err := e.Info()
	return strings.HasPrefix(e.Name(), making) && err == nil && time.Since(info.ModTime()) > madeWithin
}

// own reports whether a folder is one, and of this user alone.
func own(dir string) bool {
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() || info.Mode().Perm() != 0o700 {
		return false
	}
	stat, known := info.Sys().(*syscall.Stat_t)
	return known && int(stat.Uid) == os.Getuid()
}

func stopRemains(atOnce context.Context, records string) error {
	left, _, err := process.Remains(records)
	if err != nil {
		return err
	}
	for _, p := range left {
		err = errors.Join(err, p.Stop(atOnce))
	}
	return err
}

// Room is how many bytes are free for this user where a folder is.
func Room(dir string) (uint64, error) {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(dir, &stat); err != nil {
		return 0, fmt.Errorf("find out how much room is in %s: %w", dir, err)
	}
	return uint64(stat.Bavail) * uint64(stat.Bsize), nil //nolint:unconvert // their types differ by system
}

// slack is what a sandbox needs beside the data.
const slack = 64 << 20

// Needs is how many bytes a rehearsal on a snapshot needs about: its archives, those of the one that
// the rollout itself takes, its messages with what a bus keeps beside each, and as much again for
// what a release writes.
func Needs(s snapshot.Snapshot) uint64 {
	total := 2*uint64(s.Size) + slack
	for _, service := range s.Services {
		for _, p := range service.Parts {
			total += 2 * (p.Bytes + 64*p.Messages)
		}
	}
	return total
}

package transfer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// scratchPrefix is how the names of all scratch folders begin.
const scratchPrefix = "golive-state-"

// Scratch makes an empty folder for one transfer, which only its owner may read, in the folder
// parent; empty: that of the system for what is temporary. Release removes it. What others have left
// there that have died is removed before. It is in use for as long as this process lives.
func Scratch(parent string) (dir string, release func() error, err error) {
	if parent == "" {
		parent = os.TempDir()
	}
	if err := sweep(parent); err != nil {
		return "", nil, fmt.Errorf("remove what a transfer has left that has died: %w", err)
	}
	top, err := os.MkdirTemp(parent, scratchPrefix)
	if err != nil {
		return "", nil, fmt.Errorf("make a folder for the state: %w", err)
	}
	lock, free, err := lockFolder(top)
	if err == nil && !free {
		err = errors.New("it is in use")
	}
	dir = filepath.Join(top, "files")
	if err == nil {
		err = os.Mkdir(dir, 0o700)
	}
	if err != nil {
		return "", nil, errors.Join(fmt.Errorf("make a folder for the state: %w", err), os.RemoveAll(top))
	}
	return dir, func() error { return errors.Join(os.RemoveAll(top), lock.Close()) }, nil
}

// lockFolder locks a folder for as long as what it gives is open; false: somebody else has.
func lockFolder(dir string) (*os.File, bool, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, false, err
	}
	if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
		return f, true, nil
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = nil
	}
	return nil, false, errors.Join(err, f.Close())
}

// sweep removes the folders in parent that nobody uses. Those of other users stay.
func sweep(parent string) error {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return err
	}
	for _, e := range entries {
		dir := filepath.Join(parent, e.Name())
		if !e.IsDir() || !strings.HasPrefix(e.Name(), scratchPrefix) || !own(dir) {
			continue
		}
		lock, free, e := lockFolder(dir)
		if e != nil || !free {
			continue // it is in use, or being removed
		}
		err = errors.Join(err, os.RemoveAll(dir), lock.Close())
	}
	return err
}

// own reports whether a folder is of this user alone.
func own(dir string) bool {
	info, err := os.Lstat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		return false
	}
	stat, known := info.Sys().(*syscall.Stat_t)
	return known && int(stat.Uid) == os.Getuid()
}

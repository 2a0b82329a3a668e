package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// removeTree removes a file, or a folder with all that is in it, also below folders that
// may not be written to. What is not there is no error.
func removeTree(path string) error {
	err := os.RemoveAll(path)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	_ = filepath.WalkDir(path, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil // what still cannot be removed is told below
	})
	return os.RemoveAll(path)
}

// lock has puts into one folder follow each other: it fails while another process holds it.
// The lock ends with release, and with the process.
func lock(folder string) (release func(), err error) {
	f, err := os.Open(folder)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("another put into %s is under way: wait for its end", folder)
		}
		return nil, fmt.Errorf("lock folder %s: %w", folder, err)
	}
	return func() { f.Close() }, nil
}

// syncFolder makes durable what was renamed in a folder.
func syncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// resolve gives the absolute path of a file or folder, with links followed. It need not be
// there, but a link to it must lead somewhere.
func resolve(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		if real, err = path, nil; exists(path) {
			err = fmt.Errorf("%s is a link to what is not there: mend it, or remove it", path)
		}
	}
	if err != nil {
		return "", err
	}
	return filepath.Abs(real)
}

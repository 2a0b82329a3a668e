package state

import (
	"errors"

	"golang.org/x/sys/unix"
)

// exchange has two folders change places in one step. The error is an
// [errors.ErrUnsupported] where the file system cannot do that.
func exchange(a, b string) error {
	err := unix.RenamexNp(a, b, unix.RENAME_SWAP)
	if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EINVAL) {
		return errors.ErrUnsupported
	}
	return err
}

// syncTree makes durable all that was written below a folder.
func syncTree(string) error { return unix.Sync() }

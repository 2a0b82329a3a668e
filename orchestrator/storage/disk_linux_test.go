package storage_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/golive-dev/golive/relay/embedded"
	"github.com/golive-dev/golive/relay/relaytest"
)

func TestAFullDiskIsNamed(t *testing.T) {
	t.Parallel()
	relaytest.Long(t)
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=32m"); err != nil {
		t.Skipf("a small disk can be had by root alone: %v", err)
	}
	t.Cleanup(func() { must(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	b := newBench(t, embedded.Config{Data: dir})
	b.leased()
	filler, err := os.Create(filepath.Join(dir, "filler"))
	must(t, err)
	for size := 1 << 16; size > 0; {
		if _, err := filler.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else {
			must(t, err)
		}
	}
	b.troubled("no space left on device: free space on the disk of the server")
	must(t, filler.Truncate(0))
	must(t, filler.Close())
	b.recovered()
	b.leased()
}

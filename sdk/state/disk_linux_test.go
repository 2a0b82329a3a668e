package state

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// smallDisk is a folder on a disk of a megabyte, which root alone can have.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("a small disk can be had by root alone: %v", err)
	}
	t.Cleanup(func() { must(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	return dir
}

func TestAFullDisk(t *testing.T) {
	small, big, dir := smallDisk(t), t.TempDir(), t.TempDir()
	write(t, big+"/big", strings.Repeat("x", 2<<20))
	s := Sealed{Of: Files{Dir: big}}
	must(t, os.Mkdir(small+"/snapshot", 0o700))
	fails(t, s.Take(t.Context(), small+"/snapshot"), "no space left on device")
	isEmpty(t, small+"/snapshot")
	must(t, os.Remove(small+"/snapshot"))
	must(t, s.Take(t.Context(), dir))
	write(t, small+"/state/a", "as before")
	fails(t, Sealed{Of: Files{Dir: small + "/state"}}.Put(t.Context(), dir), "no space left on device", "is as it was")
	unchanged(t, small)
	fails(t, Sealed{Of: Files{Dir: small}}.Put(t.Context(), dir), "is a mount point")
}

func TestADatabaseAndAFullDisk(t *testing.T) {
	small := smallDisk(t)
	big, dir := filepath.Join(t.TempDir(), "db"), t.TempDir()
	numbers(t, big, 50_000, "")
	must(t, os.Mkdir(small+"/snapshot", 0o700))
	fails(t, Sealed{Of: SQLite{Path: big}}.Take(t.Context(), small+"/snapshot"), "full")
	isEmpty(t, small+"/snapshot")
	must(t, os.Remove(small+"/snapshot"))
	must(t, Sealed{Of: SQLite{Path: big}}.Take(t.Context(), dir))
	path := small + "/db"
	numbers(t, path, 10, "")
	fails(t, Sealed{Of: SQLite{Path: path}}.Put(t.Context(), dir), "no space left on device", "is as it was")
	if n := number(t, openDB(t, path, ""), "SELECT count(*) FROM numbers"); n != 10 {
		t.Errorf("there are %d rows", n)
	}
	entries, err := os.ReadDir(small)
	must(t, err)
	if len(entries) != 1 {
		t.Errorf("something is left: %v", entries)
	}
}

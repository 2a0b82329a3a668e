package state

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// tree tells all that is in a folder: names, kinds, modes, times, targets and what files hold.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		fmt.Fprintf(&b, "%q %v", name, info.Mode())
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			target, _ := os.Readlink(path)
			fmt.Fprintf(&b, " to %s\n", target)
			return nil
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %q", data)
		}
		fmt.Fprintf(&b, " %s\n", info.ModTime().UTC().Format(time.RFC3339Nano))
		return nil
	}))
	return b.String()
}

// library is a folder with one of everything that is kept.
func library(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "library")
	write(t, dir+"/plain", "text")
	write(t, dir+"/empty", "")
	write(t, dir+"/deep/er/"+strings.Repeat("long", 50), strings.Repeat("0123456789", 100_000))
	write(t, dir+"/\xff latin\n", "a name that is not UTF-8")
	write(t, dir+"/script", "#!/bin/sh")
	write(t, dir+"/readonly/file", "text")
	must(t, os.Chmod(dir+"/script", 0o755|fs.ModeSetuid))
	must(t, os.Mkdir(dir+"/nothing", 0o700))
	must(t, os.Symlink("plain", dir+"/link"))
	must(t, os.Symlink("../../plain", dir+"/deep/er/up"))
	must(t, os.Symlink("not/there", dir+"/dangling"))
	must(t, os.Symlink("circle", dir+"/circle"))
	must(t, os.Symlink("deep", dir+"/folder"))
	must(t, os.Chtimes(dir+"/plain", time.Unix(1, 0), time.Unix(1, 23456789)))
	must(t, os.Chmod(dir+"/readonly/file", 0o400))
	must(t, os.Chmod(dir+"/readonly", 0o500))
	t.Cleanup(func() { _ = removeTree(dir) })
	return dir
}

func TestFilesComeBackAsTheyWere(t *testing.T) {
	from, dir := library(t), t.TempDir()
	s := Sealed{Of: Files{Dir: from}}
	before := tree(t, from)
	must(t, s.Take(t.Context(), dir))
	must(t, s.Check(t.Context(), dir))
	if tree(t, from) != before {
		t.Error("to take the folder has changed it")
	}
	taken := tree(t, dir)
	must(t, os.Remove(from+"/plain"))
	write(t, from+"/deep/new", "new")
	write(t, from+"/script", "something else")
	for _, what := range []string{"put back", "put back twice"} {
		must(t, s.Put(t.Context(), dir))
		if got := tree(t, from); got != before {
			t.Errorf("%s it is\n%s\nwant\n%s", what, got, before)
		}
	}
	must(t, removeTree(from))
	must(t, s.Put(t.Context(), dir))
	if got := tree(t, from); got != before {
		t.Errorf("put where it was gone it is\n%s\nwant\n%s", got, before)
	}
	if tree(t, dir) != taken {
		t.Error("to put it has changed what was taken")
	}
	entries, err := os.ReadDir(filepath.Dir(from))
	must(t, err)
	if len(entries) != 1 {
		t.Errorf("something is left: %v", entries)
	}
}

func TestFilesByALink(t *testing.T) {
	from, dir := library(t), t.TempDir()
	current := filepath.Join(t.TempDir(), "current")
	must(t, os.Symlink(from, current))
	s := Sealed{Of: Files{Dir: current}}
	must(t, s.Take(t.Context(), dir))
	write(t, from+"/plain", "other")
	must(t, s.Put(t.Context(), dir))
	if data, err := os.ReadFile(from + "/plain"); err != nil || string(data) != "text" {
		t.Errorf("it holds %q, %v", data, err)
	}
	if to, err := os.Readlink(current); err != nil || to != from {
		t.Errorf("the link leads to %s, %v", to, err)
	}
}

func TestFilesThatCannotBeTaken(t *testing.T) {
	for _, c := range []struct {
		what, says string
		do         func(dir string) error
	}{
		{"an absolute link", "link out of the folder, to /etc/passwd", func(d string) error { return os.Symlink("/etc/passwd", d+"/x") }},
		{"a link upwards", "link out of the folder, to ../x", func(d string) error { return os.Symlink("../x", d+"/x") }},
		{"a link upwards by way of a folder", "link out of the folder", func(d string) error { return os.Symlink("sub/../../x", d+"/x") }},
		{"a link upwards by way of a link", "link out of the folder", func(d string) error {
			return fsErr(os.Mkdir(d+"/sub", 0o700), os.Symlink(".", d+"/sub/self"), os.Symlink("sub/self/../../y", d+"/x"))
		}},
		{"a pipe", "it is a pipe, which cannot be kept", func(d string) error { return syscall.Mkfifo(d+"/x", 0o600) }},
		{"no folder", "no such file", os.RemoveAll},
		{"a file", "not a directory", func(d string) error { return fsErr(os.RemoveAll(d), os.WriteFile(d, nil, 0o600)) }},
	} {
		t.Run(c.what, func(t *testing.T) {
			from, dir := filepath.Join(t.TempDir(), "state"), t.TempDir()
			write(t, from+"/a", "one")
			must(t, c.do(from))
			fails(t, Sealed{Of: Files{Dir: from}}.Take(t.Context(), dir), c.says)
			isEmpty(t, dir)
		})
	}
	from := t.TempDir()
	must(t, os.Mkdir(from+"/snapshot", 0o700))
	fails(t, Sealed{Of: Files{Dir: from}}.Take(t.Context(), from+"/snapshot"), "give one elsewhere")
	fails(t, Sealed{Of: Files{}}.Take(t.Context(), t.TempDir()), "Dir is empty")
}

func fsErr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func TestASocketIsLeftOut(t *testing.T) {
	from, dir := t.TempDir(), t.TempDir()
	t.Chdir(from) // the name of a socket has to be short
	l, err := net.Listen("unix", "s")
	must(t, err)
	defer l.Close()
	s := Sealed{Of: Files{Dir: from}}
	must(t, s.Take(t.Context(), dir))
	must(t, s.Check(t.Context(), dir))
}

func TestFilesThatChangeMeanwhile(t *testing.T) {
	for what, c := range map[string]struct {
		says string
		do   func(dir string) error
	}{
		"a file grows":      {"has changed while it was copied", func(d string) error { return appendTo(d + "/big") }},
		"another one grows": {"has changed while it was copied", func(d string) error { return appendTo(d + "/a") }},
		"one comes":         {"has changed while it was copied", func(d string) error { return os.WriteFile(d+"/new", nil, 0o600) }},
		"one goes":          {"no such file", func(d string) error { return os.Remove(d + "/z") }},
	} {
		t.Run(what, func(t *testing.T) {
			from := t.TempDir()
			write(t, from+"/a", "one")
			write(t, from+"/big", strings.Repeat("x", 8<<20))
			write(t, from+"/z", "one")
			fails(t, archive(t.Context(), from, &once{do: func() error { return c.do(from) }}), c.says)
		})
	}
}

func appendTo(path string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString("more")
	return fsErr(err, f.Close())
}

// once is written to, and does something at the first time.
type once struct{ do func() error }

func (o *once) Write(p []byte) (int, error) {
	if do := o.do; do != nil {
		o.do = nil
		return len(p), do()
	}
	return len(p), nil
}

// TestAnArchiveCannotLeaveItsFolder puts what nobody has taken.
func TestAnArchiveCannotLeaveItsFolder(t *testing.T) {
	file := func(name string) *tar.Header {
		return &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: 1}
	}
	folder := func(name string) *tar.Header { return &tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755} }
	link := func(name, to string) *tar.Header {
		return &tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to, Mode: 0o777}
	}
	self := folder("./")
	for _, c := range []struct {
		what, says string
		entries    []*tar.Header
	}{
		{"upwards", "leads out of the folder", []*tar.Header{self, file("../x")}},
		{"absolute", "leads out of the folder", []*tar.Header{self, file("/tmp/x")}},
		{"roundabout", "roundabout", []*tar.Header{self, folder("a"), file("a/../b")}},
		{"nothing", "unexpected EOF", nil},
		{"no folder", "has to be the folder itself", []*tar.Header{file("x")}},
		{"twice", "comes twice", []*tar.Header{self, file("x"), file("x")}},
		{"twice, as a folder", "comes twice", []*tar.Header{self, file("x"), folder("x/")}},
		{"through a link", "lies in no folder", []*tar.Header{self, folder("d"), link("l", "d"), file("l/x")}},
		{"through a file", "lies in no folder", []*tar.Header{self, file("f"), file("f/x")}},
		{"no parent", "lies in no folder", []*tar.Header{self, file("d/x")}},
		{"absolute link", "link out of the folder", []*tar.Header{self, link("l", "/etc/passwd")}},
		{"link upwards", "link out of the folder", []*tar.Header{self, link("l", "../x")}},
		{"a device", "no file, folder or link", []*tar.Header{self, {Name: "d", Typeflag: tar.TypeBlock, Devmajor: 8}}},
		{"a hard link", "no file, folder or link", []*tar.Header{self, {Name: "d", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}}},
	} {
		t.Run(c.what, func(t *testing.T) {
			above := t.TempDir()
			to, dir := filepath.Join(above, "state"), t.TempDir()
			write(t, to+"/a", "as before")
			f, err := os.Create(filepath.Join(dir, archiveName))
			must(t, err)
			w := tar.NewWriter(f)
			for _, h := range c.entries {
				must(t, w.WriteHeader(h))
				_, err := io.WriteString(w, strings.Repeat("x", int(h.Size)))
				must(t, err)
			}
			must(t, w.Close())
			must(t, f.Close())
			p := Files{Dir: to}
			fails(t, p.Check(t.Context(), dir), c.says)
			fails(t, p.Put(t.Context(), dir), c.says, "is as it was")
			unchanged(t, above)
		})
	}
	t.Run("a link by way of a link", func(t *testing.T) { // which only Put can see
		above := t.TempDir()
		to := filepath.Join(above, "state")
		write(t, to+"/a", "as before")
		dir := t.TempDir()
		f, err := os.Create(filepath.Join(dir, archiveName))
		must(t, err)
		w := tar.NewWriter(f)
		for _, h := range []*tar.Header{self, folder("sub"), link("sub/self", "."), link("x", "sub/self/../../y")} {
			must(t, w.WriteHeader(h))
		}
		must(t, w.Close())
		fails(t, Files{Dir: to}.Put(t.Context(), dir), "link out of the folder")
		unchanged(t, above)
	})
}

// unchanged checks that there is the state of before, and nothing beside it.
func unchanged(t *testing.T, above string) {
	t.Helper()
	entries, err := os.ReadDir(above)
	must(t, err)
	data, err := os.ReadFile(filepath.Join(above, "state", "a"))
	if err != nil || string(data) != "as before" || len(entries) != 1 {
		t.Errorf("the state is %q, %v, beside it is %v", data, err, entries)
	}
}

func TestAPutThatWasKilledIsDoneAgain(t *testing.T) {
	for what, kill := range map[string]func(to, fresh, old string) error{
		"while it unpacked":      func(_, fresh, _ string) error { return os.MkdirAll(fresh+"/sub", 0o500) },
		"before it cleaned up":   func(_, fresh, _ string) error { return os.MkdirAll(fresh+"/sub", 0o755) },
		"between two renames":    func(to, fresh, old string) error { return fsErr(os.Mkdir(fresh, 0o700), os.Rename(to, old)) },
		"behind the two of them": func(_, _, old string) error { return os.MkdirAll(old+"/sub", 0o500) },
	} {
		t.Run(what, func(t *testing.T) {
			above, dir := t.TempDir(), t.TempDir()
			to := filepath.Join(above, "state")
			write(t, to+"/a", "as before")
			s := Sealed{Of: Files{Dir: to}}
			must(t, s.Take(t.Context(), dir))
			fresh, old := beside(to)
			must(t, kill(to, fresh, old))
			must(t, s.Put(t.Context(), dir))
			unchanged(t, above)
			must(t, s.Take(t.Context(), t.TempDir()))
		})
	}
	t.Run("and the state is taken", func(t *testing.T) {
		above := t.TempDir()
		to := filepath.Join(above, "state")
		write(t, to+"/a", "as before")
		_, old := beside(to)
		must(t, os.Rename(to, old))
		must(t, Sealed{Of: Files{Dir: to}}.Take(t.Context(), t.TempDir()))
		unchanged(t, above)
	})
}

// TestFoldersThatCannotChangePlaces has two renames do it.
func TestFoldersThatCannotChangePlaces(t *testing.T) {
	above := t.TempDir()
	to := filepath.Join(above, "state")
	fresh, old := beside(to)
	write(t, to+"/a", "one")
	write(t, fresh+"/a", "two")
	must(t, exchangeByRenames(to, fresh, old))
	if data, err := os.ReadFile(to + "/a"); err != nil || string(data) != "two" || exists(fresh) {
		t.Errorf("it holds %q, %v", data, err)
	}
	must(t, removeTree(old))
	fails(t, exchangeByRenames(to, fresh, old), "no such file")
	if data, err := os.ReadFile(to + "/a"); err != nil || string(data) != "two" {
		t.Errorf("it holds %q, %v", data, err)
	}
}

func TestOnePutAtATime(t *testing.T) {
	above, dir := t.TempDir(), t.TempDir()
	to := filepath.Join(above, "state")
	write(t, to+"/a", "as before")
	s := Sealed{Of: Files{Dir: to}}
	must(t, s.Take(t.Context(), dir))
	release, err := lock(above)
	must(t, err)
	fails(t, s.Put(t.Context(), dir), "another put", "is under way")
	release()
	must(t, s.Put(t.Context(), dir))
}

func BenchmarkFiles(b *testing.B) {
	from := b.TempDir()
	for i := range 16 {
		data := make([]byte, 4<<20)
		for j := range data {
			data[j] = byte(i * j >> 7)
		}
		if err := os.WriteFile(filepath.Join(from, fmt.Sprint(i)), data, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	s := Sealed{Of: Files{Dir: from}}
	takeAndPut(b, s, 64<<20)
}

// takeAndPut measures a provider.
func takeAndPut(b *testing.B, s Sealed, size int64) {
	folders, last := b.TempDir(), ""
	for _, do := range []struct {
		what string
		call func(ctx context.Context, dir string) error
	}{{"take", s.Take}, {"check", s.Check}, {"put", s.Put}} {
		b.Run(do.what, func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				if do.what == "take" {
					var err error
					if last, err = os.MkdirTemp(folders, ""); err != nil {
						b.Fatal(err)
					}
				}
				if err := do.call(b.Context(), last); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

package state

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test's program be a command, as an author's would be.
func TestMain(m *testing.M) {
	switch dir := os.Getenv("STATE_TEST_DIR"); os.Getenv("STATE_TEST_COMMAND") {
	case "files":
		os.Exit(Main(Files{Dir: dir}))
	case "sqlite":
		os.Exit(Main(SQLite{Path: dir}))
	case "hangs":
		os.Exit(Main(hanging{}))
	}
	m.Run()
}

// hanging has written something, says so, and goes on for ever.
type hanging struct{ Provider }

func (hanging) Take(ctx context.Context, dir string) error {
	if err := os.WriteFile(filepath.Join(dir, "part"), []byte("half of it"), 0o600); err != nil {
		return err
	}
	os.Stdout.WriteString("begun\n")
	<-ctx.Done()
	return ctx.Err()
}

func command(kind, dir, verb string, env ...string) *exec.Cmd {
	c := exec.Command(os.Args[0], verb)
	c.Env = append(append(os.Environ(), "STATE_TEST_COMMAND="+kind, "STATE_TEST_DIR="+dir), env...)
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fails checks that an error tells what it should.
func fails(t *testing.T, err error, want ...string) {
	t.Helper()
	for _, w := range want {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("got %v, want an error with %q", err, w)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(text), 0o644))
}

// isEmpty checks that a folder holds nothing.
func isEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	if len(entries) > 0 {
		t.Errorf("%s is left in %s", entries[0].Name(), dir)
	}
}

// plain is a provider of two files.
type plain struct {
	take func(ctx context.Context, dir string) error
}

func (p plain) Take(ctx context.Context, dir string) error {
	if p.take != nil {
		return p.take(ctx, dir)
	}
	return errors.Join(os.WriteFile(filepath.Join(dir, "a"), []byte("one"), 0o600), os.Mkdir(filepath.Join(dir, "in"), 0o700),
		os.WriteFile(filepath.Join(dir, "in", "b"), []byte("two"), 0o600))
}
func (plain) Put(context.Context, string) error   { return nil }
func (plain) Check(context.Context, string) error { return nil }

func TestTheSealShowsWhatHasHappenedToAFolder(t *testing.T) {
	for _, c := range []struct {
		what string
		do   func(dir string) error
		is   error
		says string
	}{
		{"nothing", func(string) error { return nil }, nil, ""},
		{"cut short", func(d string) error { return os.Truncate(d+"/a", 2) }, ErrAltered, "a has 2 bytes, it had 3"},
		{"emptied", func(d string) error { return os.Truncate(d+"/a", 0) }, ErrAltered, "a has 0 bytes, it had 3"},
		{"tampered with", func(d string) error { return os.WriteFile(d+"/in/b", []byte("tvo"), 0o600) }, ErrAltered, "in/b holds something else"},
		{"missing", func(d string) error { return os.RemoveAll(d + "/in") }, ErrAltered, "in/b is missing"},
		{"added", func(d string) error { return os.WriteFile(d+"/c", nil, 0o600) }, ErrAltered, "c was added"},
		{"a link in a file's place", func(d string) error { return errors.Join(os.Remove(d+"/a"), os.Symlink("in/b", d+"/a")) }, ErrAltered, "is a link"},
		{"a pipe", func(d string) error { return syscall.Mkfifo(d+"/p", 0o600) }, ErrAltered, "is a pipe"},
		{"unsealed", func(d string) error { return os.Remove(d + "/" + SealFile) }, ErrUnfinished, "take it again"},
		{"a broken seal", func(d string) error { return os.Truncate(d+"/"+SealFile, 20) }, ErrAltered, "unexpected end"},
		{"a seal elsewhere", func(d string) error {
			return errors.Join(os.Rename(d+"/"+SealFile, d+"/../seal"), os.Symlink("../seal", d+"/"+SealFile))
		}, ErrAltered, "is a link"},
		{"an empty seal", func(d string) error { return os.WriteFile(d+"/"+SealFile, []byte(`{"format": 1}`), 0o600) }, ErrAltered, "was added"},
		{"a newer seal", func(d string) error { return os.WriteFile(d+"/"+SealFile, []byte(`{"format": 2}`), 0o600) }, nil, "has the format 2, this program reads 1"},
		{"a huge seal", func(d string) error { return os.Truncate(d+"/"+SealFile, maxSeal+1) }, ErrAltered, "more than 67108864"},
		{"gone", os.RemoveAll, fs.ErrNotExist, "the folder to read"},
	} {
		t.Run(c.what, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "snapshot")
			must(t, os.Mkdir(dir, 0o700))
			s := Sealed{Of: plain{}, Snapshot: "one"}
			must(t, s.Take(t.Context(), dir))
			must(t, c.do(dir))
			for _, err := range []error{s.Check(t.Context(), dir), s.Put(t.Context(), dir)} {
				if c.says == "" && err == nil {
					continue
				}
				fails(t, err, c.says)
				if c.is != nil && !errors.Is(err, c.is) {
					t.Errorf("%v is no %v", err, c.is)
				}
			}
		})
	}
}

func TestManyDifferencesAreCounted(t *testing.T) {
	var sealed []sealedFile
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g"} {
		sealed = append(sealed, sealedFile{Path: name})
	}
	fails(t, seal{Files: sealed}.compare(nil), "e is missing; and 2 more")
}

func TestASnapshotIsNotTakenForAnother(t *testing.T) {
	dir := t.TempDir()
	must(t, Sealed{Of: plain{}, Snapshot: "one"}.Take(t.Context(), dir))
	fails(t, Sealed{Of: plain{}, Snapshot: "two"}.Put(t.Context(), dir), "holds snapshot one, not two")
	must(t, Sealed{Of: plain{}}.Check(t.Context(), dir))
}

func TestATakeThatFailsLeavesNothing(t *testing.T) {
	broken := errors.New("out of luck")
	for _, c := range []struct {
		what, says string
		take       func(ctx context.Context, dir string) error
	}{
		{"fails", "out of luck", func(_ context.Context, d string) error {
			return errors.Join(os.MkdirAll(d+"/x/y", 0o500), os.WriteFile(d+"/z", nil, 0o400), broken)
		}},
		{"writes nothing", "wrote nothing", func(context.Context, string) error { return nil }},
		{"writes folders alone", "wrote nothing", func(_ context.Context, d string) error { return os.MkdirAll(d+"/x/y", 0o700) }},
		{"writes a link", "is a link", func(_ context.Context, d string) error { return os.Symlink("/etc/passwd", d+"/x") }},
		{"writes a bad name", "is not UTF-8", func(_ context.Context, d string) error { return os.WriteFile(d+"/\xff", nil, 0o600) }},
		{"removes its folder", "no such file", func(_ context.Context, d string) error { return os.Remove(d) }},
	} {
		t.Run(c.what, func(t *testing.T) {
			dir := t.TempDir()
			fails(t, Sealed{Of: plain{c.take}}.Take(t.Context(), dir), c.says)
			if exists(dir) {
				isEmpty(t, dir)
			}
		})
	}
	dir := t.TempDir()
	write(t, dir+"/mine", "stays")
	fails(t, Sealed{Of: plain{}}.Take(t.Context(), dir), `is not empty, it holds "mine"`)
	if !exists(dir + "/mine") {
		t.Error("what was in the folder before is gone")
	}
	fails(t, Sealed{Of: plain{}}.Take(t.Context(), dir+"/nowhere"), "the folder to fill")
}

func TestAFolderHasALimitOfFiles(t *testing.T) {
	most := make([]sealedFile, MaxFiles)
	for i := range most {
		most[i] = sealedFile{Path: strings.Repeat("x", 200), SHA256: strings.Repeat("0", 64)}
	}
	data, err := json.MarshalIndent(seal{Format: sealFormat, Files: most}, "", "  ")
	must(t, err)
	if len(data) > maxSeal {
		t.Errorf("a seal of %d files with names of 200 bytes has %d bytes, more than are read", MaxFiles, len(data))
	}
	fails(t, tooMany("d"), "more than 100000 files")
}

func TestACallEndsWithItsContext(t *testing.T) {
	from, dir := t.TempDir(), t.TempDir()
	write(t, from+"/a", "one")
	s := Sealed{Of: Files{Dir: from}}
	must(t, s.Take(t.Context(), dir))
	ctx, stop := context.WithCancelCause(t.Context())
	stop(errors.New("enough"))
	empty := t.TempDir()
	for _, err := range []error{s.Take(ctx, empty), s.Check(ctx, dir), s.Put(ctx, dir), Files{Dir: from}.Put(ctx, dir)} {
		fails(t, err, "enough")
	}
	isEmpty(t, empty)
}

func TestACommandDoesWhatItsLastArgumentSays(t *testing.T) {
	from, dir := t.TempDir(), t.TempDir()
	write(t, from+"/a", "one")
	must(t, fsErr(os.Chtimes(from+"/a", time.Unix(1, 0), time.Unix(1, 0)), os.Chtimes(from, time.Unix(1, 0), time.Unix(1, 0))))
	with := EnvSnapshotDir + "=" + dir
	for _, c := range []struct {
		verb, env, out, err string
		code                int
	}{
		{"take", "", "", "error: GOLIVE_SNAPSHOT_DIR is not set: let it name the snapshot's folder\n", 2},
		{"restore", with, "", "error: the last argument is \"restore\": it has to be take, put, check or drop\n", 2},
		{"check", with, "", "error: check: folder " + dir + ": " + ErrUnfinished.Error() + "\n", 1},
		{"take", with, "taken: 1 file, 2.6 kB\n", "", 0},
		{"take", with, "", "error: take: folder " + dir + " is not empty, it holds \"files.tar\": give an empty one\n", 1},
		{"check", with, "all as it was taken: 1 file, 2.6 kB\n", "", 0},
		{"put", with, "put back: 1 file, 2.6 kB\n", "", 0},
		{"put", with, "put back: 1 file, 2.6 kB\n", "", 0},
		{"drop", with, "dropped\n", "", 0},
	} {
		cmd := command("files", from, c.verb, c.env, EnvSnapshot+"=one")
		var out, err bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &err
		_ = cmd.Run()
		if code := cmd.ProcessState.ExitCode(); code != c.code || out.String() != c.out || err.String() != c.err {
			t.Errorf("%s: exit code %d, said %q, complained %q; want %d, %q, %q", c.verb, code, out.String(), err.String(), c.code, c.out, c.err)
		}
	}
}

// A take that hangs ends with SIGTERM and has cleaned up; killed, it leaves no seal.
func TestATakeThatIsEndedFromOutsideNeverPasses(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		dir := t.TempDir()
		cmd := command("hangs", "", "take", EnvSnapshotDir+"="+dir)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		kill := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
		if _, err := out.Read(make([]byte, 6)); err != nil {
			t.Fatal(err)
		}
		must(t, cmd.Process.Signal(signal))
		if err := cmd.Wait(); err == nil || !kill.Stop() {
			t.Errorf("%v: it ended with %v", signal, err)
		}
		if signal == syscall.SIGTERM {
			isEmpty(t, dir)
		}
		if err := (Sealed{Of: plain{}}).Check(t.Context(), dir); !errors.Is(err, ErrUnfinished) {
			t.Errorf("%v: its check says %v", signal, err)
		}
	}
}

// dropping keeps something outside of the folder.
type dropping struct {
	plain
	dropped *bool
}

func (d dropping) Drop(context.Context, string) error { *d.dropped = true; return nil }

func TestDropReachesWhoKeepsSomethingElsewhere(t *testing.T) {
	var dropped bool
	must(t, Sealed{Of: dropping{dropped: &dropped}}.Drop(t.Context(), "/nowhere"))
	if !dropped {
		t.Error("it was not told")
	}
	must(t, Sealed{Of: plain{}}.Drop(t.Context(), "/nowhere"))
}

func TestSizesAreWrittenAsPeopleDo(t *testing.T) {
	var got []string
	for _, n := range []int64{0, 999, 1000, 999_949, 999_950, 1_234_567, 1 << 40} {
		got = append(got, bytesOf(n))
	}
	if want := []string{"0 bytes", "999 bytes", "1.0 kB", "999.9 kB", "1.0 MB", "1.2 MB", "1.1 TB"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

package source_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/golive-dev/golive/orchestrator/source"
)

// TestMain keeps the configuration of whoever runs the tests out of them.
func TestMain(m *testing.M) {
	home, err := os.MkdirTemp("", "golive-source-")
	if err != nil {
		panic(err)
	}
	_ = os.Setenv("HOME", home)
	_ = os.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	_ = os.Unsetenv("XDG_CONFIG_HOME")
	_ = os.Unsetenv("GIT_CONFIG_GLOBAL")
	code := m.Run()
	_ = os.RemoveAll(home)
	os.Exit(code)
}

// repo is a git repository for one test.
type repo struct {
	*testing.T
	folder string
}

// newRepo is a repository without a commit, in a folder whose name has a space.
func newRepo(t *testing.T) *repo {
	t.Helper()
	folder, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := &repo{t, filepath.Join(folder, "a work tree")}
	r.must(os.Mkdir(r.folder, 0o755))
	r.git("init", "--quiet", "--initial-branch=main")
	r.git("config", "user.name", "Ann")
	r.git("config", "user.email", "ann@example.com")
	return r
}

func (r *repo) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// git runs git as a person would, and gives what it says.
func (r *repo) git(args ...string) string {
	r.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = r.folder
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// write writes a file, and folders above it.
func (r *repo) write(name, content string) {
	r.Helper()
	path := filepath.Join(r.folder, name)
	r.must(os.MkdirAll(filepath.Dir(path), 0o755))
	r.must(os.WriteFile(path, []byte(content), 0o644))
}

// commit commits all that is there, and gives the commit's id.
func (r *repo) commit() string {
	r.Helper()
	r.git("add", "-A")
	r.git("commit", "--quiet", "--no-verify", "-m", "change")
	return r.git("rev-parse", "HEAD")
}

// open opens a folder of the repository.
func (r *repo) open(folder string) *source.Repository {
	r.Helper()
	opened, err := source.Open(r.Context(), filepath.Join(r.folder, folder))
	r.must(err)
	return opened
}

// export exports a folder of a commit, and gives what is in the folder then, by path.
func (r *repo) export(commit, folder string) (map[string]string, error) {
	r.Helper()
	to := r.TempDir()
	err := r.open("").Export(r.Context(), commit, folder, to)
	files := map[string]string{}
	r.must(filepath.WalkDir(to, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, _ := filepath.Rel(to, path)
		if d.Type()&os.ModeSymlink != 0 {
			target, err := os.Readlink(path)
			files[name] = "-> " + target
			return err
		}
		content, err := os.ReadFile(path)
		files[name] = string(content)
		return err
	}))
	return files, err
}

// trap is a program that leaves a trace when it is run, and the way to see whether it was.
func (r *repo) trap() (program string, sprung func() bool) {
	r.Helper()
	folder := r.TempDir()
	program, trace := filepath.Join(folder, "trap"), filepath.Join(folder, "trace")
	r.must(os.WriteFile(program, []byte("#!/bin/sh\necho \"$0 $*\" >> '"+trace+"'\nexit 1\n"), 0o755))
	return program, func() bool {
		said, err := os.ReadFile(trace)
		if err == nil {
			r.Logf("the trap was sprung: %s", bytes.TrimSpace(said))
		}
		return err == nil
	}
}

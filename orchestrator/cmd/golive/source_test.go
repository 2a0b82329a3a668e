package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/orchestrator/terminal"
)

// app is the folder of an app, apps/a shop, in a git repository of its own.
type app struct {
	*testing.T
	top, folder string
	said        bytes.Buffer
}

const committed = `app: shop
version: 1.0.0
services: {search: {version: 1.0.0}}
reports: reports
environments:
  production: {nats: "nats://production:4222", creds: production.creds, source: {clean: true}}
`

// newApp is an app that is committed. The configuration of whoever runs the tests is kept out.
func newApp(t *testing.T) *app {
	t.Helper()
	t.Setenv("HOME", t.TempDir())
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	t.Setenv("XDG_CONFIG_HOME", "")
	top, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	a := &app{T: t, top: top, folder: filepath.Join(top, "apps", "a shop")}
	a.git("init", "--quiet")
	a.git("config", "user.name", "Ann")
	a.git("config", "user.email", "ann@example.com")
	a.write("golive.yaml", committed)
	a.commit()
	return a
}

func (a *app) git(args ...string) {
	a.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = a.top
	if out, err := cmd.CombinedOutput(); err != nil {
		a.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func (a *app) commit() {
	a.Helper()
	a.git("add", "--all")
	a.git("commit", "--quiet", "--message", "change")
}

func (a *app) write(name, text string) {
	a.Helper()
	path := filepath.Join(a.folder, name)
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err = errors.Join(err, os.WriteFile(path, []byte(text), 0o644)); err != nil {
		a.Fatal(err)
	}
}

// command is one that is called in the folder of the app.
func (a *app) command(environment string) *command {
	a.said.Reset()
	return &command{Streams: terminal.Streams{Out: &bytes.Buffer{}, Err: &a.said, Dir: a.folder}, options: options{env: environment}}
}

// refused holds that the release is not taken, and how that is told.
func (a *app) refused(environment, commit string, exit int, code string, words ...string) {
	a.Helper()
	_, _, err := taking{a.command(environment)}.take(a.Context(), ".", commit)
	if err == nil {
		a.Errorf("it is taken, want %q", words)
		return
	}
	f := explain(err)
	for _, word := range words {
		if !strings.Contains(f.message+"\n"+f.hint, word) {
			a.Errorf("%q does not tell %q", f.message+"\n"+f.hint, word)
		}
	}
	if f.exit != exit || f.code != code {
		a.Errorf("%s: exit code %d, code %s", f.message, f.exit, f.code)
	}
}

func TestTheSourceOfAFolderIsTaken(t *testing.T) {
	a := newApp(t)
	a.write("reports/shop.md", "x")
	a.write(".golive/journal", "x")
	for _, environment := range []string{"", "production"} {
		m, r, err := taking{a.command(environment)}.take(t.Context(), ".", "")
		if err != nil || r.Source == nil || r.Source.Dirty || r.Source.Folder != "apps/a shop" || r.Digest != m.Digest() {
			t.Fatalf("in %q: %+v (%v)", environment, r.Source, err)
		}
	}
	a.write("new", "x")
	if _, r, err := (taking{a.command("")}).take(t.Context(), "golive.yaml", ""); err != nil || !r.Source.Dirty {
		t.Errorf("with a new file: %+v (%v)", r.Source, err)
	}
	a.refused("production", "", exitFailed, codeSource, "production takes releases only from a folder", ":\n  apps/a shop/new", "golive deploy --commit HEAD")
	for i := range namedChanges {
		a.write(fmt.Sprintf("one-%d", i), "x")
	}
	_, _, err := taking{a.command("production")}.take(t.Context(), ".", "")
	if lines := strings.Split(explain(err).message, "\n"); len(lines) != namedChanges+2 || lines[namedChanges+1] != "  and more" {
		t.Errorf("of many changes it tells %q", lines)
	}
}

func TestAFolderThatCannotBeComparedIsNotClean(t *testing.T) {
	a := newApp(t)
	a.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", a.top, "apps/a shop/module")
	a.commit()
	if _, r, err := (taking{a.command("")}).take(t.Context(), ".", ""); err != nil || r.Source == nil {
		t.Errorf("with a submodule: %v", err)
	}
	a.refused("production", "", exitFailed, codeSource, "git does not tell what has changed in the submodule apps/a shop/module")
	t.Setenv("PATH", t.TempDir())
	if _, r, err := (taking{a.command("")}).take(t.Context(), ".", ""); err != nil || r.Source != nil || !strings.Contains(a.said.String(), "! the commit is not recorded: there is no program git") {
		t.Errorf("without git: %+v, told %q (%v)", r.Source, a.said.String(), err)
	}
	a.refused("production", "", exitFailed, codeSource, "there is no program git", "install git")
	a.refused("", "HEAD", exitFailed, codeSource, "there is no program git", "install git")
}

func TestTheReleaseOfACommitIsTaken(t *testing.T) {
	a := newApp(t)
	a.write("golive.yaml", "app: shop\nnot a manifest\n")
	a.write("production.creds", "secret")
	c := a.command("production")
	m, r, err := taking{c}.take(t.Context(), ".", "HEAD")
	if err != nil || r.Source == nil || r.Source.Dirty || m.Dir != a.folder || m.App != "shop" {
		t.Fatalf("took %+v (%v)", r.Source, err)
	}
	place, err := c.addressBy(".", func() (*release.Manifest, error) { return m, nil })
	if err != nil || place.URL != "nats://production:4222" || place.Creds != filepath.Join(a.folder, "production.creds") {
		t.Errorf("the bus is %+v (%v)", place, err)
	}
	if got := (reporting{c}).reportFolder("shop"); got != filepath.Join(a.folder, "reports") {
		t.Errorf("reports go to %s", got)
	}
	a.commit()
	a.refused("", "HEAD", exitMisused, codeManifest, "golive.yaml:")
	a.refused("", "nope", exitMisused, codeMisused, `--commit: no commit: "nope" names none`)
	a.refused("", "--all", exitMisused, codeMisused, `"--all" cannot name one`)
	if err := os.Remove(filepath.Join(a.folder, "golive.yaml")); err != nil {
		t.Fatal(err)
	}
	a.commit()
	a.refused("", "HEAD", exitMisused, codeManifest, "has no manifest in the folder")
	if _, _, err := (taking{a.command("")}).take(t.Context(), ".", "HEAD~2"); err != nil {
		t.Errorf("an older commit: %v", err)
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("what is left of the copies is %v (%v)", left, err)
	}
}

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/golive-dev/golive/orchestrator/report"
	"github.com/golive-dev/golive/orchestrator/terminal"
)

func TestReportsAreWrittenWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "a", "b")
	var said bytes.Buffer
	c := &command{Streams: terminal.Streams{Out: &bytes.Buffer{}, Err: &said, Dir: filepath.Dir(folder)}}
	r := report.Report{App: "shop", Version: "1.0.0+build.5", Rollout: "0199c6d2"}
	names := func() string {
		entries, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, e := range entries {
			all = append(all, e.Name())
		}
		return strings.Join(all, " ")
	}
	const both = "shop-1.0.0+build.5-0199c6d2.json shop-1.0.0+build.5-0199c6d2.md"
	for range 2 { // the second time it replaces what is there
		files, err := reporting{c}.keepReport(r, folder)
		if err != nil || len(files) != 2 || names() != both {
			t.Fatalf("wrote %q, there are %s (%v)", files, names(), err)
		}
		r.By = "ann"
	}
	data, err := os.ReadFile(filepath.Join(folder, "shop-1.0.0+build.5-0199c6d2.md"))
	if err != nil || !strings.Contains(string(data), "`ann`") {
		t.Errorf("the page is %q (%v)", data, err)
	}
	if !strings.Contains(said.String(), "* report: b/shop-1.0.0+build.5-0199c6d2.md") {
		t.Errorf("it is told %q", said.String())
	}
	page := filepath.Join(folder, "shop-1.0.0+build.5-0199c6d2.md")
	if err := os.Remove(page); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(page, 0o755); err != nil { // which no file can replace
		t.Fatal(err)
	}
	if _, err := (reporting{c}).keepReport(r, folder); err == nil || names() != both {
		t.Errorf("where it cannot be written there are %s (%v)", names(), err)
	}
	for _, app := range []string{"../shop", "a/b", "/shop", "a\x00b"} {
		r.App = app
		if files, err := (reporting{c}).keepReport(r, folder); err == nil {
			t.Errorf("of an app %q it wrote %q", app, files)
		}
	}
}

func TestWhereReportsAreWritten(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	c := func(flag string) *command {
		return &command{Streams: terminal.Streams{Err: &bytes.Buffer{}, Dir: folder}, reports: flag}
	}
	if got := (reporting{c("")}).reportFolder("shop"); got != "" {
		t.Errorf("without a manifest: %s", got)
	}
	manifest := "app: shop\nversion: 1.0.0\nservices: {a: {version: 1.0.0}}\nreports: kept\n"
	if err := os.WriteFile(filepath.Join(folder, "golive.yaml"), []byte(manifest), 0o644); err != nil {
		t.Fatal(err)
	}
	for flag, want := range map[string]string{"": filepath.Join(folder, "kept"), "x": filepath.Join(folder, "x"), "/x": "/x"} {
		if got := (reporting{c(flag)}).reportFolder("shop"); got != want {
			t.Errorf("with --report %q: %s, want %s", flag, got, want)
		}
	}
	if got := (reporting{c("")}).reportFolder("other"); got != "" {
		t.Errorf("of another app: %s", got)
	}
}

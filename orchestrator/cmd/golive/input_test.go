package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/local"
	"github.com/golive-dev/golive/orchestrator/report"
)

// Where there can be no server, nobody waits for one.
func TestAURLThatCannotBeIsRefusedAtOnce(t *testing.T) {
	for url, want := range map[string]string{
		"127.0.0.1:99999":       "golive: error: --nats: there is no port 99999: write one from 1 to 65535\n",
		"http://127.0.0.1:4222": "golive: error: --nats: a URL that begins with http:// is not that of a NATS server",
	} {
		for _, command := range []string{"status", "serve", "agent", "history", "up"} {
			code, out, talk := here(t, t.TempDir(), command, "--nats", url)
			if code != exitMisused || !strings.HasPrefix(talk, want) || out != "" {
				t.Errorf("golive %s --nats %s: exit %d, stdout %q, stderr:\n%s", command, url, code, out, talk)
			}
		}
		_, err := local.Place{URL: url}.Connect(t.Context(), "ann", nil)
		if failure := new(report.Failure); !errors.As(err, &failure) || !strings.Contains(failure.Hint, "correct GOLIVE_NATS_URL") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func fifo(t *testing.T, path string) string {
	t.Helper()
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A manifest or a plan that is a pipe to which nobody writes keeps nobody waiting.
func TestAPipeKeepsNobodyWaiting(t *testing.T) {
	folder := t.TempDir()
	path := fifo(t, filepath.Join(folder, "golive.yaml"))
	for _, args := range [][]string{{"up", folder}, {"deploy", path}, {"plan", folder}, {"config", path}, {"agent", folder}, {"serve", folder}} {
		code, _, talk := here(t, t.TempDir(), args...)
		if want := path + " is a pipe: the manifest is a plain file"; code != exitMisused || !strings.Contains(talk, want) {
			t.Errorf("golive %q: exit %d, want %q:\n%s", args, code, want, talk)
		}
	}
	if err := errors.Join(os.Remove(path), os.WriteFile(path, []byte("app: a\nversion: 1.0.0\nservices: {s: {version: 1.0.0}}\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	plan := fifo(t, filepath.Join(folder, "plan.json"))
	code, _, talk := here(t, t.TempDir(), "deploy", "--plan", plan, folder)
	if code != exitMisused || !strings.Contains(talk, plan+" holds no plan") {
		t.Errorf("exit %d:\n%s", code, talk)
	}
}

// What a pipe gets is waited for as long as somebody may write to it, and no longer than ctx.
func TestReadingAPipeEndsWithThePatience(t *testing.T) {
	path := fifo(t, filepath.Join(t.TempDir(), "pipe"))
	writer, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := readFile(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

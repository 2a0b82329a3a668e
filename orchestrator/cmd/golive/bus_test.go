package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/golive-dev/golive/orchestrator/local"
	"github.com/golive-dev/golive/orchestrator/terminal"
)

// here runs the command line with streams of its own.
func here(t *testing.T, cache string, args ...string) (code int, out, talk string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	s := terminal.Streams{Out: &stdout, Err: &stderr, Dir: t.TempDir(), Getenv: func(name string) string {
		if name == "XDG_CACHE_HOME" {
			return cache
		}
		return ""
	}}
	code = run(context.Background(), s, args)
	return code, stdout.String(), stderr.String()
}

func TestErrorsNameTheNextStep(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"upp"}, exitMisused, "see golive --help"},
		{[]string{"up", "a", "b"}, exitMisused, "see golive up --help"},
		{[]string{"up", "--nope"}, exitMisused, "see golive up --help"},
		{[]string{"show"}, exitMisused, "golive show needs the id of a rollout"},
		{[]string{"status", "-o", "xml"}, exitMisused, "valid are table, json, yaml, jsonl"},
		{[]string{"status", "--color", "pink"}, exitMisused, "valid are auto, always, never"},
		{[]string{"serve", "--replicas", "6"}, exitMisused, "from 1 to 5"},
		{[]string{"serve", "--replicas", "0"}, exitMisused, "from 1 to 5"},
		{[]string{"serve", "--log-format", "xml"}, exitMisused, "valid are text, json"},
		{[]string{"deploy", "--wait", "-1s"}, exitMisused, "must not be negative"},
		{[]string{"up"}, exitMisused, "golive.yaml"},
		{[]string{"status"}, exitFailed, "golive up DIR"},
	} {
		code, out, talk := here(t, t.TempDir(), c.args...)
		if code != c.code || !strings.Contains(talk, c.want) || out != "" {
			t.Errorf("golive %s: exit %d, want %d with %q; stdout %q, stderr:\n%s", strings.Join(c.args, " "), code, c.code, c.want, out, talk)
		}
	}
}

func TestFailureIsAnAnswerForMachines(t *testing.T) {
	code, out, talk := here(t, t.TempDir(), "status", "-o", "json")
	var answer struct {
		Error struct{ Code, Message, Hint string }
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	if code != exitFailed || answer.Error.Code != codeNoBus || answer.Error.Hint == "" || talk != "" {
		t.Errorf("exit %d, answer %+v, stderr %q", code, answer, talk)
	}
}

func TestVersion(t *testing.T) {
	code, out, _ := here(t, t.TempDir(), "version", "-o", "yaml")
	if code != exitDone || !strings.Contains(out, "version: "+Version) {
		t.Errorf("exit %d: %s", code, out)
	}
}

// TestBeacon shows which running up a command in a folder means.
func TestBeacon(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cache, home := t.TempDir(), t.TempDir()
	folder := filepath.Join(cache, "golive", "up")
	url := "nats://" + l.Addr().String()
	put, err := local.Beacon{URL: url, Dir: filepath.Join(home, "app"), Cwd: home, Data: "one"}.Light(folder)
	if err != nil {
		t.Fatal(err)
	}
	address := func(dir string) (string, error) {
		c := &command{Streams: terminal.Streams{Dir: dir, Getenv: func(name string) string {
			return map[string]string{"XDG_CACHE_HOME": cache}[name]
		}}}
		p, err := c.address("")
		return p.URL, err
	}
	for _, dir := range []string{home, filepath.Join(home, "app"), filepath.Join(home, "app", "todos")} {
		if got, err := address(dir); err != nil || got != url {
			t.Errorf("in %s the bus is %q (%v), want %q", dir, got, err, url)
		}
	}
	for _, dir := range []string{filepath.Dir(home), filepath.Join(home, "other"), filepath.Join(home, "apple")} {
		if got, err := address(dir); err == nil {
			t.Errorf("in %s the bus is %q, want none", dir, got)
		}
	}
	putSecond, err := local.Beacon{URL: url, Dir: filepath.Join(home, "b"), Cwd: home, Data: "two"}.Light(folder)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := address(home); err == nil || !strings.Contains(err.Error(), "several") {
		t.Errorf("two run here: %v", err)
	}
	putSecond()
	put()
	if _, err := address(home); err == nil {
		t.Error("a beacon that was put out is still seen")
	}
}

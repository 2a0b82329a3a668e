package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/golive-dev/golive/orchestrator/terminal"
)

// busConfig runs golive bus config for the shop in a folder.
func busConfig(t *testing.T, folder string, args ...string) (code int, out string) {
	t.Helper()
	var all bytes.Buffer
	s := terminal.Streams{Out: &all, Err: &all, Dir: folder, Getenv: func(string) string { return "" }}
	code = run(t.Context(), s, append([]string{"bus", "config"}, args...))
	return code, all.String()
}

// Called again, also where it was killed before it had written the server's configuration, it
// keeps the passwords that are there, and whoever comes gets one.
func TestBusConfigKeepsPasswords(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "golive.yaml"), []byte("app: shop\nversion: 1.0.0\nservices:\n  stock: {version: 1.0.0}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		file := filepath.Join(folder, "bus", name)
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s may be read by others: %s", name, info.Mode())
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if code, out := busConfig(t, folder); code != 0 {
		t.Fatalf("it ends with %d:\n%s", code, out)
	}
	before := read("contexts/stock.json")
	if err := os.Remove(filepath.Join(folder, "bus", "nats-server.conf")); err != nil {
		t.Fatal(err)
	}
	if code, out := busConfig(t, folder, "--person", "ann"); code != 0 {
		t.Fatalf("it ends with %d:\n%s", code, out)
	}
	if read("contexts/stock.json") != before {
		t.Error("stock has got another password")
	}
	if ann := read("contexts/ann.json"); ann == before || !strings.Contains(read("nats-server.conf"), `user: "ann"`) {
		t.Error("ann has got no user of her own")
	}
	if err := os.WriteFile(filepath.Join(folder, "bus", "contexts", "ann.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	conf := read("nats-server.conf")
	if code, out := busConfig(t, folder, "--person", "ann"); code == 0 || !strings.Contains(out, "holds no password: remove it, and a new one is made") {
		t.Errorf("a context without a password: %d\n%s", code, out)
	}
	if read("nats-server.conf") != conf {
		t.Error("the configuration was written all the same")
	}
}

func TestBusConfigRefuses(t *testing.T) {
	folder := t.TempDir()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--listen", "4222"}, "is no host and port"},
		{[]string{"--listen", "127.0.0.1:0"}, "is no host and port"},
		{[]string{"--listen", "10.0.0.1:4222"}, "give --server-cert and --server-key, or --without-tls"},
		{[]string{"--listen", "0.0.0.0:4222", "--without-tls"}, "say with --url how users reach it"},
		{[]string{"--server-cert", "a.pem"}, "need each other"},
		{[]string{"nowhere"}, "nowhere"},
	} {
		code, out := busConfig(t, folder, c.args...)
		if code != exitMisused && c.want != "nowhere" || code == 0 || !strings.Contains(out, c.want) {
			t.Errorf("%v ends with %d:\n%s", c.args, code, out)
		}
	}
	if _, err := os.Stat(filepath.Join(folder, "bus")); err == nil {
		t.Error("something was written")
	}
}

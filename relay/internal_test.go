package relay

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/golive-dev/golive/relay/embedded"
)

func TestRedactNeverShowsAPassword(t *testing.T) {
	for urls, want := range map[string]string{
		"nats://127.0.0.1:4222":                          "nats://127.0.0.1:4222",
		"nats://user:s3cret@host:4222":                   "nats://xxxxx@host:4222",
		"nats://s3cret@host:4222":                        "nats://xxxxx@host:4222",
		"user:s3cret@host:4222":                          "nats://xxxxx@host:4222",
		"s3cret@host":                                    "nats://xxxxx@host",
		"host:4222":                                      "nats://host:4222",
		"127.0.0.1:4222":                                 "nats://127.0.0.1:4222",
		"tls://user:s3cret@[::1]:4222":                   "tls://xxxxx@[::1]:4222",
		"nats://a:s3cret@h1:1, nats://b:s3cret@h2:2,,":   "nats://xxxxx@h1:1,nats://xxxxx@h2:2",
		"nats://host:4222/s3cret?token=s3cret#s3cret":    "nats://host:4222",
		"nats://user:s3%40cret@host:4222":                "nats://xxxxx@host:4222",
		"nats://user:s3@s3cret@host:4222":                "nats://xxxxx@host:4222",
		"nats://user:s3/cret@host:4222":                  "(unreadable URL)",
		"nats://user:s3%cret@host:4222":                  "(unreadable URL)",
		"nats://user:s3 cret@host:4222":                  "(unreadable URL)",
		"nats://user:s3cret@":                            "(unreadable URL)",
		"nats://good:4222,nats://user:s3/cret@host:4222": "(unreadable URL)",
		"nats://user:s3#cret@host:4222":                  "(unreadable URL)",
		"nats://user:s3?cret@host:4222":                  "(unreadable URL)",
		"nats://user:s3\ncret@host:4222":                 "(unreadable URL)",
	} {
		got := redact(urls)
		if got != want {
			t.Errorf("%q is shown as %q, want %q", urls, got, want)
		}
		if strings.Contains(got, "cret") {
			t.Errorf("%q is shown as %q", urls, got)
		}
	}
}

func TestTheOldestServer(t *testing.T) {
	for version, why := range map[string]string{
		"2.15.3":      "",
		"2.15.4":      "",
		"2.16.0-RC.1": "",
		"3.0.0":       "",
		"2.15.2":      "server n1 is nats-server 2.15.2, at least 2.15.3 is needed: older ones sync, schedule or restore differently",
		"2.15.3-RC.1": "server n1 is nats-server 2.15.3-RC.1, at least 2.15.3 is needed: older ones sync, schedule or restore differently",
		"2.14.99":     "server n1 is nats-server 2.14.99, at least 2.15.3 is needed: older ones sync, schedule or restore differently",
		"1.0.0":       "server n1 is nats-server 1.0.0, at least 2.15.3 is needed: older ones sync, schedule or restore differently",
		"":            `server n1 tells no version that can be read: ""`,
		"latest":      `server n1 tells no version that can be read: "latest"`,
	} {
		err := checkVersion("n1", version)
		if (err == nil && why != "") || (err != nil && err.Error() != why) {
			t.Errorf("%s: %v, want %q", version, err, why)
		}
	}
}

func TestOnlyAPipeTiesUsToAParent(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	defer write.Close()
	if !isPipe(read) {
		t.Error("a pipe was not taken for one")
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	if isPipe(null) || isPipe(file) {
		t.Error("what is no pipe was taken for one")
	}
	null.Close()
	file.Close()
	if isPipe(file) {
		t.Error("a closed input was taken for a pipe")
	}
}

// A stream that was cut before it could begin is no work for its handler.
func TestAStreamThatIsOverIsNotBegun(t *testing.T) {
	server, err := embedded.Start(embedded.Config{Data: t.TempDir(), Unsynced: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	}()
	r, err := Connect(t.Context(), Config{Server: server})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, stop := context.WithCancelCause(t.Context())
	s := &Sender{
		requests: newInstance(t.Context(), r, Service{Name: "todos", Version: "0.0.1"}.withDefaults()).requests,
		private:  true, stop: stop, inbox: r.nc.NewInbox(), reply: r.nc.NewInbox(), quiet: time.NewTimer(time.Hour),
	}
	s.room.L = &s.mu
	s.cut(errStopping)
	s.run(ctx, &request{to: &endpoint{message: "list", stream: func(context.Context, *Message, *Sender) error {
		t.Error("the handler was called")
		return nil
	}}})
}

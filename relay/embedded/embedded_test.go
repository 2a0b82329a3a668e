package embedded_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay/embedded"
)

// soon is how long a refusal may take.
const soon = 5 * time.Second

func TestAServerAnswersOnceStarted(t *testing.T) {
	s := start(t, embedded.Config{Data: t.TempDir()})
	if !strings.HasPrefix(s.URL(), "nats://127.0.0.1:") || strings.HasSuffix(s.URL(), ":0") {
		t.Errorf("listens on %s", s.URL())
	}
	write(t, connect(t, s.URL()), "a", "over TCP")
	inProcess, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		t.Fatal(err)
	}
	defer inProcess.Close()
	if got := read(t, inProcess, "a"); got != "over TCP" {
		t.Errorf("read %q in the process", got)
	}
}

func TestServersOnPortZeroGetDifferentPorts(t *testing.T) {
	a := start(t, embedded.Config{Data: t.TempDir(), Listen: "127.0.0.1:0"})
	b := start(t, embedded.Config{Data: t.TempDir(), Listen: "localhost:0"})
	if a.URL() == b.URL() {
		t.Errorf("both listen on %s", a.URL())
	}
}

func TestDataSurvivesAStop(t *testing.T) {
	data := filepath.Join(t.TempDir(), "not", "there", "yet")
	first := start(t, embedded.Config{Data: data})
	address := strings.TrimPrefix(first.URL(), "nats://")
	write(t, connect(t, first.URL()), "a", "before")
	stop(t, first)

	second := start(t, embedded.Config{Data: data, Listen: address})
	if second.URL() != "nats://"+address {
		t.Errorf("asked for %s, listens on %s", address, second.URL())
	}
	if got := read(t, connect(t, second.URL()), "a"); got != "before" {
		t.Errorf("read %q after the restart", got)
	}
}

func TestStopMayBeRepeated(t *testing.T) {
	data := t.TempDir()
	s := start(t, embedded.Config{Data: data})
	var stopping sync.WaitGroup
	for range 3 {
		stopping.Go(func() { stop(t, s) })
	}
	stopping.Wait()
	stop(t, s)
	start(t, embedded.Config{Data: data})
}

func TestAFolderBelongsToOneServer(t *testing.T) {
	data := t.TempDir()
	first := start(t, embedded.Config{Data: data})
	mustRefuse(t, embedded.Config{Data: data}, data)
	if _, err := embedded.Start(embedded.Config{Data: data}); !errors.Is(err, embedded.ErrDataInUse) {
		t.Errorf("a second server: %v", err)
	}
	write(t, connect(t, first.URL()), "a", "the first goes on")
}

func TestWhatCannotBeStartedIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	broken := t.TempDir()
	if err := os.WriteFile(filepath.Join(broken, "nats"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		config embedded.Config
		says   string
	}{
		{"no folder", embedded.Config{}, "Data is empty: name a folder"},
		{"a file for a folder", embedded.Config{Data: file}, file + ": not a directory"},
		{"a file where NATS stores", embedded.Config{Data: broken}, "JetStream"},
		{"no port", embedded.Config{Data: t.TempDir(), Listen: "127.0.0.1"}, "write HOST:PORT, such as 127.0.0.1:4222"},
		{"an empty port", embedded.Config{Data: t.TempDir(), Listen: "127.0.0.1:"}, `port "" is no number from 0 to 65535`},
		{"a port by name", embedded.Config{Data: t.TempDir(), Listen: "127.0.0.1:nats"}, `port "nats" is no number from 0 to 65535`},
		{"a negative port", embedded.Config{Data: t.TempDir(), Listen: "127.0.0.1:-1"}, `port "-1" is no number from 0 to 65535`},
		{"too high a port", embedded.Config{Data: t.TempDir(), Listen: "127.0.0.1:65536"}, `port "65536" is no number from 0 to 65535`},
		{"colons", embedded.Config{Data: t.TempDir(), Listen: "::1:4222"}, "write HOST:PORT, such as 127.0.0.1:4222"},
		{"somebody else's address", embedded.Config{Data: t.TempDir(), Listen: "192.0.2.1:0"}, "192.0.2.1:"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { mustRefuse(t, tt.config, tt.says) })
	}
}

func TestATakenPortIsToldAndLeavesTheFolderFree(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	data, address := t.TempDir(), taken.Addr().String()
	mustRefuse(t, embedded.Config{Data: data, Listen: address}, "start embedded server on "+address+": ")
	mustRefuse(t, embedded.Config{Data: data, Listen: address}, "address already in use")
	start(t, embedded.Config{Data: data})
}

func TestMessagesAreLimited(t *testing.T) {
	s := start(t, embedded.Config{Data: t.TempDir(), MaxPayload: 1000})
	nc := connect(t, s.URL())
	if nc.MaxPayload() != 1000 {
		t.Errorf("the limit is %d bytes", nc.MaxPayload())
	}
	if err := nc.Publish("a", make([]byte, 1001)); !errors.Is(err, nats.ErrMaxPayload) {
		t.Errorf("a message over the limit: %v", err)
	}
}

// start starts a server that is stopped when the test ends.
func start(t *testing.T, c embedded.Config) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, s) })
	return s
}

func stop(t *testing.T, s *embedded.Server) {
	t.Helper()
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
}

// mustRefuse fails the test unless the server is refused soon and the error says why.
func mustRefuse(t *testing.T, c embedded.Config, says string) {
	t.Helper()
	began := time.Now()
	s, err := embedded.Start(c)
	if err == nil {
		stop(t, s)
	}
	if err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("error %v, want one that says: %s", err, says)
	}
	if took := time.Since(began); took > soon {
		t.Errorf("refused after %s only", took)
	}
}

func connect(t *testing.T, url string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// stream gives the stream that the tests write to.
func stream(t *testing.T, nc *nats.Conn) (context.Context, jetstream.JetStream, jetstream.Stream) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	t.Cleanup(cancel)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: "test", Subjects: []string{"a"}})
	if err != nil {
		t.Fatal(err)
	}
	return ctx, js, s
}

func write(t *testing.T, nc *nats.Conn, subject, text string) {
	t.Helper()
	ctx, js, _ := stream(t, nc)
	if _, err := js.Publish(ctx, subject, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, nc *nats.Conn, subject string) string {
	t.Helper()
	ctx, _, s := stream(t, nc)
	m, err := s.GetLastMsgForSubject(ctx, subject)
	if err != nil {
		t.Fatal(err)
	}
	return string(m.Data)
}

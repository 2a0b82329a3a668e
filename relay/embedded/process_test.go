package embedded_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay/embedded"
)

// envData names the folder of a server that a test runs in a process of its own.
const envData = "GOLIVE_TEST_DATA"

func TestMain(m *testing.M) {
	if data := os.Getenv(envData); data != "" {
		os.Exit(serve(data))
	}
	os.Exit(m.Run())
}

// serve runs a server until its standard input ends, and tells where it listens.
func serve(data string) int {
	s, err := embedded.Start(embedded.Config{Data: data})
	if err != nil {
		fmt.Println("error:", err)
		return 1
	}
	fmt.Println(s.URL())
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := s.Stop(); err != nil {
		return 1
	}
	return 0
}

// serveElsewhere runs a server in another process until kill, or the end of the test.
// It gives the first line that the process prints.
func serveElsewhere(t *testing.T, data string) (line string, kill func()) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), envData+"="+data)
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil { // its end is the end of the process, should the test die
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	kill = func() {
		if !ended {
			ended = true
			_ = cmd.Process.Kill() // it may have ended by itself
			_ = cmd.Wait()         // it was killed
		}
	}
	t.Cleanup(kill)
	line, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the server in another process: %v", err)
	}
	return strings.TrimSpace(line), kill
}

func TestAFolderOfAnotherProcessIsRefused(t *testing.T) {
	data := t.TempDir()
	url, kill := serveElsewhere(t, data)
	if _, err := embedded.Start(embedded.Config{Data: data}); !errors.Is(err, embedded.ErrDataInUse) || !strings.Contains(err.Error(), data) {
		t.Errorf("a folder in use by another process: %v", err)
	}
	write(t, connect(t, url), "a", "the other goes on")
	kill()
	start(t, embedded.Config{Data: data})
}

func TestAnotherProcessIsRefusedOurFolder(t *testing.T) {
	data := t.TempDir()
	start(t, embedded.Config{Data: data})
	if said, _ := serveElsewhere(t, data); said != "error: "+embedded.ErrDataInUse.Error()+": "+data {
		t.Errorf("the other process said %q", said)
	}
}

func TestWhatWasAcknowledgedSurvivesAKill(t *testing.T) {
	data := t.TempDir()
	url, kill := serveElsewhere(t, data)
	ctx, js, _ := stream(t, connect(t, url))
	var last uint64
	for n := range 1000 {
		ack, err := js.Publish(ctx, "a", fmt.Appendf(nil, "%d", n))
		if err != nil {
			t.Fatal(err)
		}
		last = ack.Sequence
	}
	kill()

	s := start(t, embedded.Config{Data: data})
	ctx, _, kept := stream(t, connect(t, s.URL()))
	for sequence := uint64(1); sequence <= last; sequence++ {
		m, err := kept.GetMsg(ctx, sequence)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			t.Fatalf("message %d of %d is gone", sequence, last)
		}
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprint(sequence - 1); string(m.Data) != want {
			t.Fatalf("message %d holds %q, want %q", sequence, m.Data, want)
		}
	}
}

package embedded_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay/embedded"
	"github.com/golive-dev/golive/relay/relaytest"
)

// smallDisk is a folder on a disk of so many megabytes, which is gone after the test.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("a small disk can be had by root alone: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill takes all the space that is left, and gives what frees it.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	name := filepath.Join(dir, "filler")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	for block := make([]byte, 1<<16); len(block) > 0; {
		n, err := f.Write(block)
		if errors.Is(err, syscall.ENOSPC) {
			block = block[:len(block)/2]
		} else if err != nil || n == 0 {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

// tryWrite writes a message, and gives the error if it was not stored soon.
func tryWrite(t *testing.T, js jetstream.JetStream, text string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := js.Publish(ctx, "a", []byte(text), jetstream.WithRetryAttempts(0))
	return err
}

// A stream of NATS takes nothing any more after a write that has failed, also when there is
// space again. The server is started anew then: clients find it again at its address, and what was
// stored is there.
func TestAFullDiskIsGotOverOnceThereIsSpace(t *testing.T) {
	t.Parallel()
	relaytest.Long(t)
	dir := smallDisk(t, "32m")
	s := start(t, embedded.Config{Data: dir})
	address := s.URL()
	nc, err := nats.Connect(address, nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	inProcess, err := nats.Connect("", nats.InProcessServer(s), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer inProcess.Close()
	write(t, nc, "a", "before")
	_, js, kept := stream(t, nc)
	watched, err := kept.OrderedConsumer(t.Context(), jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverNewPolicy})
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan string, 100)
	consuming, err := watched.Consume(func(m jetstream.Msg) { heard <- string(m.Data()) })
	if err != nil {
		t.Fatal(err)
	}
	defer consuming.Stop()
	for round := range 2 {
		free := fill(t, dir)
		full := time.Now()
		for tryWrite(t, js, "lost") == nil {
			if time.Since(full) > 4*soon {
				t.Fatal("a full disk takes everything")
			}
		}
		if err := tryWrite(t, js, "lost"); err == nil {
			t.Error("it stores again on a full disk")
		}
		free()
		freed := time.Now()
		for tryWrite(t, js, "after") != nil {
			if time.Since(freed) > 4*soon {
				t.Fatal("it does not store again though there is space")
			}
		}
		t.Logf("round %d: it stores again %s after there is space", round, time.Since(freed).Round(time.Millisecond))
	}
	m, err := kept.GetMsg(t.Context(), 1)
	if err != nil || string(m.Data) != "before" {
		t.Errorf("what was stored before is %v, %v", m, err)
	}
	for deadline, after := time.After(6*soon), 0; after < 2; {
		select {
		case text := <-heard:
			if text == "after" {
				after++
			}
		case <-deadline:
			t.Fatalf("who listens has heard of %d of 2 messages", after)
		}
	}
	if s.URL() != address {
		t.Errorf("it listens on %s, before on %s", s.URL(), address)
	}
	if got := read(t, inProcess, "a"); got != "after" {
		t.Errorf("read %q in the process", got)
	}
	if left, err := os.ReadDir(filepath.Join(dir, "nats")); err != nil || len(left) != 1 {
		t.Errorf("there is %v, %v", left, err)
	}
}

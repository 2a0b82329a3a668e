package orchestrator_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/embedded"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

// environmentOnSmallDisk is an environment whose bus has a small disk, and what fills that.
func environmentOnSmallDisk(t *testing.T) (e *environment, fill func() (free func())) {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=48m"); err != nil {
		t.Skipf("a small disk can be had by root alone: %v", err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { must(syscall.Unmount(dir, syscall.MNT_DETACH)) })
	server, err := embedded.Start(embedded.Config{Data: dir})
	must(err)
	t.Cleanup(func() { must(server.Stop()) })
	e = environmentOn(t, func() *relay.Relay {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		r, err := relay.Connect(ctx, relay.Config{URL: server.URL()})
		must(err)
		t.Cleanup(r.Close)
		return r
	})
	return e, func() (free func()) {
		filler, err := os.Create(filepath.Join(dir, "filler"))
		must(err)
		for size := 1 << 16; size > 0; {
			if _, err := filler.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
				size /= 2
			} else {
				must(err)
			}
		}
		must(filler.Close())
		return func() { must(os.Remove(filler.Name())) }
	}
}

// leave stores a lease that nobody renews, as of an instance that is killed.
func (e *environment) leave(service, version string, lasts time.Duration) {
	e.t.Helper()
	js, err := jetstream.New(e.nc)
	e.must(err)
	_, err = js.PublishMsg(e.t.Context(), &nats.Msg{
		Subject: protocol.KeySubject(protocol.LeasesBucket, protocol.LeaseKey(service, version, "killed")),
		Data:    []byte(`{"version": "` + version + `"}`),
	}, jetstream.WithMsgTTL(lasts))
	e.must(err)
}

// While the disk of the bus is full, leases can neither be renewed nor run out: production
// stands still. That is told, and is over once there is space.
func TestAFullDiskOfTheBusIsToldAndGotOver(t *testing.T) {
	t.Parallel()
	relaytest.Long(t)
	e, fill := environmentOnSmallDisk(t)
	e.probe = time.Second
	e.lease = 4 * time.Second
	e.orchestrate()
	e.service("todo-search", "1.0.0")
	e.service("todo-search", "1.0.0")
	e.awaitStatus(e.deploy(version("1.0.0")), rollout.Completed)
	e.answeredBy("1.0.0")
	e.leave("todo-search", "1.0.0", 8*time.Second)
	free := fill()
	full := time.Now()
	e.until("the bus stores nothing", func() bool {
		return slices.ContainsFunc(e.status().Alarms, func(text string) bool {
			return strings.Contains(text, ": no space left on device: free space on the disk of the server")
		})
	})
	t.Logf("the disk was told to be full after %s", time.Since(full).Round(time.Millisecond))
	e.until("nobody has a lease", func() bool {
		s := e.status()
		return s.Services[0].Alive == 0 && s.Services[0].Holding == 3 && slices.ContainsFunc(s.Alarms, func(text string) bool {
			return strings.Contains(text, "3 of 3 instances of todo-search 1.0.0 hold requests: no lease for ")
		})
	})
	t.Logf("that nobody has a lease was told after %s", time.Since(full).Round(time.Millisecond))
	free()
	freed := time.Now()
	e.until("production answers", func() bool { // the bus is started anew meanwhile: an answer may be lost
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var got string
		return e.r.Request(ctx, "todo-search.version", nil, &got) == nil && got == "1.0.0"
	})
	t.Logf("production answered %s after there was space", time.Since(freed).Round(time.Millisecond))
	e.until("no alarm is left", func() bool {
		all, err := e.client.Status(t.Context(), api.AppRequest{App: "todo-app"})
		if err != nil {
			return false // the orchestrators are on their way back to the bus, too
		}
		s := all[0]
		return len(s.Alarms) == 0 && s.Services[0].Alive == 2 && s.Services[0].Holding == 0
	})
	e.service("todo-search", "2.0.0")
	e.awaitStatus(e.deploy(version("2.0.0")), rollout.Completed)
	e.answeredBy("2.0.0")
}

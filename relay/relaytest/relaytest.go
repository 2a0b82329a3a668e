// Package relaytest gives a test a bus of its own: a server with JetStream on a
// temporary folder, or a cluster of them, and connections to it, all gone when the test
// ends.
package relaytest

import (
	"context"
	"encoding/json"
	"flag"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/micro"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/embedded"
	"github.com/golive-dev/golive/relay/protocol"
)

// Parallel has up to n parallel tests of a package run at the same time, or as many as the
// flag -parallel of go test says. Called by TestMain of a package whose tests wait more than
// they work; those that measure time are not marked as parallel.
func Parallel(n int) {
	if err := flag.Set("test.parallel", strconv.Itoa(max(n, runtime.GOMAXPROCS(0)))); err != nil {
		panic(err) // go test has that flag
	}
}

// Long skips a test that takes long where go test is told to be short: faults, elections and
// leases that run out.
func Long(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes long: without -short it runs")
	}
}

// Bus is a server for one test.
type Bus struct {
	t      testing.TB
	server *embedded.Server

	mu  sync.Mutex
	met map[string]bool // instances of services, by id
}

// Start starts a server for t. Writes are not synced to disk: a test that cares for
// power cuts starts its own.
func Start(t testing.TB) *Bus { return start(t, nil) }

// StartGuarded is Start for a server that lets only these users in; everybody's password is
// the own name. [Bus.As] is how they connect.
func StartGuarded(t testing.TB, users ...embedded.User) *Bus {
	for i := range users {
		users[i].Password = users[i].Name
	}
	return start(t, users)
}

// With is a user of a bus that has certain rights.
func With(name string, rights protocol.Rights) embedded.User {
	return embedded.User{Name: name, Publish: rights.Publish, Subscribe: rights.Subscribe}
}

// As gives a connection of a user, closed when the test ends. Its inboxes are its own.
func (b *Bus) As(user string) *relay.Relay {
	b.t.Helper()
	return connect(b.t, relay.Config{URL: b.URLOf(user), Inbox: protocol.Inbox(user)})
}

// URLOf is the server's address with a user's name and password.
func (b *Bus) URLOf(user string) string {
	return strings.Replace(b.URL(), "://", "://"+user+":"+user+"@", 1)
}

func start(t testing.TB, users []embedded.User) *Bus {
	t.Helper()
	s, err := embedded.Start(embedded.Config{Data: t.TempDir(), Unsynced: true, Users: users})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return &Bus{t: t, server: s, met: make(map[string]bool)}
}

// URL is the server's address.
func (b *Bus) URL() string { return b.server.URL() }

// Connect gives a connection over TCP that is closed when the test ends.
func (b *Bus) Connect() *relay.Relay {
	b.t.Helper()
	return b.ConnectTo(b.URL())
}

// ConnectTo is Connect by way of another URL, such as that of a [Cable].
func (b *Bus) ConnectTo(url string) *relay.Relay {
	b.t.Helper()
	return connect(b.t, relay.Config{URL: url})
}

func connect(t testing.TB, c relay.Config) *relay.Relay {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c.Name = t.Name()
	r, err := relay.Connect(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// Serve runs s on a connection of its own until the test ends or stop is called,
// which blocks until it has ended. It returns once the private address answers.
func (b *Bus) Serve(s relay.Service) (stop func()) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := b.Connect()
	ended := make(chan error, 1)
	go func() { ended <- r.Serve(ctx, s) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			b.t.Errorf("serve %s: %v", s.Name, err)
		}
	})
	b.t.Cleanup(stop)
	b.await(s)
	return stop
}

// await blocks until a new instance of the version tells all its messages; it answers
// NATS's PING before it listens to them.
func (b *Bus) await(s relay.Service) {
	b.t.Helper()
	nc := b.Connect().Conn()
	inbox := nc.NewInbox()
	answers, err := nc.SubscribeSync(inbox)
	if err != nil {
		b.t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for time.Now().Before(deadline) {
		if err := nc.PublishRequest("$SRV.INFO."+s.Name, inbox, nil); err != nil {
			b.t.Fatal(err)
		}
		for {
			m, err := answers.NextMsg(100 * time.Millisecond)
			if err != nil {
				break // that were all: ask again
			}
			var info micro.Info
			if json.Unmarshal(m.Data, &info) == nil && info.Version == s.Version &&
				len(info.Endpoints) == messages(s) && b.meet(info.ID) {
				return
			}
		}
	}
	b.t.Fatalf("service %s %s did not come up within 10 s", s.Name, s.Version)
}

// messages is how many messages a service has.
func messages(s relay.Service) int {
	n := len(s.Handlers)
	for message := range s.Streams {
		if s.Handlers[message] == nil {
			n++
		}
	}
	return n
}

// meet reports whether an instance is seen for the first time.
func (b *Bus) meet(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	fresh := !b.met[id]
	b.met[id] = true
	return fresh
}

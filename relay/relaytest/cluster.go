package relaytest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/embedded"
)

// clusterTimeout bounds each wait for a cluster. An election alone may take 9 s.
const clusterTimeout = 30 * time.Second

// Cluster is a cluster of servers for one test, to be used in the goroutine of the test.
type Cluster struct {
	t       testing.TB
	configs []embedded.Config
	servers []*embedded.Server // nil: stopped
	started []time.Time
	js      jetstream.JetStream
}

// StartCluster starts n servers for t that form one bus, and waits until they keep a
// stream together. As with [Start], writes are not synced to disk.
func StartCluster(t testing.TB, n int) *Cluster {
	t.Helper()
	c := &Cluster{t: t, configs: configs(t, n), servers: make([]*embedded.Server, n), started: make([]time.Time, n)}
	t.Cleanup(c.stopAll)
	for i := range n {
		c.StartAgain(i)
	}
	var err error
	if c.js, err = jetstream.New(c.Connect().Conn()); err != nil {
		t.Fatal(err)
	}
	const probe = "relaytest-probe"
	c.await("a replicated stream", func(ctx context.Context) (bool, error) {
		_, err := c.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: probe, Replicas: n})
		return err == nil, err
	})
	c.AwaitCurrent(probe)
	c.await("the end of a replicated stream", func(ctx context.Context) (bool, error) {
		err := c.js.DeleteStream(ctx, probe)
		return err == nil, err
	})
	return c
}

// configs describes n servers that know each other.
func configs(t testing.TB, n int) []embedded.Config {
	t.Helper()
	addresses := FreeAddresses(t, 2*n)
	clients, routes := addresses[:n], addresses[n:]
	all := make([]embedded.Config, n)
	for i := range all {
		all[i] = embedded.Config{
			Data: t.TempDir(), Listen: clients[i], Unsynced: true,
			Cluster: &embedded.Cluster{Name: "relaytest", Server: serverName(i), Listen: routes[i], Routes: routes},
		}
	}
	return all
}

func serverName(i int) string { return fmt.Sprintf("server-%d", i) }

func (c *Cluster) stopAll() {
	var stopping sync.WaitGroup
	for _, s := range c.servers {
		if s != nil {
			stopping.Go(func() {
				if err := s.Stop(); err != nil {
					c.t.Error(err)
				}
			})
		}
	}
	stopping.Wait()
}

// URLs are the addresses of the servers, of the stopped ones too.
func (c *Cluster) URLs() []string {
	urls := make([]string, len(c.configs))
	for i, config := range c.configs {
		urls[i] = "nats://" + config.Listen
	}
	return urls
}

// URL is all the addresses, as a client takes them.
func (c *Cluster) URL() string { return strings.Join(c.URLs(), ",") }

// Connect gives a connection to any of the servers that goes over to another one when
// that stops. It is closed when the test ends.
func (c *Cluster) Connect() *relay.Relay {
	c.t.Helper()
	return connect(c.t, relay.Config{URL: c.URL()})
}

// Stop stops a server as a crash does: its connections end at once, and it hands
// nothing over to the others.
func (c *Cluster) Stop(i int) {
	c.t.Helper()
	if c.servers[i] == nil {
		c.t.Fatalf("%s is stopped already", serverName(i))
	}
	if err := c.servers[i].Kill(); err != nil {
		c.t.Fatal(err)
	}
	c.servers[i] = nil
}

// StartAgain starts a stopped server at its old addresses, with its old data. It does
// not wait for the others; see [Cluster.AwaitCurrent].
func (c *Cluster) StartAgain(i int) {
	c.t.Helper()
	if c.servers[i] != nil {
		c.t.Fatalf("%s is not stopped", serverName(i))
	}
	c.started[i] = time.Now()
	s, err := embedded.Start(c.configs[i])
	if err != nil {
		c.t.Fatal(err)
	}
	c.servers[i] = s
}

// Leader blocks until a stream has a leader, and gives the index of its server.
func (c *Cluster) Leader(stream string) int {
	c.t.Helper()
	var leader int
	c.await("a leader of stream "+stream, func(ctx context.Context) (bool, error) {
		info, err := c.info(ctx, stream)
		if err != nil {
			return false, err
		}
		leader = c.index(info.Cluster.Leader)
		return leader >= 0, nil
	})
	return leader
}

// AwaitCurrent blocks until every replica of a stream holds all that was published. A
// server that was started again can be stopped by then, and no message is lost.
func (c *Cluster) AwaitCurrent(stream string) {
	c.t.Helper()
	c.await("replicas of stream "+stream, func(ctx context.Context) (bool, error) {
		info, err := c.info(ctx, stream)
		if err != nil || len(info.Cluster.Replicas) != info.Config.Replicas-1 {
			return false, err
		}
		for _, r := range info.Cluster.Replicas {
			if i := c.index(r.Name); i < 0 || !r.Current || r.Offline || r.Active > time.Since(c.started[i]) {
				return false, fmt.Errorf("%+v", *r) // heard of before it was started means not heard of
			}
		}
		return true, nil
	})
}

func (c *Cluster) info(ctx context.Context, stream string) (*jetstream.StreamInfo, error) {
	s, err := c.js.Stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	return s.CachedInfo(), nil
}

func (c *Cluster) index(server string) int {
	return slices.IndexFunc(c.configs, func(config embedded.Config) bool { return config.Cluster.Server == server })
}

// await calls done until it reports true. A call that a server without a leader leaves
// unanswered is made again after a second.
func (c *Cluster) await(what string, done func(context.Context) (bool, error)) {
	c.t.Helper()
	deadline := time.After(clusterTimeout)
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		ok, err := done(ctx)
		cancel()
		if ok {
			return
		}
		select {
		case <-again.C:
		case <-deadline:
			c.t.Fatalf("%s: not there within %s: %v", what, clusterTimeout, err)
		}
	}
}

package embedded_test

import (
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/relay/embedded"
	"github.com/golive-dev/golive/relay/relaytest"
)

func TestAServerOfAClusterDoesNotWaitForTheOthers(t *testing.T) {
	s := start(t, embedded.Config{Data: t.TempDir(), Cluster: clusterOf(relaytest.FreeAddresses(t, 3)...)})
	nc := connect(t, s.URL())
	if name := nc.ConnectedServerName(); name != "one" {
		t.Errorf("the server is called %q", name)
	}
	heard, err := nc.SubscribeSync("a")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Publish("a", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := heard.NextMsg(soon); err != nil {
		t.Error(err)
	}
}

func TestWhatCannotBeClusteredIsRefused(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	const a, b = "127.0.0.1:7001", "127.0.0.1:7002"
	tests := []struct {
		name    string
		cluster embedded.Cluster
		says    string
	}{
		{"no name", embedded.Cluster{Server: "one", Listen: a, Routes: []string{a, b}}, "Cluster.Name is empty"},
		{"a name with a space", embedded.Cluster{Name: "a b", Server: "one", Listen: a, Routes: []string{a, b}}, "spaces"},
		{"no server", embedded.Cluster{Name: "test", Listen: a, Routes: []string{a, b}}, "Cluster.Server is empty"},
		{"no routes", embedded.Cluster{Name: "test", Server: "one", Listen: a}, "Cluster.Routes is empty"},
		{"no address", embedded.Cluster{Name: "test", Server: "one", Routes: []string{a, b}}, `listen address of routes ""`},
		{"any port", embedded.Cluster{Name: "test", Server: "one", Listen: "127.0.0.1:0", Routes: []string{a, b}}, "port 0 is not known to the others"},
		{"a route without a port", embedded.Cluster{Name: "test", Server: "one", Listen: a, Routes: []string{a, "127.0.0.1"}}, `route "127.0.0.1"`},
		{"a route as a URL", embedded.Cluster{Name: "test", Server: "one", Listen: a, Routes: []string{a, "nats://" + b}}, "write HOST:PORT"},
		{"a taken address", *clusterOf(taken.Addr().String(), b), "address already in use"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			data := t.TempDir()
			mustRefuse(t, embedded.Config{Data: data, Cluster: &tt.cluster}, tt.says)
			start(t, embedded.Config{Data: data})
		})
	}
}

func TestAKilledServerEndsItsConnectionsAndKeepsItsData(t *testing.T) {
	data := t.TempDir()
	s := start(t, embedded.Config{Data: data})
	lost := make(chan struct{})
	nc, err := nats.Connect(s.URL(), nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(lost) }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	write(t, nc, "a", "before")
	for range 2 {
		if err := s.Kill(); err != nil {
			t.Error(err)
		}
	}
	select {
	case <-lost:
	case <-time.After(soon):
		t.Error("the connection is still there")
	}
	again := start(t, embedded.Config{Data: data})
	if got := read(t, connect(t, again.URL()), "a"); got != "before" {
		t.Errorf("read %q after the restart", got)
	}
}

// clusterOf describes the first of the servers at the addresses.
func clusterOf(addresses ...string) *embedded.Cluster {
	return &embedded.Cluster{Name: "test", Server: "one", Listen: addresses[0], Routes: addresses}
}

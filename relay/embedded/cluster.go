package embedded

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Cluster says which servers form one bus, and which of them this one is. Three make a
// bus that outlives one of them. Routes ask for no password: whoever reaches their
// address can join the bus, so they belong into a network of their own.
type Cluster struct {
	Name   string   // of the cluster, the same in all its servers, without spaces; required
	Server string   // name of this server, no other's, kept for ever: its data is known by it; required
	Listen string   // HOST:PORT for the routes of the others; required
	Routes []string // HOST:PORT of the routes of all servers, this one too: NATS takes their number for that of the servers; required
}

// routePingEvery is how often servers of a cluster ask each other whether they are there, as they
// do by themselves: what is to be found soon is a client.
const routePingEvery = 30 * time.Second

func (c *Cluster) addTo(opts *server.Options) error {
	switch {
	case c.Name == "":
		return errors.New("start embedded server: Cluster.Name is empty: give all servers of the cluster the same")
	case c.Server == "":
		return errors.New("start embedded server: Cluster.Server is empty: give each server of the cluster its own")
	case len(c.Routes) == 0:
		return errors.New("start embedded server: Cluster.Routes is empty: list all servers of the cluster")
	}
	host, port, err := routeAddress("listen address of routes", c.Listen)
	if err != nil {
		return err
	}
	opts.ServerName = c.Server
	opts.Cluster = server.ClusterOpts{Name: c.Name, Host: host, Port: port, PingInterval: routePingEvery}
	for _, route := range c.Routes {
		if _, _, err := routeAddress("route", route); err != nil {
			return err
		}
		opts.Routes = append(opts.Routes, &url.URL{Scheme: "nats-route", Host: route})
	}
	return nil
}

// routeAddress splits HOST:PORT where the port is one that others can be told.
func routeAddress(what, address string) (host string, port int, err error) {
	host, port, err = splitAddress(what, address)
	if err == nil && port == 0 {
		err = fmt.Errorf("%s %q: port 0 is not known to the others: choose one", what, address)
	}
	return host, port, err
}

// Kill is Stop the way a crash is one: all connections end at once, and the rest of the
// cluster finds out by itself that the server leads nothing any more. It is for tests.
func (s *Server) Kill() error { return errors.Join(s.cut(), s.Stop()) }

// cut ends all connections. The server has no call to end its routes, but ends those
// whose compression is to change. Clients go first, and again if they have come back: the
// server's options are not safe to change while it deals with their requests.
func (s *Server) cut() error {
	ns := s.current()
	if !ns.Running() {
		return nil
	}
	if err := s.cutAllClients(); err != nil {
		return err
	}
	if s.opts.Cluster.Port != 0 {
		opts := s.opts.Clone()
		opts.Cluster.Compression.Mode = server.CompressionS2Fast
		opts.Routes = nil // do not try again
		if err := ns.ReloadOptions(opts); err != nil {
			return fmt.Errorf("cut routes: %w", err)
		}
	}
	return s.cutClients()
}

// cutAllClients cuts clients until none is left at work, for a while: they come back as soon as
// they can.
func (s *Server) cutAllClients() error {
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for deadline := time.Now().Add(500 * time.Millisecond); ; {
		if err := s.cutClients(); err != nil {
			return err
		}
		for range 20 {
			if s.current().NumClients() == 0 || time.Now().After(deadline) {
				return nil
			}
			<-look.C
		}
	}
}

func (s *Server) cutClients() error {
	ns := s.current()
	clients, err := ns.Connz(&server.ConnzOptions{Limit: server.DEFAULT_MAX_CONNECTIONS})
	if err != nil {
		return fmt.Errorf("cut clients: %w", err)
	}
	for _, client := range clients.Conns {
		_ = ns.DisconnectClientByID(client.Cid) // it may have gone by itself
	}
	return nil
}

package embedded

import (
	"net/url"

	"github.com/nats-io/nats-server/v2/server"
)

// Leaf says how a server is joined with others by leaf nodes: messages pass from one to the
// other, and each has a JetStream of its own, in a [Config.Domain] of its own.
type Leaf struct {
	Listen  string   // HOST:PORT for the leaf nodes of others, which is to be known to them; empty: it takes none
	Remotes []string // HOST:PORT of servers that it joins as a leaf node
}

// addTo adds the leaf to the options of a server; a nil one adds nothing.
func (l *Leaf) addTo(opts *server.Options) error {
	if l == nil {
		return nil
	}
	if l.Listen != "" {
		host, port, err := routeAddress("listen address of leaf nodes", l.Listen)
		if err != nil {
			return err
		}
		opts.LeafNode.Host, opts.LeafNode.Port = host, port
	}
	for _, remote := range l.Remotes {
		if _, _, err := routeAddress("remote", remote); err != nil {
			return err
		}
		opts.LeafNode.Remotes = append(opts.LeafNode.Remotes, &server.RemoteLeafOpts{URLs: []*url.URL{{Scheme: "nats-leaf", Host: remote}}})
	}
	return nil
}

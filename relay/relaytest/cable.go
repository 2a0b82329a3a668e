package relaytest

import (
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// Cable leads to a bus over TCP. A test can hold up what goes through it, as a network
// or a server does that is stuck, or cut it.
type Cable struct {
	t        testing.TB
	listener net.Listener
	to       string
	running  sync.WaitGroup

	mu    sync.Mutex
	delay time.Duration // of all that goes through, each way
	flow  chan struct{} // closed while the cable is not held
	ends  map[net.Conn]bool
	ended bool
}

// Cable lays a cable to the bus that is gone when the test ends.
func (b *Bus) Cable() *Cable {
	b.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	c := &Cable{
		t: b.t, listener: listener, to: strings.TrimPrefix(b.URL(), "nats://"),
		flow: make(chan struct{}), ends: make(map[net.Conn]bool),
	}
	close(c.flow)
	c.running.Go(c.accept)
	b.t.Cleanup(c.remove)
	return c
}

// URL is where clients plug in.
func (c *Cable) URL() string { return "nats://" + c.listener.Addr().String() }

// Hold holds up all that goes through the cable, both ways, until Release.
func (c *Cable) Hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.flow:
		c.flow = make(chan struct{})
	default:
	}
}

// Release lets everything through again, and what was held up first.
func (c *Cable) Release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.flow:
	default:
		close(c.flow)
	}
}

// Delay has all that goes through the cable from now on arrive later by d, each way: the
// cable is that long.
func (c *Cable) Delay(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.delay = d
}

// Cut cuts the connections that there are; new ones can be made.
func (c *Cable) Cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for end := range c.ends {
		_ = end.Close() // it may be closed already
	}
}

func (c *Cable) remove() {
	_ = c.listener.Close()
	c.mu.Lock()
	c.ended = true
	c.mu.Unlock()
	c.Cut()
	c.Release()
	c.running.Wait()
}

func (c *Cable) accept() {
	for {
		client, err := c.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", c.to)
		if err != nil {
			_ = client.Close() // the bus is not up: the client tries again
			continue
		}
		if c.add(client, server) {
			c.running.Go(func() { c.carry(server, client) })
			c.running.Go(func() { c.carry(client, server) })
		}
	}
}

func (c *Cable) add(ends ...net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, end := range ends {
		c.ends[end] = true
		if c.ended {
			_ = end.Close()
		}
	}
	return !c.ended
}

// carry copies from one end to the other until either is closed.
func (c *Cable) carry(to, from net.Conn) {
	parts := make(chan part, 1<<10)
	c.running.Go(func() { c.hand(to, from, parts) })
	defer close(parts)
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.ends, from)
	}()
	for {
		data := make([]byte, 32<<10)
		n, err := from.Read(data)
		if n > 0 {
			parts <- part{data[:n], time.Now()}
		}
		if err != nil { // it ends with the connection
			return
		}
	}
}

// part is what has come out of one end of a cable, and when.
type part struct {
	data []byte
	at   time.Time
}

// hand writes what goes through to the other end, while the cable is not held, and closes
// both ends when there is no more, or it cannot be written.
func (c *Cable) hand(to, from net.Conn, parts <-chan part) {
	var broken error
	for p := range parts {
		if broken != nil {
			continue // it has nowhere to go
		}
		c.mu.Lock()
		flow, late := c.flow, time.Until(p.at.Add(c.delay))
		c.mu.Unlock()
		<-flow
		if late > 0 {
			<-time.After(late)
		}
		if _, broken = to.Write(p.data); broken != nil {
			_ = from.Close() // so that nothing more comes
		}
	}
	_, _ = to.Close(), from.Close() // either may be closed already
}

package relaytest

import (
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// Cable leads to a bus over TCP. A test can have happen to what goes through it what happens
// in networks: it is held up, lost or late, or the connections are cut. Its methods are safe
// for concurrent use.
type Cable struct {
	listener net.Listener
	to       string
	running  sync.WaitGroup

	mu        sync.Mutex
	delay     time.Duration // of all that goes through, each way
	flow      [bothWays]chan struct{}
	drops     [bothWays]bool
	unplugged bool
	lines     map[*line]bool
	ended     bool
}

// Way is a way through a cable.
type Way int

// The ways.
const (
	ToBus   Way = iota // that of what clients send
	FromBus            // that of what they get
	bothWays
)

// line is one connection: the client's end of it and, once it has got through, the bus's.
type line struct {
	client, bus net.Conn
	lossy       bool // something of it was lost
}

// Cable lays a cable to the bus that is gone when the test ends.
func (b *Bus) Cable() *Cable {
	b.t.Helper()
	return NewCable(b.t, strings.TrimPrefix(b.URL(), "nats://"))
}

// NewCable lays a cable to an address, HOST:PORT, that is gone when the test ends. Nobody
// needs to listen there yet.
func NewCable(t testing.TB, to string) *Cable {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &Cable{listener: listener, to: to, lines: make(map[*line]bool)}
	for way := range c.flow {
		c.flow[way] = make(chan struct{})
		close(c.flow[way])
	}
	c.running.Go(c.accept)
	t.Cleanup(c.remove)
	return c
}

// Address is where clients plug in, HOST:PORT.
func (c *Cable) Address() string { return c.listener.Addr().String() }

// URL is where clients of the bus plug in.
func (c *Cable) URL() string { return "nats://" + c.Address() }

// Hold holds up what goes through the cable, these ways or, without any, both, until Release.
// Nobody hears meanwhile that the other end was closed, and a connection that is made does not
// get through to the bus.
func (c *Cable) Hold(ways ...Way) { c.stop(false, ways) }

// Drop is Hold for a network that forgets what it has not handed over: that is lost, and
// Release cuts the connections that have lost something.
func (c *Cable) Drop(ways ...Way) { c.stop(true, ways) }

func (c *Cable) stop(drop bool, ways []Way) {
	if len(ways) == 0 {
		ways = []Way{ToBus, FromBus}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, way := range ways {
		c.drops[way] = drop
		select {
		case <-c.flow[way]:
			c.flow[way] = make(chan struct{})
		default:
		}
	}
}

// Unplug cuts the connections, and each that is made until Release at once.
func (c *Cable) Unplug() {
	c.mu.Lock()
	c.unplugged = true
	c.mu.Unlock()
	c.Cut()
}

// Release lets everything through again, and what was held up first.
func (c *Cable) Release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unplugged = false
	for l := range c.lines {
		if l.lossy {
			l.cut()
		}
	}
	for way, flow := range c.flow {
		c.drops[way] = false
		select {
		case <-flow:
		default:
			close(flow)
		}
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
	for l := range c.lines {
		l.cut()
	}
}

// cut closes both ends. Either may be closed already.
func (l *line) cut() {
	_ = l.client.Close()
	if l.bus != nil {
		_ = l.bus.Close()
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
		l := &line{client: client}
		c.mu.Lock()
		gone := c.ended || c.unplugged
		c.lines[l] = !gone
		c.mu.Unlock()
		c.running.Go(func() {
			if !gone {
				c.connect(l)
			}
			c.forget(l)
		})
	}
}

func (c *Cable) forget(l *line) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l.cut()
	delete(c.lines, l)
}

// connect carries a connection to the bus, once it gets through, until either end is closed.
func (c *Cable) connect(l *line) {
	flow, lost := c.state(ToBus)
	if <-flow; lost {
		return
	}
	bus, err := net.Dial("tcp", c.to)
	if err != nil {
		return // the bus is not up: the client tries again
	}
	c.mu.Lock()
	l.bus = bus
	if c.ended {
		l.cut()
	}
	c.mu.Unlock()
	var carrying sync.WaitGroup
	carrying.Go(func() { c.carry(l, ToBus, bus, l.client) })
	carrying.Go(func() { c.carry(l, FromBus, l.client, bus) })
	carrying.Wait()
}

// state gives what is closed once a way is not held, and whether it loses what comes now.
func (c *Cable) state(way Way) (flow <-chan struct{}, loses bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.flow[way], c.drops[way]
}

// late is how long what has come at a time has to wait for the length of the cable.
func (c *Cable) late(at time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Until(at.Add(c.delay))
}

// part is what has come out of one end of a cable, and when.
type part struct {
	data []byte
	at   time.Time
}

// carry copies from one end to the other until either is closed; the other end hears of that
// when it gets through.
func (c *Cable) carry(l *line, way Way, to, from net.Conn) {
	parts := make(chan part, 1<<10)
	var handing sync.WaitGroup
	handing.Go(func() { c.hand(l, way, to, from, parts) })
	defer handing.Wait()
	defer close(parts)
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

// hand writes what goes through to the other end, while the cable is not held, and closes
// both ends when there is no more, or it cannot be written.
func (c *Cable) hand(l *line, way Way, to, from net.Conn, parts <-chan part) {
	var broken error
	for p := range parts {
		if broken != nil {
			continue // it has nowhere to go
		}
		if late := c.late(p.at); late > 0 {
			<-time.After(late)
		}
		flow, loses := c.state(way)
		if loses {
			c.lose(l)
			continue
		}
		<-flow
		if _, broken = to.Write(p.data); broken != nil {
			_ = from.Close() // so that nothing more comes
		}
	}
	flow, _ := c.state(way)
	<-flow
	_, _ = to.Close(), from.Close() // either may be closed already
}

// lose notes that a connection has lost something: it cannot go on when the cable does.
func (c *Cable) lose(l *line) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l.lossy = true
}

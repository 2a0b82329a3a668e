package relaytest_test

import (
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golive-dev/golive/relay/relaytest"
)

// soon is how long a test waits for what comes at once, and still is how long it looks whether
// something comes that must not.
const (
	soon  = 10 * time.Second
	still = 100 * time.Millisecond
)

// echo listens and sends back all that it gets, on every connection.
func echo(t *testing.T) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(func() { _ = listener.Close(); running.Wait() })
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn) // until it is closed
			})
		}
	})
	return listener.Addr().String()
}

// end is the client's end of a connection through a cable.
type end struct {
	t *testing.T
	net.Conn
}

func plug(t *testing.T, c *relaytest.Cable) end {
	t.Helper()
	conn, err := net.Dial("tcp", c.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return end{t, conn}
}

func (e end) say(text string) {
	e.t.Helper()
	if _, err := e.Write([]byte(text)); err != nil {
		e.t.Fatal(err)
	}
}

// hear gives what comes within a time, as long as the text that is expected at most.
func (e end) hear(want string, within time.Duration) error {
	e.t.Helper()
	if err := e.SetReadDeadline(time.Now().Add(within)); err != nil {
		e.t.Fatal(err)
	}
	data := make([]byte, len(want))
	n, err := io.ReadFull(e, data)
	if got := string(data[:n]); err == nil && got != want {
		e.t.Fatalf("%q came, want %q", got, want)
	} else if n > 0 && err != nil {
		e.t.Fatalf("%q came and then %v, want %q", got, err, want)
	}
	return err
}

// silent checks that nothing comes, and that the connection is not closed either.
func (e end) silent() {
	e.t.Helper()
	var timeout net.Error
	if err := e.hear("x", still); !errors.As(err, &timeout) || !timeout.Timeout() {
		e.t.Fatalf("instead of silence there was %v", err)
	}
}

// closed checks that the other end was closed, and nothing came before.
func (e end) closed() {
	e.t.Helper()
	var timeout net.Error
	if err := e.hear("x", soon); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		e.t.Fatalf("the connection was not closed, but %v", err)
	}
}

func (e end) hears(want string) {
	e.t.Helper()
	if err := e.hear(want, soon); err != nil {
		e.t.Fatalf("%q did not come: %v", want, err)
	}
}

// ways has something tried with each way of holding a cable.
func ways(t *testing.T, do func(t *testing.T, ways []relaytest.Way)) {
	for name, held := range map[string][]relaytest.Way{
		"both ways": nil, "to the bus": {relaytest.ToBus}, "from the bus": {relaytest.FromBus},
	} {
		t.Run(name, func(t *testing.T) { do(t, held) })
	}
}

func TestWhatIsHeldComesLate(t *testing.T) {
	ways(t, func(t *testing.T, ways []relaytest.Way) {
		c := relaytest.NewCable(t, echo(t))
		e := plug(t, c)
		e.say("before")
		e.hears("before")
		c.Hold(ways...)
		e.say("meanwhile")
		e.silent()
		c.Release()
		e.hears("meanwhile")
	})
}

func TestWhatIsDroppedIsLostWithItsConnection(t *testing.T) {
	ways(t, func(t *testing.T, ways []relaytest.Way) {
		c := relaytest.NewCable(t, echo(t))
		e, idle := plug(t, c), plug(t, c)
		e.say("before")
		e.hears("before")
		idle.say("before")
		idle.hears("before")
		c.Drop(ways...)
		e.say("meanwhile")
		e.silent()
		c.Release()
		e.closed()
		idle.say("after")
		idle.hears("after")
		plug(t, c).say("anew")
	})
}

func TestNobodyHearsThroughACutThatTheOtherEndIsClosed(t *testing.T) {
	for name, cut := range map[string]func(*relaytest.Cable){
		"held":    func(c *relaytest.Cable) { c.Hold() },
		"dropped": func(c *relaytest.Cable) { c.Drop() },
	} {
		t.Run(name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			c := relaytest.NewCable(t, listener.Addr().String())
			e := plug(t, c)
			far, err := listener.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer far.Close()
			cut(c)
			if err := far.Close(); err != nil {
				t.Fatal(err)
			}
			e.silent()
			c.Release()
			e.closed()
		})
	}
}

func TestAConnectionDoesNotGetThroughACut(t *testing.T) {
	for name, cut := range map[string]func(*relaytest.Cable){
		"held":    func(c *relaytest.Cable) { c.Hold(relaytest.ToBus) },
		"dropped": func(c *relaytest.Cable) { c.Drop(relaytest.ToBus) },
	} {
		t.Run(name, func(t *testing.T) {
			c := relaytest.NewCable(t, echo(t))
			cut(c)
			e := plug(t, c)
			e.say("hello")
			e.silent()
			c.Release()
			if name == "held" {
				e.hears("hello")
			} else {
				e.closed()
			}
		})
	}
}

func TestAnUnpluggedCableRefuses(t *testing.T) {
	c := relaytest.NewCable(t, echo(t))
	e := plug(t, c)
	e.say("before")
	e.hears("before")
	c.Unplug()
	e.closed()
	plug(t, c).closed()
	c.Release()
	e = plug(t, c)
	e.say("after")
	e.hears("after")
}

func TestWhatGoesThroughALongCableComesLate(t *testing.T) {
	c := relaytest.NewCable(t, echo(t))
	e := plug(t, c)
	const trip = 50 * time.Millisecond
	c.Delay(trip)
	begun := time.Now()
	for n := range 20 {
		e.say(strconv.Itoa(n % 10))
	}
	e.hears(strings.Repeat("0123456789", 2))
	if took := time.Since(begun); took < 2*trip {
		t.Errorf("there and back took %s, want %s at least", took, 2*trip)
	}
}

package relay

import (
	"bufio"
	"bytes"
	"net"
)

// greeting is the beginning of a connection, as a server that is far away needs it. After its
// INFO it waits for CONNECT, and meanwhile sends the PINGs by which it finds clients that are
// cut off; the client takes one that comes before its first PONG for a fault. So they are
// answered here. As soon as anything else is said than in a greeting without TLS, all goes
// through as it is.
type greeting struct {
	net.Conn
	lines    *bufio.Reader
	informed bool   // the server has said INFO
	over     bool   // from now on all goes through as it is
	rest     []byte // of a line that was read
}

func newGreeting(conn net.Conn) *greeting {
	return &greeting{Conn: conn, lines: bufio.NewReader(conn)}
}

// Read gives what the server says, line by line until the greeting is over.
func (g *greeting) Read(p []byte) (int, error) {
	for len(g.rest) == 0 {
		if g.over {
			return g.lines.Read(p)
		}
		if err := g.next(); err != nil && len(g.rest) == 0 {
			return 0, err
		}
	}
	n := copy(p, g.rest)
	g.rest = g.rest[n:]
	return n, nil
}

// next takes the next line.
func (g *greeting) next() error {
	line, err := g.lines.ReadBytes('\n')
	switch word := bytes.TrimSpace(line); {
	case g.informed && string(word) == "PING":
		_, err = g.Conn.Write([]byte("PONG\r\n"))
		return err
	case bytes.HasPrefix(word, []byte("INFO ")):
		g.informed = true
	default:
		g.over = true
	}
	g.rest = line
	return err
}

// Write hands on what the client says. Unless that is CONNECT, once the server has said who it
// is, it is no greeting that is known here.
func (g *greeting) Write(p []byte) (int, error) {
	if !g.over && !(g.informed && (bytes.HasPrefix(p, []byte("CONNECT ")) || bytes.HasPrefix(p, []byte("PING")))) {
		g.over = true
	}
	return g.Conn.Write(p)
}

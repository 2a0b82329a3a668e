package relay

import (
	"io"
	"net"
	"testing"
)

// A conversation is what the server (S) and the client (C) say, in this order; each is sent only
// when the other side has heard all that came before. P is a PONG that the client has not said.
func TestAGreetingIsAnsweredWhileItLasts(t *testing.T) {
	for name, said := range map[string][]struct{ who, text string }{
		"at once": {
			{"S", "INFO {}\r\n"}, {"C", "CONNECT {}\r\n"}, {"C", "PING\r\n"}, {"S", "PONG\r\n"},
			{"C", "SUB a 1\r\n"}, {"S", "PING\r\n"}, {"C", "PONG\r\n"},
		},
		"a PING comes before the PONG": {
			{"S", "INFO {}\r\n"}, {"C", "CONNECT {}\r\n"}, {"C", "PING\r\n"}, {"P", "PING\r\n"}, {"P", "PING\r\n"}, {"S", "PONG\r\n"},
			{"S", "PING\r\n"}, {"C", "PONG\r\n"},
		},
		"a refusal": {{"S", "INFO {}\r\n"}, {"C", "CONNECT {}\r\n"}, {"S", "-ERR 'Authorization Violation'\r\n"}},
		"TLS": {
			{"S", "INFO {\"tls_required\":true}\r\n"}, {"C", "\x16\x03\x01CONNECT"}, {"S", "\x16\x03\x03PING\n"}, {"S", "PING\r\n"}, {"S", "no line"},
		},
		"TLS first":   {{"C", "\x16\x03\x01"}, {"S", "no line"}, {"S", "INFO {}\r\n"}, {"C", "CONNECT {}\r\n"}, {"S", "PING\r\n"}},
		"a WebSocket": {{"C", "GET / HTTP/1.1\r\n\r\n"}, {"S", "HTTP/1.1 101\r\n\r\n"}, {"S", "PING\r\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			near, server := net.Pipe()
			defer near.Close()
			defer server.Close()
			client := newGreeting(near)
			for _, s := range said {
				switch s.who {
				case "C":
					hand(t, client, server, s.text)
				case "S":
					hand(t, server, client, s.text)
				case "P":
					heard := make(chan string, 1)
					go func() {
						_, _ = io.WriteString(server, s.text)
						heard <- hear(server, len("PONG\r\n"))
					}()
					// The client reads what comes next.
					go func() { _ = client.next() }()
					if got := <-heard; got != "PONG\r\n" {
						t.Fatalf("the server hears %q", got)
					}
				}
			}
		})
	}
}

// hand has one side say something, and checks that the other hears it.
func hand(t *testing.T, from io.Writer, to io.Reader, text string) {
	t.Helper()
	go func() { _, _ = io.WriteString(from, text) }()
	if got := hear(to, len(text)); got != text {
		t.Fatalf("said was %q, heard %q", text, got)
	}
}

func hear(from io.Reader, bytes int) string {
	data := make([]byte, bytes)
	n, _ := io.ReadFull(from, data)
	return string(data[:n])
}

package relay_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

type connecting struct {
	relay *relay.Relay
	err   error
}

func connect(ctx context.Context, c relay.Config) <-chan connecting {
	done := make(chan connecting, 1)
	go func() {
		r, err := relay.Connect(ctx, c)
		done <- connecting{r, err}
	}()
	return done
}

func TestConnectWaitsForTheBus(t *testing.T) {
	data := t.TempDir()
	first := startServer(t, data, "")
	stopServer(t, first)
	book, log := newLogbook(t)
	done := connect(within(t, patience), relay.Config{URL: first.URL(), Logger: log})
	book.await("waiting for the bus")
	startServer(t, data, address(first))
	c := receive(t, done, "the connection")
	must(t, c.err)
	defer c.relay.Close()
	if _, err := ask(t, c.relay, "todos.say"); !errors.Is(err, relay.ErrNobodyListens) {
		t.Errorf("error %v", err)
	}
}

func TestConnectEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	book, log := newLogbook(t)
	done := connect(ctx, relay.Config{URL: "nats://secret:word@127.0.0.1:1", Logger: log})
	book.await("waiting for the bus")
	cancel()
	err := receive(t, done, "the error").err
	if !errors.Is(err, context.Canceled) || !strings.HasPrefix(err.Error(), "connect to nats://xxxxx@127.0.0.1:1: ") {
		t.Errorf("error %v", err)
	}
	if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "word") {
		t.Errorf("the error tells the password: %v", err)
	}
}

func TestConnectInTheProcess(t *testing.T) {
	s := startServer(t, t.TempDir(), "")
	r, err := relay.Connect(within(t, patience), relay.Config{Server: s, URL: "not used"})
	must(t, err)
	defer r.Close()
	if _, err := ask(t, r, "todos.say"); !errors.Is(err, relay.ErrNobodyListens) {
		t.Errorf("error %v", err)
	}
}

func TestTheEnvironmentSaysWhereTheBusIs(t *testing.T) {
	t.Setenv(relay.EnvURL, "nats://bus:4222")
	t.Setenv(relay.EnvCredentials, "/etc/creds")
	if c := relay.FromEnvironment(); c.URL != "nats://bus:4222" || c.Credentials != "/etc/creds" {
		t.Errorf("config %+v", c)
	}
}

func TestWhatCanNeverConnectIsRefused(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "creds")
	for name, tt := range map[string]struct {
		config relay.Config
		says   string
	}{
		"a URL that is none":      {relay.Config{URL: "nats://user:se/cret@host:4222"}, "connect to (unreadable URL): the URL cannot be read: write nats://HOST:PORT"},
		"a URL with a bad escape": {relay.Config{URL: "nats://user:se%cret@host:4222"}, "connect to (unreadable URL): the URL cannot be read: write nats://HOST:PORT"},
		"no credentials":          {relay.Config{URL: "nats://127.0.0.1:1", Credentials: missing}, "connect to nats://127.0.0.1:1: credentials: stat " + missing},
	} {
		c := receive(t, connect(within(t, patience), tt.config), name)
		if c.err == nil || !strings.HasPrefix(c.err.Error(), tt.says) || strings.Contains(c.err.Error(), "cret") {
			t.Errorf("%s: %v, want %s", name, c.err, tt.says)
		}
	}
}

// A server restarts: the service must be back by itself, with the route as it is then.
func TestAServiceOutlivesARestartOfTheServer(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	server := startServer(t, data, "")
	fixed := address(server)
	r, err := relay.Connect(within(t, patience), relay.Config{URL: server.URL()})
	must(t, err)
	defer r.Close()
	confirmed := listenToConfirmations(t, r, "todos")
	book, log := newLogbook(t)
	service, err := relay.Connect(within(t, patience), relay.Config{URL: server.URL(), Logger: log})
	must(t, err)
	defer service.Close()
	it := serve(t, service, says("todos", "0.0.1", "here"))
	confirmed.await(route(t, r, "todos", "0.0.1 online"), protocol.StateOnline)

	for _, state := range []protocol.VersionState{protocol.StateOffline, protocol.StateOnline} {
		stopServer(t, server)
		book.await("bus lost")
		revision := changeElsewhere(t, data, "todos", "0.0.1 "+string(state))
		server = startServer(t, data, fixed)
		book.await("bus found again")
		confirmed.await(revision, state)
		answer, err := ask(t, r, "todos.say")
		if state == protocol.StateOnline && (answer != "here" || err != nil) {
			t.Errorf("online after a restart: %q, %v", answer, err)
		}
		if state == protocol.StateOffline && !errors.Is(err, relay.ErrNobodyListens) {
			t.Errorf("offline after a restart: %q, %v", answer, err)
		}
		if answer, err := ask(t, r, "todos.say", relay.ToVersion("0.0.1")); answer != "here" || err != nil {
			t.Errorf("privately after a restart: %q, %v", answer, err)
		}
	}
	confirmed.await(route(t, r, "todos", ""), protocol.StateOffline)
	it.stop()
	must(t, receive(t, it.ended, "the end of Serve"))
}

// changeElsewhere changes a route while those who follow it cannot reach the server.
func changeElsewhere(t *testing.T, data, service, versions string) uint64 {
	t.Helper()
	server := startServer(t, data, "")
	defer stopServer(t, server)
	r, err := relay.Connect(within(t, patience), relay.Config{URL: server.URL()})
	must(t, err)
	defer r.Close()
	return route(t, r, service, versions)
}

// The connection is lost and found so fast that nobody notices: changes of that time
// must be found all the same, and the watcher made anew.
func TestARouteIsReadAgainAfterTheBusWasLost(t *testing.T) {
	t.Parallel()
	bus := relaytest.Start(t)
	r := bus.Connect()
	confirmed := listenToConfirmations(t, r, "todos")
	cable := bus.Cable()
	it := serve(t, bus.ConnectTo(cable.URL()), says("todos", "0.0.1", "here"))
	confirmed.await(route(t, r, "todos", "0.0.1 online"), protocol.StateOnline)
	for range 3 {
		cable.Hold()
		revision := route(t, r, "todos", "")
		cable.Cut()
		cable.Release()
		confirmed.await(revision, protocol.StateOffline)
		confirmed.await(route(t, r, "todos", "0.0.1 online"), protocol.StateOnline)
		if answer, err := ask(t, r, "todos.say"); answer != "here" || err != nil {
			t.Errorf("answer %q, error %v", answer, err)
		}
	}
	it.stop()
	must(t, receive(t, it.ended, "the end of Serve"))
}

func TestDrainSendsWhatIsWaiting(t *testing.T) {
	bus := relaytest.Start(t)
	listener := bus.Connect()
	heard, err := listener.Conn().SubscribeSync("todos.add")
	must(t, err)
	must(t, listener.Conn().Flush())
	r := bus.Connect()
	for n := range 1000 {
		must(t, r.Send("todos.add", n))
	}
	must(t, r.Drain(t.Context()))
	for n := range 1000 {
		m, err := heard.NextMsg(patience)
		if err != nil || string(m.Data) != fmt.Sprint(n) {
			t.Fatalf("message %d: %v, error %v", n, m, err)
		}
	}
	if err := r.Send("todos.add", nil); !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("after Drain: %v", err)
	}
	must(t, r.Drain(t.Context()))
}

func TestDrainEndsWithItsContext(t *testing.T) {
	bus := relaytest.Start(t)
	cable := bus.Cable()
	r := bus.ConnectTo(cable.URL())
	cable.Hold()
	must(t, r.Send("todos.add", nil))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := r.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	if !r.Conn().IsClosed() {
		t.Error("the connection is still there")
	}
}

func TestOurOwnCloseIsNoLoss(t *testing.T) {
	bus := relaytest.Start(t)
	book, log := newLogbook(t)
	closed := make(chan struct{})
	r, err := relay.Connect(within(t, patience), relay.Config{URL: bus.URL(), Logger: log})
	must(t, err)
	r.Conn().SetClosedHandler(func(*nats.Conn) { close(closed) }) // called after the handler of the loss
	r.Close()
	receive(t, closed, "the end of the connection")
	if lines := book.all(); len(lines) > 0 {
		t.Errorf("it logged %q", lines)
	}
}

// pretender is a server that only greets; what it says to a CONNECT is up to the test.
type pretender struct {
	listener net.Listener
	info     string
	running  sync.WaitGroup

	mu     sync.Mutex
	refuse int // so many of the next connections
	conns  []net.Conn
}

func pretend(t *testing.T, info string, refuse int) *pretender {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p := &pretender{listener: listener, info: info, refuse: refuse}
	p.running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			p.running.Go(func() { p.greet(conn, p.next(conn)) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		p.hangUp()
		p.running.Wait()
	})
	return p
}

func (p *pretender) url() string { return "nats://" + p.listener.Addr().String() }

func (p *pretender) next(conn net.Conn) (refused bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns = append(p.conns, conn)
	p.refuse--
	return p.refuse >= 0
}

// hangUp ends all connections.
func (p *pretender) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range p.conns {
		_ = conn.Close()
	}
}

func (p *pretender) greet(conn net.Conn, refused bool) {
	defer conn.Close()
	fmt.Fprintf(conn, "INFO {%s}\r\n", p.info)
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		switch {
		case strings.HasPrefix(lines.Text(), "CONNECT") && refused:
			fmt.Fprint(conn, "-ERR 'Authorization Violation'\r\n")
			return
		case lines.Text() == "PING":
			fmt.Fprint(conn, "PONG\r\n")
		}
	}
}

const goodServer = `"server_name":"n1","version":"2.15.3","headers":true,"max_payload":1048576`

func TestAServerThatIsNotGoodEnoughIsRefused(t *testing.T) {
	for info, why := range map[string]string{
		`"server_name":"n1","version":"2.14.9","headers":true,"jetstream":true`: "server n1 is nats-server 2.14.9, at least 2.15.3 is needed: older ones sync, schedule or restore differently",
		`"server_name":"n1","version":"dev","headers":true,"jetstream":true`:    `server n1 tells no version that can be read: "dev"`,
	} {
		p := pretend(t, info, 0)
		c := receive(t, connect(within(t, patience), relay.Config{URL: p.url()}), why)
		if want := "connect to " + p.url() + ": " + why; c.err == nil || c.err.Error() != want {
			t.Errorf("error %v, want %s", c.err, want)
		}
	}
}

func TestAServerThatRefusesUsIsToldAtOnce(t *testing.T) {
	p := pretend(t, goodServer, 1_000_000)
	c := receive(t, connect(within(t, patience), relay.Config{URL: p.url()}), "the refusal")
	if !errors.Is(c.err, nats.ErrAuthorization) || !strings.Contains(c.err.Error(), "correct its user and password, or the credentials file that GOLIVE_NATS_CREDS names") {
		t.Errorf("error %v", c.err)
	}
}

func TestARefusalLaterOnIsWaitedOut(t *testing.T) {
	t.Parallel()
	p := pretend(t, goodServer, 0)
	book, log := newLogbook(t)
	r, err := relay.Connect(within(t, patience), relay.Config{URL: p.url(), Logger: log})
	must(t, err)
	defer r.Close()
	p.mu.Lock()
	p.refuse = 5
	p.mu.Unlock()
	p.hangUp()
	book.await("bus lost")
	book.await("bus found again")
}

package relay_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
)

// permissions is what the package's comment says that an instance needs, of a service
// todos that sends streams and of a service web that calls it; but responses expire much
// sooner, to show that streams outlive that.
const permissions = `
jetstream { store_dir: "DATA" }
responses: { max: 256, expires: "1s" }
authorization { users: [
  { user: admin, password: admin }
  { user: todos, password: todos, permissions: {
    publish: [
      "$KV.golive-leases.todos.>", "golive.confirm.todos.*", "golive.service.todos.>", "todos.>",
      "$JS.API.STREAM.INFO.KV_golive-routes", "$JS.API.STREAM.MSG.GET.KV_golive-routes",
      "$JS.API.CONSUMER.CREATE.KV_golive-routes.*.$KV.golive-routes.todos",
      "$JS.API.CONSUMER.DELETE.KV_golive-routes.*", "$JS.FC.KV_golive-routes.>" ]
    subscribe: [ "_INBOX.>", "golive.service.todos.> todos", "todos.> todos", "$SRV.>" ]
    allow_responses: $responses } }
  { user: web, password: web, permissions: {
    publish: [ "todos.>" ]
    subscribe: [ "_INBOX.>" ]
    allow_responses: $responses } }
] }
`

// startGuarded starts a server with these permissions, and gives the URL of each user.
func startGuarded(t *testing.T) (url func(user string) string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "nats-server.conf")
	must(t, os.WriteFile(file, []byte(strings.Replace(permissions, "DATA", t.TempDir(), 1)), 0o600))
	options, err := server.ProcessConfigFile(file)
	must(t, err)
	options.Host, options.Port, options.NoSigs, options.NoLog = "127.0.0.1", -1, true, true
	s, err := server.NewServer(options)
	must(t, err)
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(patience) {
		t.Fatal("the server did not start")
	}
	return func(user string) string {
		return "nats://" + user + ":" + user + "@" + s.Addr().String()
	}
}

// A stream goes on for longer, and with more messages, than responses are allowed for.
func TestStreamsNeedNoMorePermissions(t *testing.T) {
	t.Parallel()
	const batches = 1000
	url := startGuarded(t)
	confirmed := listenToConfirmations(t, connectTo(t, url("admin")), "todos")
	book, log := newLogbook(t)
	connect := func(user string) *relay.Relay {
		r, err := relay.Connect(within(t, patience), relay.Config{URL: url(user), Logger: log})
		must(t, err)
		t.Cleanup(r.Close)
		r.SetPulse(100 * time.Millisecond)
		return r
	}
	payload := make([]byte, protocol.StreamBatch*3/4)
	it := serve(t, connect("todos"), streams("0.0.1", func(_ context.Context, _ *relay.Message, out *relay.Sender) error {
		for i := range batches {
			if i%(batches/2) == 1 {
				<-time.After(1200 * time.Millisecond)
			}
			if err := out.Send(payload, strconv.Itoa(i)); err != nil {
				return err
			}
		}
		return nil
	}))
	confirmed.await(route(t, connectTo(t, url("admin")), "todos", "0.0.1 online"), protocol.StateOnline)
	n := 0
	for _, err := range connect("web").Stream(within(t, patience), "todos.list", nil) {
		must(t, err)
		n++
	}
	if n != batches {
		t.Errorf("%d records of %d", n, batches)
	}
	for _, line := range book.all() {
		if line == "bus error" {
			t.Error("something was not permitted")
		}
	}
	it.stop()
	must(t, receive(t, it.ended, "the end of Serve"))
}

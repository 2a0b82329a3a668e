package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay/protocol"
)

// attack is one row of the table in README.md, What a user cannot do. ROLLOUT stands for one that
// has ended.
type attack struct {
	what, user string
	subject    string // that it publishes on, or subscribes with listens
	reply      string
	header     nats.Header
	data       string
	listens    bool
}

// refusedAttacks are those that the server refuses.
var refusedAttacks = []attack{
	{what: "answer for another script", user: "search", subject: "deployment-search-1.0.0-offline-done"},
	{what: "answer for another script", user: "search-setup", subject: "deployment-stock-1.0.0-offline-done"},
	{what: "answer for another script", user: "search-setup", subject: "golive.answer.ROLLOUT.3.1.do"},
	{what: "say that an app is set up", user: "search-setup", subject: "shop-1.0.0-set-up"},
	{what: "start a script", user: "stock", subject: "deployment-search-1.0.0-offline-start"},
	{what: "write an event", user: "search-setup", subject: "golive.rollout.shop.ROLLOUT", data: "{}"},
	{what: "write an event", user: "ann", subject: "golive.rollout.shop.ROLLOUT", data: "{}"},
	{what: "empty the journal", user: "stock", subject: "golive.rollout.shop.ROLLOUT", header: nats.Header{"Nats-Rollup": {"all"}}},
	{what: "empty the journal", user: "ann", subject: "$JS.API.STREAM.PURGE.GOLIVE"},
	{what: "delete an event", user: "agent-web-1", subject: "$JS.API.STREAM.MSG.DELETE.GOLIVE", data: `{"seq":1}`},
	{what: "delete a stream", user: "stock", subject: "$JS.API.STREAM.DELETE.KV_stock"},
	{what: "make a stream that republishes", user: "stock", subject: "$JS.API.STREAM.CREATE.OWN", data: `{"name":"OWN"}`},
	{what: "change a stream", user: "stock", subject: "$JS.API.STREAM.UPDATE.KV_stock"},
	{what: "write a route", user: "stock", subject: "$KV.golive-routes.stock"},
	{what: "hint at a route", user: "search", subject: "golive.route.stock"},
	{what: "keep another service alive", user: "stock", subject: "$KV.golive-leases.search.1_0_0.x"},
	{what: "confirm for another service", user: "stock", subject: "golive.confirm.search.x"},
	{what: "answer for another service", user: "stock", subject: "search.add", listens: true},
	{what: "claim another script", user: "search-setup", subject: "$KV.golive-claims.ROLLOUT.stock.offline.1.do"},
	{what: "write another's checkpoint", user: "search-setup", subject: "$KV.golive-checkpoints.ROLLOUT.stock.offline.do"},
	{what: "deliver a route to the API", user: "stock", subject: "$JS.API.CONSUMER.CREATE.KV_golive-routes.x"},
	{what: "deliver an event to the API", user: "obs", subject: "$JS.API.CONSUMER.CREATE.GOLIVE.x"},
	{what: "remove others' consumers", user: "stock", subject: "$JS.API.CONSUMER.DELETE.KV_golive-routes.x"},
	{what: "approve as somebody else", user: "agent-web-1", subject: "golive.api.approve.ann"},
	{what: "approve as somebody else", user: "ann", subject: "golive.api.approve.bob"},
	{what: "approve as nobody", user: "ann", subject: "golive.api.approve"},
	{what: "approve", user: "ci", subject: "golive.api.approve.ci"},
	{what: "abort", user: "ci", subject: "golive.api.abort.ci"},
	{what: "abort", user: "obs", subject: "golive.api.abort.obs"},
	{what: "deploy", user: "stock", subject: "golive.api.deploy"},
	{what: "read records that were put aside", user: "obs", subject: "golive.api.records"},
	{what: "read a snapshot", user: "ci", subject: "golive.api.snapshot-read"},
	{what: "report for another agent", user: "agent-web-1", subject: "$KV.golive-hosts.ROLLOUT.4.do.web-2"},
	{what: "order an agent", user: "agent-web-1", subject: "golive.agent.web-2.run"},
	{what: "read others' answers", user: "obs", subject: "_INBOX.>", listens: true},
	{what: "read others' answers", user: "search", subject: "_INBOX.ann.>", listens: true},
	{what: "answer in place of orchestrators", user: "search", subject: "golive.api.status", listens: true},
	{what: "hear what is stored", user: "stock", subject: "$KV.>", listens: true},
}

// raw is a connection of a user that is not golive's.
func (b *sharedBus) raw(user string) *nats.Conn {
	b.t.Helper()
	r := b.connect(user)
	return r.Conn()
}

// awaitRefusal waits until the server has refused a subject.
func (b *sharedBus) awaitRefusal(subject string) bool {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		for _, text := range b.refused.taken() {
			if strings.Contains(text, `"`+subject) {
				return true
			}
		}
		<-time.After(time.Millisecond)
	}
	return false
}

// do makes the attack, and waits until the server knows of it.
func (a attack) do(t *testing.T, nc *nats.Conn, rollout string) (subject string) {
	t.Helper()
	subject = strings.ReplaceAll(a.subject, "ROLLOUT", rollout)
	var err error
	if a.listens {
		_, err = nc.SubscribeSync(subject)
	} else {
		err = nc.PublishMsg(&nats.Msg{Subject: subject, Reply: strings.ReplaceAll(a.reply, "ROLLOUT", rollout), Header: a.header, Data: []byte(strings.ReplaceAll(a.data, "ROLLOUT", rollout))})
	}
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return subject
}

// What golive bus config gives to a role is no way to do another's work. README.md has the table.
func TestAttacksOnASharedBus(t *testing.T) {
	t.Parallel()
	b, id := newLiveShop(t)
	connections := make(map[string]*nats.Conn)
	as := func(user string) *nats.Conn {
		if connections[user] == nil {
			connections[user] = b.raw(user)
		}
		return connections[user]
	}
	for _, a := range refusedAttacks {
		if subject := a.do(t, as(a.user), id); !b.awaitRefusal(subject) {
			t.Errorf("%s: %s may use %s", a.what, a.user, subject)
		}
	}
	before := b.mustRun("ann", "history", "-o", "json")
	b.fruitless(id, as)
	for _, reply := range []string{
		"golive.rollout.shop.ROLLOUT", "$KV.golive-routes.stock", "golive.answer.ROLLOUT.3.1.do", "golive.api.abort.ann",
		"golive.confirm.stock.x", "golive.route.stock", "deployment-search-1.0.0-offline-start", "$KV.golive-leases.stock.1_0_0.x",
		"$KV.golive-claims.ROLLOUT.search.offline.1.do", "golive.hello", "golive.agent.web-1.run",
	} {
		get := attack{user: "search", subject: "$JS.API.STREAM.MSG.GET.KV_golive-routes", reply: reply, data: `{"last_by_subj":"$KV.golive-routes.search"}`}
		get.do(t, as("search"), id)
	}
	if after := b.mustRun("ann", "history", "-o", "json"); after != before {
		t.Errorf("history was\n%s and is\n%s", before, after)
	}
	if m, err := as("search").Request("stock.count", nil, 20*time.Second); err != nil || string(m.Data) != "100" {
		t.Errorf("stock answers %v, %v", m, err)
	}
	if routes := b.mustRun("ann", "routes"); strings.Count(routes, "online") != 2 {
		t.Errorf("routes are\n%s", routes)
	}
	b.serve("2.0.0")
	b.deploy("2.0.0") // all goes on
}

// fruitless are attacks that the server cannot refuse, and that change nothing.
func (b *sharedBus) fruitless(id string, as func(user string) *nats.Conn) {
	b.t.Helper()
	js, err := jetstream.New(as("orchestrator"))
	if err != nil {
		b.t.Fatal(err)
	}
	last := func(stream string) uint64 {
		s, err := js.Stream(b.t.Context(), stream)
		if err != nil {
			b.t.Fatal(err)
		}
		return s.CachedInfo().State.LastSeq
	}
	journal, routes := last(protocol.Stream), last("KV_"+protocol.RoutesBucket)
	for _, a := range []attack{
		{what: "have the orchestrator write an event", user: "obs", subject: "golive.api.show.obs", reply: "golive.rollout.shop.ROLLOUT", data: `{"rollout":"ROLLOUT"}`},
		{what: "have the orchestrator write a route", user: "obs", subject: "golive.api.routes", reply: "$KV.golive-routes.stock", data: `{}`},
		{what: "have the orchestrator answer for a script", user: "obs", subject: "golive.api.status", reply: "deployment-search-1.0.0-offline-done", data: `{}`},
		{what: "have a service write a route", user: "search", subject: "stock.count", reply: "$KV.golive-routes.stock"},
		{what: "have a service write an event", user: "search", subject: "stock.count", reply: "golive.rollout.shop.ROLLOUT"},
	} {
		a.do(b.t, as(a.user), id)
	}
	b.mustRun("ann", "status") // behind them
	if j, r := last(protocol.Stream), last("KV_"+protocol.RoutesBucket); j != journal || r != routes {
		b.t.Errorf("the journal went from %d to %d, routes from %d to %d", journal, j, routes, r)
	}
	for _, text := range b.refused.taken() { // of a service whose rights did not reach for that
		if !strings.Contains(text, "golive-routes") && !strings.Contains(text, "golive.rollout") {
			b.t.Error("the server has refused:", text)
		}
	}
}

// The table of attacks in the README has each of those that are tested.
func TestTheTableOfAttacks(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range refusedAttacks {
		if !bytes.Contains(page, []byte("| "+a.what+" |")) {
			t.Errorf("README.md does not tell of %q", a.what)
		}
	}
}

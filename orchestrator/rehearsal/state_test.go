package rehearsal

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/snapshot"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/relaytest"
)

// A state is told from another one by what there is, and not by when or how often it was written.
func TestAStateIsComparedByName(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	nc := relaytest.Start(t).Connect().Conn()
	ours, err := bus.NewJetStream(nc)
	must(t, err)
	js, err := jetstream.New(nc)
	must(t, err)
	kv, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "todos", History: 5})
	must(t, err)
	stream, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}})
	must(t, err)
	store, err := js.CreateObjectStore(ctx, jetstream.ObjectStoreConfig{Bucket: "images"})
	must(t, err)
	parts := []snapshot.Part{
		{Kind: snapshot.KindStream, Name: "ORDERS"}, {Kind: snapshot.KindKV, Name: "todos"}, {Kind: snapshot.KindObjects, Name: "images"}, {Kind: snapshot.KindKV, Name: "none"},
	}
	see := func() State {
		t.Helper()
		s, err := Look(ctx, ours, parts)
		must(t, err)
		return s
	}
	put := func(key, value string) {
		t.Helper()
		_, err := kv.PutString(ctx, key, value)
		must(t, err)
	}
	publish := func(subject string) {
		t.Helper()
		_, err := js.Publish(ctx, subject, []byte(subject))
		must(t, err)
	}
	object := func(text string) {
		t.Helper()
		_, err := store.PutString(ctx, "logo", text)
		must(t, err)
	}
	empty := see()
	for i := range 6 {
		put(fmt.Sprintf("k%d", i), "as it was")
	}
	publish("orders.1")
	publish("orders.2")
	object("a picture")
	before := see()
	if empty.Digest == before.Digest || !slices.Equal(before.Differences(empty), []string{"bucket todos holds 6, and held nothing", "object store images holds 1, and held nothing", "stream ORDERS holds 2, and held nothing"}) {
		t.Errorf("from nothing it is %q", before.Differences(empty))
	}

	for i := range 6 {
		put(fmt.Sprintf("k%d", i), "changed")
	}
	put("k9", "new")
	must(t, kv.Delete(ctx, "k0"))
	publish("orders.3")
	object("another one")
	after := see()
	want := []string{
		"bucket todos: k0 is gone", "bucket todos: k1 is another one", "bucket todos: k2 is another one", "bucket todos: and 4 more",
		"object store images: logo is another one", "stream ORDERS: a message is new, from sequence 3 (orders.3) on",
	}
	slices.Sort(want)
	got := after.Differences(before)
	slices.Sort(got)
	if !slices.Equal(got, want) || after.Digest == before.Digest {
		t.Errorf("the differences are\n%s", strings.Join(got, "\n"))
	}

	for i := range 6 {
		put(fmt.Sprintf("k%d", i), "as it was")
	}
	must(t, kv.Purge(ctx, "k9"))
	must(t, stream.DeleteMsg(ctx, 3))
	object("a picture")
	if back := see(); back.Digest != before.Digest || len(back.Differences(before)) > 0 {
		t.Errorf("back it is not the same: %q", back.Differences(before))
	}
	must(t, stream.DeleteMsg(ctx, 1))
	if got := see().Differences(before); !slices.Equal(got, []string{"stream ORDERS: the message at sequence 2 (orders.2) is not the one that was at 1 (orders.1)"}) {
		t.Errorf("without the first one: %q", got)
	}
}

// Of what has more keys than are kept, it is known that it differs.
func TestAStateOfManyKeysDiffers(t *testing.T) {
	var one, same, other partState
	for n, s := range map[int]*partState{0: &one, 1: &same, 2: &other} {
		s.last = make(map[string]uint64)
		for i := range MaxNamed + 2 {
			body := ""
			if n == 2 && i == MaxNamed+1 {
				body = "another one"
			}
			s.add(snapshot.KindKV, snapshot.Message{Subject: fmt.Sprintf("$KV.b.%d", i), Sequence: uint64(i + 1), Body: []byte(body)})
		}
	}
	if one.sum() != same.sum() || one.sum() == other.sum() || one.messages != MaxNamed+2 {
		t.Errorf("their digests are %x, %x and %x, of %d", one.sum(), same.sum(), other.sum(), one.messages)
	}
	if got := other.differs(&one); len(got) != 1 || !strings.Contains(got[0], "too many") {
		t.Errorf("it is told %q", got)
	}
}

func TestThePartsThatAreCompared(t *testing.T) {
	s := snapshot.Snapshot{Services: []snapshot.Service{{Parts: []snapshot.Part{{Kind: snapshot.KindKV, Name: "todos", Size: 5}, {Kind: "command"}}}}}
	r := rollout.Release{Services: []rollout.Service{{State: &rollout.Data{KV: []string{"todos", "new"}}}}}
	got := PartsOf(s, r)
	if len(got) != 2 || got[0].Name != "todos" || got[1].Name != "new" {
		t.Errorf("they are %+v", got)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

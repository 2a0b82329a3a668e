package snapshot_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/snapshot"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/relaytest"
)

// patience is how long a test waits for what must happen.
const patience = time.Minute

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// world is a bus with JetStream, as tests use it.
type world struct {
	testing.TB
	nc  *nats.Conn
	js  jetstream.JetStream
	bus bus.JetStream
	ctx context.Context
}

func start(t testing.TB) *world {
	t.Helper()
	return on(t, relaytest.Start(t))
}

// on is a connection to a bus.
func on(t testing.TB, server *relaytest.Bus) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	nc := server.Connect().Conn()
	js, err := jetstream.New(nc)
	must(t, err)
	asked, err := bus.NewJetStream(nc)
	must(t, err)
	return &world{TB: t, nc: nc, js: js, bus: asked, ctx: ctx}
}

// stream makes a stream with n messages on name.0, name.1 and name.2.
func (w *world) stream(c jetstream.StreamConfig, n int) jetstream.Stream {
	w.Helper()
	s, err := w.js.CreateStream(w.ctx, c)
	must(w, err)
	for i := range n {
		m := nats.NewMsg(strings.ReplaceAll(c.Subjects[0], ">", fmt.Sprint(i%3)))
		m.Data = fmt.Appendf(nil, `{"n":%d,"text":"some text"}`, i)
		m.Header.Set("Kind", "test")
		_, err := w.js.PublishMsg(w.ctx, m)
		must(w, err)
	}
	return s
}

func (w *world) take(name string) ([]byte, snapshot.Taken) {
	w.Helper()
	var b bytes.Buffer
	taken, err := snapshot.Take(w.ctx, w.bus, name, &b)
	must(w, err)
	if taken.Size != int64(b.Len()) || taken.SHA256 == "" {
		w.Errorf("%d bytes were written, and it says %+v", b.Len(), taken)
	}
	return b.Bytes(), taken
}

func source(archive []byte, taken snapshot.Taken) snapshot.Source {
	return snapshot.Source{Config: taken.Config, Archive: func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(archive)), nil
	}}
}

func (w *world) exists(name string) bool {
	w.Helper()
	_, err := w.js.Stream(w.ctx, name)
	if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		w.Fatal(err)
	}
	return err == nil
}

func TestAStreamComesBackAsItWas(t *testing.T) {
	w := start(t)
	s := w.stream(jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}, Metadata: map[string]string{"of": "us"}}, 30)
	for _, gone := range []uint64{1, 7, 29, 30} {
		must(t, s.DeleteMsg(w.ctx, gone))
	}
	consumer, err := s.CreateConsumer(w.ctx, jetstream.ConsumerConfig{Durable: "c", AckPolicy: jetstream.AckExplicitPolicy})
	must(t, err)
	for range 3 {
		m, err := consumer.Next()
		must(t, err)
		must(t, m.DoubleAck(w.ctx))
	}
	archive, taken := w.take("S")
	content, err := snapshot.Read(bytes.NewReader(archive))
	must(t, err)
	if content.Messages != 26 || content.Last != 28 || content.State.Last != 30 || content.State.First != 2 || taken.State.Last != 30 {
		t.Errorf("the archive holds %+v of %+v", content, taken.State)
	}
	if _, err := snapshot.Put(w.ctx, w.bus, source(archive, taken)); !errors.Is(err, snapshot.ErrExists) {
		t.Errorf("a stream that is there: %v", err)
	}
	if !w.exists("S") {
		t.Fatal("the stream that was there is gone")
	}
	must(t, w.js.DeleteStream(w.ctx, "S"))
	put, err := snapshot.Put(w.ctx, w.bus, source(archive, taken))
	must(t, err)
	if put.Digest != content.Digest || put.Messages != 26 {
		t.Errorf("%+v was put back, want %+v", put, content)
	}
	again, _ := w.take("S")
	back, err := snapshot.Read(bytes.NewReader(again))
	must(t, err)
	if back.Digest != content.Digest || back.State.Last != 30 {
		t.Errorf("the stream is %+v, want %+v", back, content)
	}
	s, err = w.js.Stream(w.ctx, "S")
	must(t, err)
	if meta := s.CachedInfo().Config.Metadata; meta["of"] != "us" || meta["golive-put"] != "" {
		t.Errorf("its metadata is %v", meta)
	}
	info, err := s.Consumer(w.ctx, "c")
	must(t, err)
	if floor := info.CachedInfo().AckFloor.Stream; floor != 4 {
		t.Errorf("its consumer is at %d, want 4", floor)
	}
	ack, err := w.js.Publish(w.ctx, "s.0", nil)
	must(t, err)
	if ack.Sequence != 31 {
		t.Errorf("the next message is %d, want 31", ack.Sequence)
	}
}

func TestAStreamWithoutMessagesComesBack(t *testing.T) {
	for name, prepare := range map[string]func(*world, jetstream.Stream){
		"never had any": func(*world, jetstream.Stream) {},
		"was purged": func(w *world, s jetstream.Stream) {
			_, err := w.js.Publish(w.ctx, "e.1", nil)
			must(w, err)
			must(w, s.Purge(w.ctx))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t)
			s := w.stream(jetstream.StreamConfig{Name: "E", Subjects: []string{"e.>"}}, 0)
			prepare(w, s)
			before, err := s.Info(w.ctx)
			must(t, err)
			archive, taken := w.take("E")
			must(t, w.js.DeleteStream(w.ctx, "E"))
			_, err = snapshot.Put(w.ctx, w.bus, source(archive, taken))
			must(t, err)
			s, err = w.js.Stream(w.ctx, "E")
			must(t, err)
			if after := s.CachedInfo().State; after.LastSeq != before.State.LastSeq || after.Msgs != 0 {
				t.Errorf("it is at %+v, want %+v", after, before.State)
			}
		})
	}
}

func TestBucketsComeBack(t *testing.T) {
	w := start(t)
	kv, err := w.js.CreateKeyValue(w.ctx, jetstream.KeyValueConfig{Bucket: "k", History: 5})
	must(t, err)
	for i := range 4 {
		_, err := kv.Put(w.ctx, "a", fmt.Append(nil, i))
		must(t, err)
	}
	must(t, kv.Delete(w.ctx, "b"))
	objects, err := w.js.CreateObjectStore(w.ctx, jetstream.ObjectStoreConfig{Bucket: "o"})
	must(t, err)
	large := bytes.Repeat([]byte("0123456789abcdef"), 40_000)
	_, err = objects.PutBytes(w.ctx, "large", large)
	must(t, err)
	for _, name := range []string{"KV_k", "OBJ_o"} {
		archive, taken := w.take(name)
		must(t, w.js.DeleteStream(w.ctx, name))
		_, err := snapshot.Put(w.ctx, w.bus, source(archive, taken))
		must(t, err)
	}
	history, err := kv.History(w.ctx, "a")
	must(t, err)
	if len(history) != 4 || history[3].Revision() != 4 {
		t.Errorf("the history of a has %d revisions", len(history))
	}
	if _, err := kv.Update(w.ctx, "a", nil, 4); err != nil {
		t.Error(err)
	}
	got, err := objects.GetBytes(w.ctx, "large")
	must(t, err)
	if !bytes.Equal(got, large) {
		t.Error("the object has another content")
	}
}

func TestWhatExpiresMayBeGone(t *testing.T) {
	w := start(t)
	w.stream(jetstream.StreamConfig{Name: "T", Subjects: []string{"t.>"}, AllowMsgTTL: true}, 5)
	m := nats.NewMsg("t.short")
	m.Header.Set(jetstream.MsgTTLHeader, "1s")
	_, err := w.js.PublishMsg(w.ctx, m)
	must(t, err)
	archive, taken := w.take("T")
	must(t, w.js.DeleteStream(w.ctx, "T"))
	timer := time.NewTimer(1200 * time.Millisecond) // the time to live is what is waited for
	<-timer.C
	_, err = snapshot.Put(w.ctx, w.bus, source(archive, taken))
	must(t, err)
	s, err := w.js.Stream(w.ctx, "T")
	must(t, err)
	if is := s.CachedInfo().State; is.LastSeq != 6 || is.Msgs != 5 {
		t.Errorf("it is at %+v", is)
	}
}

func TestAMirrorIsRefusedAndSourcesAreNot(t *testing.T) {
	w := start(t)
	w.stream(jetstream.StreamConfig{Name: "A", Subjects: []string{"a.>"}}, 3)
	_, err := w.js.CreateStream(w.ctx, jetstream.StreamConfig{Name: "M", Mirror: &jetstream.StreamSource{Name: "A"}})
	must(t, err)
	if _, err := snapshot.Take(w.ctx, w.bus, "M", io.Discard); !errors.Is(err, snapshot.ErrMirror) {
		t.Errorf("a mirror: %v", err)
	}
	w.stream(jetstream.StreamConfig{Name: "B", Subjects: []string{"b.>"}, Sources: []*jetstream.StreamSource{{Name: "A"}}}, 2)
	s, err := w.js.Stream(w.ctx, "B")
	must(t, err)
	for s.CachedInfo().State.Msgs < 5 {
		_, err := s.Info(w.ctx)
		must(t, err)
	}
	archive, taken := w.take("B")
	must(t, w.js.DeleteStream(w.ctx, "B"))
	_, err = snapshot.Put(w.ctx, w.bus, source(archive, taken))
	must(t, err)
	_, err = w.js.Publish(w.ctx, "a.1", nil)
	must(t, err)
	s, err = w.js.Stream(w.ctx, "B")
	must(t, err)
	for s.CachedInfo().State.Msgs < 6 {
		_, err := s.Info(w.ctx)
		must(t, err)
	}
	if n := s.CachedInfo().State.Msgs; n != 6 {
		t.Errorf("%d messages, want 6: what was sourced comes once", n)
	}
}

func TestADamagedArchiveLeavesNothing(t *testing.T) {
	w := start(t)
	w.stream(jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}}, 300)
	archive, taken := w.take("S")
	must(t, w.js.DeleteStream(w.ctx, "S"))
	changed := bytes.Clone(archive)
	changed[len(changed)/2] ^= 1
	for name, damaged := range map[string][]byte{
		"empty":     {},
		"cut off":   archive[:len(archive)/2],
		"almost":    archive[:len(archive)-1],
		"changed":   changed,
		"too long":  append(bytes.Clone(archive), archive...),
		"not one":   []byte("this is no archive at all"),
		"its start": archive[:20],
	} {
		if _, err := snapshot.Read(bytes.NewReader(damaged)); !errors.Is(err, snapshot.ErrDamaged) {
			t.Errorf("%s: it is read: %v", name, err)
		}
		if _, err := snapshot.Put(w.ctx, w.bus, source(damaged, taken)); !errors.Is(err, snapshot.ErrDamaged) {
			t.Errorf("%s: it is put: %v", name, err)
		}
		if w.exists("S") {
			t.Fatalf("%s: a partial stream is left", name)
		}
	}
}

// TestWhatIsLeftOfAPutIsRemoved is about a process that has died while it put a stream back.
func TestWhatIsLeftOfAPutIsRemoved(t *testing.T) {
	w := start(t)
	w.stream(jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}}, 10)
	archive, taken := w.take("S")
	must(t, w.js.DeleteStream(w.ctx, "S"))
	w.stream(jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}, Metadata: map[string]string{"golive-put": "of one that died"}}, 3)
	put, err := snapshot.Put(w.ctx, w.bus, source(archive, taken))
	must(t, err)
	if put.Messages != 10 {
		t.Errorf("%+v was put back", put)
	}
}

func TestAPutThatIsEndedLeavesNothing(t *testing.T) {
	w := start(t)
	w.stream(jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}}, 200)
	archive, taken := w.take("S")
	must(t, w.js.DeleteStream(w.ctx, "S"))
	s := source(archive, taken)
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	s.Rewrite.Change = func(m *snapshot.Message) error {
		if m.Sequence == 150 {
			cancel()
		}
		return nil
	}
	if _, err := snapshot.Put(ctx, w.bus, s); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	if w.exists("S") {
		t.Error("a partial stream is left")
	}
}

// TestAPutMayDie cuts the one who puts a stream back off from the bus, at several moments, and has
// another one put it back.
func TestAPutMayDie(t *testing.T) {
	server := relaytest.Start(t)
	w := on(t, server)
	w.stream(jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}}, 300)
	archive, taken := w.take("S")
	must(t, w.js.DeleteStream(w.ctx, "S"))
	for _, at := range []uint64{1, 70, 299} {
		dying := on(t, server)
		s := source(archive, taken)
		s.Rewrite.Change = func(m *snapshot.Message) error {
			if m.Sequence == at {
				dying.nc.Close()
			}
			return nil
		}
		if _, err := snapshot.Put(dying.ctx, dying.bus, s); err == nil {
			t.Errorf("cut off at message %d, it ends well", at)
		}
		put, err := snapshot.Put(w.ctx, w.bus, source(archive, taken))
		must(t, err)
		if put.Messages != 300 {
			t.Errorf("after a death at message %d it is %+v", at, put)
		}
		must(t, w.js.DeleteStream(w.ctx, "S"))
	}
}

func TestAStreamIsRewrittenOnItsWay(t *testing.T) {
	w := start(t)
	s := w.stream(jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}, AllowMsgSchedules: true}, 12)
	_, err := s.CreateConsumer(w.ctx, jetstream.ConsumerConfig{Durable: "c"})
	must(t, err)
	later := nats.NewMsg("s.later")
	later.Header.Set("Nats-Schedule", "@at "+time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	later.Header.Set("Nats-Schedule-Target", "s.due")
	_, err = w.js.PublishMsg(w.ctx, later)
	must(t, err)
	archive, taken := w.take("S")
	must(t, w.js.DeleteStream(w.ctx, "S"))
	from := source(archive, taken)
	from.Rewrite = snapshot.Rewrite{Subjects: []string{"s.1", "s.2", "s.later"}, Last: 2, NoConsumers: true, NoSchedules: true,
		Change: func(m *snapshot.Message) error {
			m.Body = []byte(`{"masked":true, "this one is longer than it was": "yes"}`)
			return nil
		}}
	put, err := snapshot.Put(w.ctx, w.bus, from)
	must(t, err)
	if put.Messages != 4 || put.State.Last != 13 {
		t.Errorf("%+v was put back", put)
	}
	s, err = w.js.Stream(w.ctx, "S")
	must(t, err)
	for sequence, subject := range map[uint64]string{8: "s.1", 9: "s.2", 11: "s.1", 12: "s.2"} {
		m, err := s.GetMsg(w.ctx, sequence)
		must(t, err)
		if m.Subject != subject || !json.Valid(m.Data) || !bytes.Contains(m.Data, []byte("masked")) || m.Header.Get("Kind") != "test" {
			t.Errorf("message %d is %s %s", sequence, m.Subject, m.Data)
		}
	}
	if is := s.CachedInfo().State; is.Msgs != 4 || is.LastSeq != 13 || is.Consumers != 0 {
		t.Errorf("it is at %+v", is)
	}
}

func TestAStreamThatIsNotThereIsNoSnapshot(t *testing.T) {
	w := start(t)
	if _, err := snapshot.Take(w.ctx, w.bus, "NONE", io.Discard); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("it is %v", err)
	}
}

// full is a place with room for so many bytes.
type full int

func (f *full) Write(p []byte) (int, error) {
	if *f -= full(len(p)); *f < 0 {
		return 0, errors.New("no space left on device")
	}
	return len(p), nil
}

func TestATakeEndsWhereThereIsNoRoom(t *testing.T) {
	w := start(t)
	w.stream(jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}}, 300)
	room := full(100)
	if _, err := snapshot.Take(w.ctx, w.bus, "S", &room); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("it is %v", err)
	}
}

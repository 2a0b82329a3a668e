package snapshot_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/golive-dev/golive/orchestrator/snapshot"
)

// What is written as an archive is put back on the sequences that it names.
func TestAnArchiveIsWritten(t *testing.T) {
	w := start(t)
	var b bytes.Buffer
	must(t, snapshot.Write(&b, []snapshot.Message{
		{Subject: "$KV.routes.a", Sequence: 7, Time: 1, Body: []byte("one")}, {Subject: "$KV.routes.b", Sequence: 4711, Time: 2, Body: []byte("two")},
	}))
	content, err := snapshot.Read(bytes.NewReader(b.Bytes()))
	must(t, err)
	if content.Messages != 2 || content.Last != 4711 {
		t.Errorf("it holds %+v", content)
	}
	config := []byte(`{"name":"KV_routes","subjects":["$KV.routes.>"],"retention":"limits","storage":"file","max_msgs_per_subject":1,"num_replicas":1,"allow_rollup_hdrs":true,"allow_direct":true,"deny_delete":true,"discard":"new"}`)
	_, err = snapshot.Put(w.ctx, w.bus, snapshot.Source{Config: config, Archive: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil }})
	must(t, err)
	kv, err := w.js.KeyValue(w.ctx, "routes")
	must(t, err)
	for key, want := range map[string]uint64{"a": 7, "b": 4711} {
		entry, err := kv.Get(w.ctx, key)
		must(t, err)
		if entry.Revision() != want {
			t.Errorf("%s is on revision %d", key, entry.Revision())
		}
	}
	next, err := kv.Update(w.ctx, "a", []byte("three"), 7)
	must(t, err)
	if next != 4712 {
		t.Errorf("the next revision is %d", next)
	}
}

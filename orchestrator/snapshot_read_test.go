package orchestrator_test

import (
	"bytes"
	"testing"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/snapshot"
)

// An archive comes in pieces, each a request of its own, which only name what is in a snapshot;
// and it is told how far the streams are.
func TestAnArchiveIsHandedOut(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	ctx := t.Context()
	e.awaitStatus(e.deploy(stateful()), rollout.Completed)
	js := e.data(50)
	taken, err := e.snapshot("shop")
	e.must(err)
	q := api.ReadRequest{App: "shop", Snapshot: taken.ID, Service: "shop", Kind: snapshot.KindStream, Name: "DATA", Length: 100}
	q.Service = taken.Services[0].Name
	var archive []byte
	for {
		q.Offset = int64(len(archive))
		piece, err := e.client.ReadSnapshot(ctx, q)
		e.must(err)
		if len(piece.Data) == 0 {
			break
		}
		archive = append(archive, piece.Data...)
	}
	content, err := snapshot.Read(bytes.NewReader(archive))
	e.must(err)
	if content.Messages != 50 || content.Digest != taken.Services[0].Parts[0].Digest {
		t.Errorf("the archive holds %+v", content)
	}
	for code, change := range map[string]func(*api.ReadRequest){
		api.CodeInvalid:  func(q *api.ReadRequest) { q.Length = api.MaxPiece + 1 },
		api.CodeNotFound: func(q *api.ReadRequest) { q.Name = "GOLIVE" },
	} {
		wrong := q
		change(&wrong)
		_, err := e.client.ReadSnapshot(ctx, wrong)
		e.refused(err, code, "")
	}
	wrong := q
	wrong.App = "../shop"
	_, err = e.client.ReadSnapshot(ctx, wrong)
	e.refused(err, api.CodeInvalid, "the app")

	before := e.positions(taken.ID)
	_, err = js.Publish(ctx, "data.1", nil)
	e.must(err)
	after := e.positions(taken.ID)
	if before["DATA"] != 50 || after["DATA"] != 51 || before["GOLIVE"] == 0 || before["GOLIVE"] != after["GOLIVE"] {
		t.Errorf("the streams were at %v, and are at %v", before, after)
	}
}

// positions tells how far each stream is that has to do with a snapshot.
func (e *environment) positions(id string) map[string]uint64 {
	e.t.Helper()
	all, err := e.client.Positions(e.t.Context(), id)
	e.must(err)
	at := make(map[string]uint64)
	for _, p := range all {
		at[p.Stream] = p.Last
	}
	return at
}

package orchestrator_test

import (
	"errors"
	"testing"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/mask"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/snapshot"
	"github.com/golive-dev/golive/relay/protocol"
)

// copySnapshot has a copy made, and waits for it.
func (e *environment) copySnapshot(q api.CopyRequest) (snapshot.Snapshot, error) {
	e.t.Helper()
	for {
		work, err := e.client.CopySnapshot(e.t.Context(), q)
		var refused *protocol.ServiceError
		if errors.As(err, &refused) && refused.Code == api.CodeConflict {
			continue // the one before is just about to end
		}
		if err != nil {
			return snapshot.Snapshot{}, err
		}
		if work.Snapshot != nil {
			return *work.Snapshot, nil
		}
	}
}

// What an environment masks is handed out in no other way, whatever whoever asks says.
func TestASnapshotIsHandedOutMasked(t *testing.T) {
	e := newEnvironment(t)
	e.mask = snapshot.MaskedParts{"DATA": {".": mask.Digits}}
	e.orchestrate()
	e.awaitStatus(e.deploy(stateful()), rollout.Completed)
	e.data(50)
	taken, err := e.snapshot("shop")
	e.must(err)
	read := func(s snapshot.Snapshot) error {
		_, err := e.client.ReadSnapshot(t.Context(), api.ReadRequest{App: "shop", Snapshot: s.ID, Service: taken.Services[0].Name, Kind: snapshot.KindStream, Name: "DATA", Length: 100})
		return err
	}
	e.refused(read(taken), api.CodeMasked, "is handed out only as a copy")
	q := api.CopyRequest{App: "shop", Snapshot: taken.ID, Copy: newID(t), Cut: snapshot.Cut{Mask: snapshot.MaskedParts{"DATA": {mask.All: mask.Pass}}}}
	copied, err := e.copySnapshot(q)
	e.must(err)
	if copied.Cut == nil || copied.Cut.Mask["DATA"]["."] != mask.Digits || copied.Of != taken.ID || copied.Services[0].Parts[0].Messages != 50 {
		t.Errorf("the copy is %+v", copied)
	}
	if copied.Services[0].Parts[0].Digest == taken.Services[0].Parts[0].Digest {
		t.Error("nothing is masked in it")
	}
	e.must(read(copied))
	second := q
	second.Copy = newID(t)
	other, err := e.copySnapshot(second)
	e.must(err)
	for code, change := range map[string]func(*api.CopyRequest){
		api.CodeInvalid:  func(q *api.CopyRequest) { q.Cut.Sample = 2 },
		api.CodeNotFound: func(q *api.CopyRequest) { q.Snapshot = newID(t) },
	} {
		wrong := q
		wrong.Copy = newID(t)
		change(&wrong)
		_, err := e.copySnapshot(wrong)
		e.refused(err, code, "")
	}
	_, err = e.client.Restore(t.Context(), api.RestoreRequest{App: "shop", Rollout: newID(t), Target: copied.ID})
	e.refused(err, api.CodeInvalid, "is a copy for a rehearsal")
	done := api.CopyRequest{App: "shop", Snapshot: taken.ID, Copy: taken.ID, Done: true}
	_, err = e.client.CopySnapshot(t.Context(), done)
	e.refused(err, api.CodeInvalid, "is no copy")
	for range 2 {
		done.Copy = other.ID
		_, err = e.client.CopySnapshot(t.Context(), done)
		e.must(err)
	}
	_, err = e.client.Snapshot(t.Context(), other.ID)
	e.refused(err, api.CodeNotFound, "")
	again := q
	again.Snapshot, again.Copy = copied.ID, newID(t)
	_, err = e.copySnapshot(again)
	e.refused(err, api.CodeInvalid, "is a copy itself")
	again.Snapshot, again.Cut.Mask = taken.ID, snapshot.MaskedParts{"DATA": {".": mask.Mail, "#1": mask.Digits}}
	_, err = e.copySnapshot(again)
	e.refused(err, api.CodeMasked, "cannot be masked")
}

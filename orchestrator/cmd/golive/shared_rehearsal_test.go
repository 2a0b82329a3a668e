package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rehearsed"
	"github.com/golive-dev/golive/orchestrator/snapshot"
	"github.com/golive-dev/golive/relay/protocol"
)

// rehearse asks for all that a rehearsal needs of the environment, as a user.
func (b *sharedBus) rehearse(user string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	must := func(err error) {
		b.t.Helper()
		if err != nil {
			b.t.Fatal(err)
		}
	}
	id := func() string { return uuid.Must(uuid.NewV7()).String() }
	client := api.NewClient(b.connect(user).Conn())
	done := func(ask func() (api.SnapshotWork, error)) snapshot.Snapshot {
		b.t.Helper()
		for {
			work, err := ask()
			var refused *protocol.ServiceError
			if errors.As(err, &refused) && refused.Code == api.CodeConflict {
				continue // the one before is just about to end
			}
			must(err)
			if work.Snapshot != nil {
				return *work.Snapshot
			}
		}
	}
	take := api.TakeRequest{App: "shop", Snapshot: id(), For: snapshot.ForRehearsal}
	taken := done(func() (api.SnapshotWork, error) { return client.TakeSnapshot(ctx, take) })
	q := api.CopyRequest{App: "shop", Snapshot: taken.ID, Copy: id(), Cut: snapshot.Cut{Latest: 1}}
	copied := done(func() (api.SnapshotWork, error) { return client.CopySnapshot(ctx, q) })
	_, err := client.Positions(ctx, taken.ID)
	must(err)
	part := copied.Services[0].Parts[0]
	_, err = client.ReadSnapshot(ctx, api.ReadRequest{App: "shop", Snapshot: copied.ID, Service: copied.Services[0].Name, Kind: part.Kind, Name: part.Name, Length: api.MaxPiece})
	must(err)
	q.Done = true
	_, err = client.CopySnapshot(ctx, q)
	must(err)
	told, err := client.TellRehearsal(ctx, api.RehearsalRequest{By: "somebody else", Outcome: rehearsed.Outcome{
		ID: id(), App: "shop", Version: "2.0.0", Digest: strings.Repeat("0a", 32), Snapshot: taken.ID, Passed: true,
	}})
	must(err)
	if told.By != user {
		b.t.Errorf("it was told by %q", told.By)
	}
}

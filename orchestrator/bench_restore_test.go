package orchestrator_test

import (
	"context"
	crypto "crypto/rand"
	"flag"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/embedded"
	"github.com/golive-dev/golive/sdk"
)

var (
	benchRestoreMB      = flag.Int("restore.mb", 1, "megabytes that BenchmarkRestore puts back")
	benchRestoreMessage = flag.Int("restore.message", 1000, "bytes of a message of them, half of them random")
	benchRestoreSynced  = flag.Bool("restore.synced", true, "the bus syncs each message to disk")
)

// BenchmarkRestore has an app with so much data restored, again and again, and tells how long that
// takes, how long services are under maintenance, and how long it takes to put the data back alone.
func BenchmarkRestore(b *testing.B) {
	dir := b.TempDir()
	filler, err := embedded.Start(embedded.Config{Data: dir, Unsynced: true})
	if err != nil {
		b.Fatal(err)
	}
	fillForRestore(b, filler.URL())
	if err := filler.Stop(); err != nil {
		b.Fatal(err)
	}
	stage := stageOn(b, embedded.Config{Data: dir, Unsynced: !*benchRestoreSynced})
	stage.orchestrate()
	stage.runScript()
	e := &restoreBench{b, stage.client}
	e.deployed(stateful())
	var total, closed, put, taken time.Duration
	for b.Loop() {
		id := e.deployed(changing("1.1.0"))
		q := api.RestoreRequest{App: "shop", Rollout: e.id(), Target: id, By: "test"}
		if _, err := e.client.Restore(b.Context(), q); err != nil {
			b.Fatal(err)
		}
		s := e.ended(q.Rollout)
		total += s.Ended.Sub(s.Created)
		closed += s.Downtime(s.Ended)
		step, _ := s.Step(rollout.PutID("shop-service"))
		put += step.Ended.Sub(step.Started)
		step, _ = s.Step(rollout.SnapshotID("shop"))
		taken += step.Ended.Sub(step.Started)
	}
	n := float64(b.N)
	b.ReportMetric(total.Seconds()/n, "s-restore")
	b.ReportMetric(closed.Seconds()/n, "s-closed")
	b.ReportMetric(put.Seconds()/n, "s-put")
	b.ReportMetric(taken.Seconds()/n, "s-take")
}

// fillForRestore makes the stream DATA.
func fillForRestore(b *testing.B, url string) {
	b.Helper()
	r, err := relay.Connect(b.Context(), relay.Config{URL: url})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	js, err := jetstream.New(r.Conn(), jetstream.WithPublishAsyncMaxPending(256))
	if err == nil {
		_, err = js.CreateStream(b.Context(), jetstream.StreamConfig{Name: "DATA", Subjects: []string{"data.>"}})
	}
	body := make([]byte, *benchRestoreMessage)
	for n := 0; n < *benchRestoreMB*1_000_000/len(body) && err == nil; n++ {
		_, _ = crypto.Read(body[:len(body)/2]) // never fails
		_, err = js.PublishAsync("data.bench", slices.Clone(body), jetstream.WithStallWait(benchPatience))
	}
	if err != nil {
		b.Fatal(err)
	}
	<-js.PublishAsyncComplete()
}

// runScript runs the setup service of version 1.1.0, whose script changes nothing.
func (s *benchStage) runScript() {
	r := s.connect()
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		setup := sdk.SetupService{Service: "shop-service", Version: "1.1.0", Offline: nothing}
		ended <- setup.Run(ctx, r)
	}()
	s.b.Cleanup(func() { end(); <-ended })
}

// restoreBench asks an orchestrator for rollouts.
type restoreBench struct {
	b      *testing.B
	client *api.Client
}

// id is that of a new rollout.
func (e *restoreBench) id() string {
	e.b.Helper()
	id, err := uuid.NewV7()
	if err != nil {
		e.b.Fatal(err)
	}
	return id.String()
}

// deployed brings a release live.
func (e *restoreBench) deployed(r rollout.Release) string {
	e.b.Helper()
	q := api.DeployRequest{Rollout: e.id(), Release: r, By: "test"}
	if _, err := e.client.Deploy(e.b.Context(), q); err != nil {
		e.b.Fatal(err)
	}
	e.ended(q.Rollout)
	return q.Rollout
}

// ended waits until a rollout has completed.
func (e *restoreBench) ended(id string) rollout.State {
	e.b.Helper()
	for {
		s, err := e.client.Show(e.b.Context(), api.RolloutRequest{Rollout: id})
		switch {
		case err != nil:
			e.b.Fatal(err)
		case s.Status == rollout.Completed:
			return s.State
		case s.Status.Final() || s.Status == rollout.Failed:
			e.b.Fatalf("rollout %s is %s: %+v", id, s.Status, s.FailedSteps())
		}
		rest(e.b.Context(), 20*time.Millisecond)
	}
}

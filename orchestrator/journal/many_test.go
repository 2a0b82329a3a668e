package journal_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

// many is a journal with n finished rollouts of three events each, those of apps in
// turn. The ids come in the order in which the rollouts began.
func many(t testing.TB, n, apps int) (j *journal.Journal, nc *nats.Conn, ids []string) {
	t.Helper()
	nc = relaytest.Start(t).Connect().Conn()
	j, err := journal.Make(t.Context(), nc, 1)
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(1000))
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now().UTC()
	var sequence uint64
	for i := range n {
		id, err := uuid.NewV7()
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id.String())
		app := fmt.Sprintf("app-%d", i%apps)
		s := rollout.State{
			ID: id.String(), Created: at,
			Release: rollout.Release{App: app, Version: "1.0.0", Strategy: rollout.Parallel, Setup: true},
			Steps:   []*rollout.Step{{Number: 1, ID: app + "/setup", Kind: rollout.Migration, Name: app, Version: "1.0.0", Script: rollout.ScriptRun{Phase: protocol.Setup}, Started: at}},
		}
		var before journal.Record
		for _, e := range []rollout.EventType{rollout.Created, rollout.Retried, rollout.StepAnswered} {
			s.Event, s.Status = rollout.Event{Type: e, At: at}, rollout.Running
			if e == rollout.StepAnswered {
				s.Status, s.Ended = rollout.Completed, at
			}
			m, _, err := journal.EventMessage(s, before, "")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := js.PublishMsgAsync(m, jetstream.WithStallWait(time.Minute)); err != nil {
				t.Fatal(err)
			}
			sequence++ // nobody else writes
			before = journal.Record{State: s, Sequence: sequence}
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(time.Minute):
		t.Fatal("the journal is not filled within a minute")
	}
	return j, nc, ids
}

// What the reads cost in an environment that has seen 100,000 rollouts of 1,000 apps.
func BenchmarkManyRollouts(b *testing.B) {
	const n, apps = 100_000, 1_000
	j, nc, ids := many(b, n, apps)
	run := func(name string, f func() error) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	page := func(app, before string) func() error {
		return func() error {
			refs, more, err := j.Page(b.Context(), app, before, 20)
			if err == nil && (len(refs) != 20 || !more) {
				return fmt.Errorf("the page holds %d, more: %v", len(refs), more)
			}
			return err
		}
	}
	find := func(prefix string) func() error {
		return func() error {
			refs, err := j.Find(b.Context(), prefix, 2)
			if err == nil && len(refs) == 0 {
				return fmt.Errorf("%s is not found", prefix)
			}
			return err
		}
	}
	run("first page", page("", ""))
	run("page in the middle", page("", ids[n/2]))
	run("first page of an app", page("app-7", ""))
	run("page of an app in the middle", page("app-7", ids[n/2+7]))
	run("find a whole id", find(ids[n/3]))
	run("find a beginning", find(ids[n/3][:30]))
	run("last", func() error { _, err := j.Last(b.Context()); return err })
	run("newest of an app", func() error { _, err := j.NewestOf(b.Context(), "app-7"); return err })
	run("load", func() error { _, err := j.Load(b.Context(), "app-7", ids[n/2+7]); return err })
	run("history", func() error { _, err := j.History(b.Context(), "app-7", ids[n/2+7]); return err })
	run("open", func() error { _, err := journal.Make(b.Context(), nc, 1); return err })
	run("the first 100 finished", func() error {
		records, err := j.Finished(b.Context(), time.Now(), 0, 100)
		if err == nil && len(records) != 100 {
			return fmt.Errorf("%d rollouts have finished", len(records))
		}
		return err
	})
	tail := func(after uint64, want int) func() error {
		return func() error {
			got := 0
			err := j.Tail(b.Context(), "app-7", after, func(rollout.State, uint64) { got++ })
			if err == nil && got != want {
				return fmt.Errorf("the tail holds %d events, want %d", got, want)
			}
			return err
		}
	}
	run("whole tail of an app", tail(0, 3*n/apps))
	run("tail of an app, one rollout", tail(3*(n-apps), 3))
}

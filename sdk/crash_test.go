package sdk_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
	"github.com/golive-dev/golive/sdk"
)

// What the backfill of the role "backfill" moves.
const (
	crashRecords  = 5000
	crashSize     = 50
	crashInFlight = 4
)

// crashBatch is what it sends to the message todos.take.
type crashBatch struct {
	ID     string
	Values []int
}

func crashSetup() sdk.SetupService {
	return setup(sdk.Backfill[int]{
		Source: numbers(crashRecords), BatchSize: crashSize, InFlight: crashInFlight,
		Batch: func(ctx context.Context, run *sdk.Run, b sdk.Batch[int]) error {
			out := crashBatch{ID: b.ID}
			for _, r := range b.Records {
				out.Values = append(out.Values, r.Value)
			}
			return run.Request(ctx, "todos.take", out, nil, relay.MessageID(b.ID))
		},
	}.Run)
}

// A process that is killed in the middle is replaced by another one. All batches that come
// again were in flight, and a receiver that knows their IDs has each record once.
func TestAnotherProcessGoesOnAfterAKill(t *testing.T) {
	s := newStage(t)
	var mu sync.Mutex
	known, times := make(map[string]bool), make(map[int]int)
	repeated, half, killed := 0, make(chan struct{}, crashRecords), make(chan struct{})
	s.Serve(relay.Service{Name: "todos", Version: "0.0.3", Handlers: map[string]relay.Handler{
		"take": relay.JSON(func(ctx context.Context, b crashBatch) (any, error) {
			mu.Lock()
			defer mu.Unlock()
			if known[b.ID] {
				repeated++
				return nil, nil
			}
			known[b.ID] = true
			for _, v := range b.Values {
				times[v]++
			}
			if b.Values[0] > crashRecords/2 {
				half <- struct{}{}
				mu.Unlock()
				<-killed
				mu.Lock()
			}
			return nil, nil
		}),
	}})
	release := sync.OnceFunc(func() { close(killed) })
	t.Cleanup(release)
	m := start(protocol.Online, 1)
	first, end := program(t, s, "backfill")
	s.awaitScript(m)
	s.send(m)
	for range crashInFlight {
		receive(t, half, "a batch of the second half")
	}
	must(t, first.Process.Kill())
	end()
	release()

	answers := s.accept(m)
	m.Attempt = 2
	program(t, s, "backfill")
	s.awaitScript(m)
	s.send(m)
	if h := answers.mustBeDone(); h.Items != crashRecords {
		t.Errorf("answered %s", h.msg.Data)
	}
	mu.Lock()
	defer mu.Unlock()
	for v := 1; v <= crashRecords; v++ {
		if times[v] != 1 {
			t.Fatalf("%d came %d times", v, times[v])
		}
	}
	if repeated == 0 || repeated > crashInFlight || len(known) != crashRecords/crashSize {
		t.Errorf("%d batches came again, %d IDs", repeated, len(known))
	}
}

// awaitScript waits until a setup service with the script listens.
func (s *stage) awaitScript(m protocol.StartMessage) {
	s.t.Helper()
	ctx := s.within()
	for s.r.Request(ctx, protocol.AboutScriptSubject(m.Script()), nil, nil) != nil {
		must(s.t, ctx.Err())
	}
}

// A process that is killed once its answer was accepted leaves a claim behind, by which the
// attempt is not run again. The orchestrator has the answer.
func TestAKillAfterTheAnswerWasAccepted(t *testing.T) {
	s := newStage(t)
	m := start(protocol.Online, 1)
	heard := s.accept(m)
	first, end := program(t, s, "setup that remembers late")
	s.awaitScript(m)
	s.send(m)
	heard.mustBeDone()
	must(t, s.nc.Flush())
	must(t, first.Process.Kill())
	end()
	s.mustNotRunAgain(m, heard)
	if n := writes(t, s.claims()); n != 1 {
		t.Errorf("%d writes to the bucket of claims, want one", n)
	}
}

// A process that is killed once its answer was remembered has it sent by the next one.
func TestAKillAfterTheAnswerWasRemembered(t *testing.T) {
	s := newStage(t)
	m := start(protocol.Online, 1)
	silent := s.reply(m, func(int) string { return "" })
	first, end := program(t, s, "setup")
	s.awaitScript(m)
	s.send(m)
	s.awaitAnswerIn(m)
	must(t, first.Process.Kill())
	end()
	sent := silent.mustBeDone()
	silent.stop()

	var runs atomic.Int64
	heard := s.accept(m)
	s.run(setup(counting(&runs, nil)))
	if again := s.sendUntilAnswered(m, heard); string(again.msg.Data) != string(sent.msg.Data) || runs.Load() != 0 {
		t.Errorf("answered %s after %d runs, before the kill %s", again.msg.Data, runs.Load(), sent.msg.Data)
	}
}

// A process that is killed between the end of its script and both of these has lost the
// answer, as if it had been killed just before the end. The attempt is not run again: an
// orchestrator takes the worker for dead, and the next attempt runs.
func TestAKillBeforeTheAnswerIsRemembered(t *testing.T) {
	s := newStage(t)
	m := start(protocol.Online, 1)
	silent := s.reply(m, func(int) string { return "" })
	first, end := program(t, s, "setup that remembers late")
	s.awaitScript(m)
	s.send(m)
	silent.mustBeDone()
	must(t, first.Process.Kill())
	end()
	silent.stop()
	if claim := s.awaitClaim(m); claim.Answer != nil || claim.Instance == "" {
		t.Errorf("the claim is %+v, want one without an answer", claim)
	}
	heard := s.accept(m)
	s.mustNotRunAgain(m, heard)
	m.Attempt = 2
	if h := s.sendUntilAnswered(m, heard); !h.Done || h.Items != 1 {
		t.Errorf("the next attempt answered %s", h.msg.Data)
	}
}

// mustNotRunAgain fails the test if another instance does something about a start other
// than to leave it alone. That instance works until the test ends.
func (s *stage) mustNotRunAgain(m protocol.StartMessage, heard *answers) {
	s.t.Helper()
	var runs atomic.Int64
	s.sendUntilLogged(m, s.run(setup(counting(&runs, nil))), "not run here")
	heard.mustBeNone()
	if n := runs.Load(); n != 0 {
		s.t.Errorf("the attempt was run again, %d times", n)
	}
}

// A connection that is cut again and again only makes a backfill slower.
func TestABackfillBearsACutConnection(t *testing.T) {
	t.Parallel()
	relaytest.Long(t)
	s, to := newStage(t), newTarget()
	cable := s.Cable()
	r, err := relay.Connect(s.within(), relay.Config{URL: cable.URL()})
	must(t, err)
	t.Cleanup(r.Close)
	m := start(protocol.Online, 1)
	answers := s.accept(m)
	s.runOn(r, setup(sdk.Backfill[int]{Source: numbers(6000), BatchSize: 100, InFlight: 3, Batch: func(ctx context.Context, run *sdk.Run, b sdk.Batch[int]) error {
		if b.Records[0].Value%2000 == 1 {
			cable.Cut()
		}
		return to.take(ctx, run, b)
	}}.Run))
	s.send(m)
	answers.mustBeDone()
	if to.mustHave(t, 6000) != 0 {
		t.Error("some came again")
	}
}

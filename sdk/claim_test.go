package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
	"github.com/golive-dev/golive/sdk"
)

// counting is a script that counts how often it was run, and fails when told to.
func counting(runs *atomic.Int64, failure error) sdk.Script {
	return func(_ context.Context, run *sdk.Run) error {
		run.Progress(runs.Add(1), 0, "counted")
		return failure
	}
}

func TestARepeatedStartIsAnsweredFromMemory(t *testing.T) {
	t.Parallel()
	for name, failure := range map[string]error{"done": nil, "failed": errors.New("disk full")} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			var runs atomic.Int64
			var taken atomic.Bool // by an orchestrator
			it := s.run(setup(counting(&runs, failure)))
			m := start(protocol.Online, 1)
			heard := s.reply(m, func(int) string {
				if taken.Load() {
					return accepted
				}
				return ""
			})
			s.send(m)
			first := heard.next()
			if remembered := s.awaitAnswerIn(m); string(remembered) != string(first.msg.Data) {
				t.Errorf("remembered %s, answered %s", remembered, first.msg.Data)
			}
			taken.Store(true)

			mustRepeat := func(when string) {
				t.Helper()
				again := s.sendUntilAnswered(m, heard)
				if string(again.msg.Data) != string(first.msg.Data) || again.msg.Subject != first.msg.Subject {
					t.Errorf("%s, answered %s on %s, at first %s", when, again.msg.Data, again.msg.Subject, first.msg.Data)
				}
				if a, b := again.msg.Header.Get(protocol.HeaderMessageID), first.msg.Header.Get(protocol.HeaderMessageID); a != b || a == "" {
					t.Errorf("%s, the answer has the message id %s, at first %s", when, a, b)
				}
				if n := runs.Load(); n != 1 {
					t.Errorf("%s, the script was run %d times", when, n)
				}
			}
			mustRepeat("at once")
			it.stop()
			s.run(setup(counting(&runs, nil)))
			mustRepeat("after a restart")

			m.Attempt = 2
			s.sendUntilAnswered(m, heard)
			if n := runs.Load(); n != 2 {
				t.Errorf("after the next attempt, %d runs", n)
			}
		})
	}
}

// sendUntilAnswered repeats a start until the attempt is answered: while it is under
// way, a repeated start is passed over.
func (s *stage) sendUntilAnswered(m protocol.StartMessage, a *answers) heard {
	s.t.Helper()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	deadline := time.After(patience)
	for {
		s.send(m)
		select {
		case h := <-a.heard:
			if h.Attempt == m.Attempt {
				return h
			}
		case <-again.C:
		case <-deadline:
			s.t.Fatal("a repeated start was not answered")
		}
	}
}

func TestAnAttemptOfAnotherInstanceIsNotRun(t *testing.T) {
	s := newStage(t)
	var runs atomic.Int64
	m := start(protocol.Online, 1)
	kv, err := bus.Make(s.within(), s.nc, bus.Claims, "", 1)
	must(t, err)
	_, err = kv.PutString(s.within(), protocol.ClaimKey(m.Rollout, m.Step, m.Attempt, false), `{"instance":"somebody else"}`)
	must(t, err)
	it := s.run(setup(counting(&runs, nil)))
	heard := s.accept(m)
	for range 3 {
		if l := s.sendUntilLogged(m, it, "not run here"); l.fields != `{"step":"todo-search/online","attempt":1,"error":"another instance has claimed the attempt"}` {
			t.Errorf("logged %s", l.fields)
		}
	}
	m.Attempt = 2
	s.send(m)
	if h := heard.mustBeDone(); h.Attempt != 2 || runs.Load() != 1 {
		t.Errorf("answered %s after %d runs", h.msg.Data, runs.Load())
	}
	heard.mustBeNone()
}

// sendUntilLogged is sendUntilAnswered for a start that is not answered.
func (s *stage) sendUntilLogged(m protocol.StartMessage, it *running, message string) line {
	s.t.Helper()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	deadline := time.After(patience)
	for {
		s.send(m)
		select {
		case l := <-it.lines:
			if l.Message == message {
				return l
			}
		case <-again.C:
		case <-deadline:
			s.t.Fatalf("%q was not logged", message)
		}
	}
}

func TestARepeatedStartNeverRunsAnAttemptTwice(t *testing.T) {
	s := newStage(t)
	var runs atomic.Int64
	proceed := make(chan struct{})
	begun := make(chan bool, 100)
	script := func(context.Context, *sdk.Run) error {
		runs.Add(1)
		begun <- true
		<-proceed
		return nil
	}
	a, b := s.run(setup(script)), s.run(setup(script))
	m := start(protocol.Online, 1)
	heard := s.accept(m)
	s.send(m)
	receive(t, begun, "the script")
	for range 20 {
		s.send(m)
	}
	for passedOn := false; !passedOn; {
		select {
		case l := <-a.lines:
			passedOn = l.Message == "not run here"
		case l := <-b.lines:
			passedOn = l.Message == "not run here"
		case <-time.After(patience):
			t.Fatal("the other instance got none of the starts")
		}
	}
	close(proceed)
	heard.mustBeDone()
	if n := runs.Load(); n != 1 {
		t.Errorf("the script was run %d times", n)
	}
}

func TestAStartWaitsForTheBucketOfClaims(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	must(t, s.deleteClaims())
	var runs atomic.Int64
	it := s.run(setup(counting(&runs, nil)))
	m := start(protocol.Online, 1)
	heard, beats := s.accept(m), s.listen(m.Script().Subject(protocol.Progress))
	s.send(m)
	it.awaitLine("claim the attempt: trying again until it works")
	for range 3 {
		receive(t, beats, "a sign of life")
	}
	if n := runs.Load(); n != 0 {
		t.Errorf("an attempt that is not claimed was run %d times", n)
	}
	s.makeClaims()
	heard.mustBeDone()
}

// A bucket that an orchestrator has made again, with other settings perhaps, is used.
func TestABucketOfClaimsThatIsMadeAgainIsUsed(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	var runs atomic.Int64
	it := s.run(setup(counting(&runs, nil)))
	m := start(protocol.Online, 1)
	heard := s.accept(m)
	s.send(m)
	heard.mustBeDone()
	must(t, s.deleteClaims())
	m.Attempt = 2
	s.send(m)
	it.awaitLine("claim the attempt: trying again until it works")
	if n := runs.Load(); n != 1 {
		t.Errorf("an attempt that is not claimed was run: %d runs", n)
	}
	s.makeClaims()
	heard.mustBeDone()
	s.awaitClaim(m)
}

func (s *stage) deleteClaims() error {
	js, err := s.nc.JetStream()
	if err != nil {
		return err
	}
	return js.DeleteStream("KV_" + protocol.ClaimsBucket)
}

func TestAnAnswerThatCannotBeRememberedIsSentAllTheSame(t *testing.T) {
	relaytest.Long(t)
	t.Parallel()
	s := newStage(t)
	var runs atomic.Int64
	var taken atomic.Bool
	proceed := make(chan struct{})
	it := s.run(setup(func(context.Context, *sdk.Run) error {
		runs.Add(1)
		<-proceed
		return nil
	}))
	m := start(protocol.Online, 1)
	beats := s.listen(m.Script().Subject(protocol.Progress))
	heard := s.reply(m, func(int) string {
		if taken.Load() {
			return accepted
		}
		return ""
	})
	s.send(m)
	receive(t, beats, "a sign of life")
	s.awaitClaim(m)
	must(t, s.deleteClaims())
	close(proceed)
	it.awaitLine("remember the answer: trying again until it works")
	taken.Store(true)
	heard.mustBeDone()
	heard.mustBeDone()
	it.stop()
	for len(it.lines) > 0 {
		if l := <-it.lines; l.Message == "answer not remembered, only this process knows it" {
			t.Error("an answer that was accepted is said not to be remembered")
		}
	}
	if n := runs.Load(); n != 1 {
		t.Errorf("the script was run %d times", n)
	}
}

// An answer that is accepted at once costs no write: the one to the bucket is the claim.
func TestAnAnswerThatIsAcceptedIsNotRemembered(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	var runs atomic.Int64
	it := s.run(setup(counting(&runs, nil)).RememberAfter(time.Hour))
	m := start(protocol.Online, 1)
	heard := s.accept(m)
	s.send(m)
	heard.mustBeDone()
	s.sendUntilAnswered(m, heard) // by the same process, once the first start is dealt with
	it.stop()
	next := s.run(setup(counting(&runs, nil)))
	s.sendUntilLogged(m, next, "not run here")
	if n := writes(t, s.claims()); n != 1 || runs.Load() != 1 {
		t.Errorf("%d writes to the bucket of claims and %d runs, want one of each", n, runs.Load())
	}
}

// Without an orchestrator an answer is remembered soon, and sent until there is one.
func TestAnAnswerThatNobodyAcceptsIsRemembered(t *testing.T) {
	t.Parallel()
	for name, silent := range map[string]bool{"nobody listens": false, "nobody replies": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			var runs atomic.Int64
			ended := make(chan time.Time, 1)
			s.run(setup(func(context.Context, *sdk.Run) error {
				runs.Add(1)
				ended <- time.Now()
				return nil
			}))
			m := start(protocol.Online, 1)
			var orchestrator *answers
			if silent {
				orchestrator = s.reply(m, func(int) string { return "" })
			}
			s.send(m)
			at := receive(t, ended, "the script")
			s.awaitAnswerIn(m)
			if late := time.Since(at); late > time.Second {
				t.Errorf("remembered only after %s", late)
			}
			if silent {
				orchestrator.mustBeDone()
				orchestrator.stop()
			}
			heard := s.accept(m)
			heard.mustBeDone()
			s.mustHaveEnded(heard)
			if n := runs.Load(); n != 1 {
				t.Errorf("the script was run %d times", n)
			}
		})
	}
}

// An answer that is refused is durable nowhere else.
func TestAnAnswerThatIsRefusedIsRemembered(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.run(setup(nothing).RememberAfter(time.Hour))
	m := start(protocol.Online, 1)
	heard := s.reply(m, func(int) string { return refused })
	s.send(m)
	heard.mustBeDone()
	s.awaitAnswerIn(m)
}

// claims is the bucket of claims.
func (s *stage) claims() jetstream.KeyValue {
	s.t.Helper()
	kv, err := bus.Make(s.within(), s.nc, bus.Claims, "", 1)
	must(s.t, err)
	return kv
}

// awaitClaim waits until the attempt is claimed, and gives the claim.
func (s *stage) awaitClaim(m protocol.StartMessage) protocol.Claim {
	s.t.Helper()
	return s.awaitClaimThat(m, func(protocol.Claim) bool { return true })
}

// awaitAnswerIn waits until an answer stands in the claim of the attempt, and gives it.
func (s *stage) awaitAnswerIn(m protocol.StartMessage) []byte {
	s.t.Helper()
	found := s.awaitClaimThat(m, func(c protocol.Claim) bool { return c.Answer != nil })
	data, err := json.Marshal(found.Answer)
	must(s.t, err)
	return data
}

func (s *stage) awaitClaimThat(m protocol.StartMessage, fits func(protocol.Claim) bool) (found protocol.Claim) {
	s.t.Helper()
	w, err := s.claims().Watch(s.within(), protocol.ClaimKey(m.Rollout, m.Step, m.Attempt, m.Revert))
	must(s.t, err)
	defer func() { must(s.t, w.Stop()) }()
	for {
		entry := receive(s.t, w.Updates(), "the claim")
		if entry == nil {
			continue // nothing more has been written so far
		}
		must(s.t, json.Unmarshal(entry.Value(), &found))
		if fits(found) {
			return found
		}
	}
}

package sdk_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
	"github.com/golive-dev/golive/sdk"
)

// lasting is the lease of attempts in these tests.
const lasting = 2 * time.Second

// leased is a start whose attempt has a short lease.
func leased() protocol.StartMessage {
	m := start(protocol.Offline, 1)
	m.Lease = protocol.Duration(lasting)
	return m
}

// causes is an offline script that works until its context ends, and tells why it has.
func causes(begun chan<- time.Time, ended chan<- error) sdk.SetupService {
	return sdk.SetupService{Service: "todo-search", Version: "0.0.1", Offline: func(ctx context.Context, _ *sdk.Run) error {
		begun <- time.Now()
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return context.Cause(ctx)
	}}
}

// The bus alone decides: a script goes on for as long as it answers, though no orchestrator does.
func TestAScriptGoesOnWhileTheBusAnswers(t *testing.T) {
	relaytest.Long(t)
	t.Parallel()
	s := newStage(t)
	begun, ended := make(chan time.Time, 1), make(chan error, 1)
	s.run(causes(begun, ended))
	m := leased()
	s.send(m)
	receive(t, begun, "the script")
	renewals := 0
	kv, err := bus.Make(s.within(), s.nc, bus.Claims, "", 1)
	must(t, err)
	watch, err := kv.Watch(s.within(), protocol.ClaimKey(m.Rollout, m.Step, m.Attempt, false))
	must(t, err)
	defer func() { must(t, watch.Stop()) }()
	for end := time.After(2 * lasting); ; {
		select {
		case e := <-watch.Updates():
			if e != nil {
				renewals++
			}
			continue
		case err := <-ended:
			t.Fatalf("the script was ended: %v", err)
		case <-end:
		}
		break
	}
	if renewals < protocol.LeaseBeats {
		t.Errorf("the claim was renewed %d times in two leases", renewals)
	}
}

// A script whose bus does not answer is ended before its lease has run out, with the reason, and
// answers that its worker is lost as soon as it can.
func TestAScriptEndsWithItsLease(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	begun, ended := make(chan time.Time, 1), make(chan error, 1)
	cable := s.Cable()
	s.runOn(s.ConnectTo(cable.URL()), causes(begun, ended))
	m := leased()
	heard := s.accept(m)
	s.send(m)
	receive(t, begun, "the script")
	cut := time.Now()
	cable.Hold()
	err := receive(t, ended, "the end of the script")
	if took := time.Since(cut); took > lasting {
		t.Errorf("it was ended after %s, its lease is %s", took, lasting)
	}
	if !strings.Contains(err.Error(), "the bus has not answered in time") {
		t.Errorf("it was ended with %v", err)
	}
	heard.mustBeNone()
	cable.Release()
	if h := heard.mustBeFailed(protocol.CodeLost); !strings.Contains(h.Error.Message, "the bus has not answered in time") {
		t.Errorf("answered %s", h.msg.Data)
	}
}

// A short cut ends nothing.
func TestAScriptOutlivesACutThatIsShorterThanItsLease(t *testing.T) {
	relaytest.Long(t)
	t.Parallel()
	s := newStage(t)
	begun, ended := make(chan time.Time, 1), make(chan error, 1)
	cable := s.Cable()
	s.runOn(s.ConnectTo(cable.URL()), causes(begun, ended))
	s.send(leased())
	receive(t, begun, "the script")
	for range 3 {
		cable.Hold()
		select {
		case err := <-ended:
			t.Fatalf("the script was ended: %v", err)
		case <-time.After(lasting / 4):
		}
		cable.Release()
		must(t, s.nc.Flush())
		select {
		case err := <-ended:
			t.Fatalf("the script was ended: %v", err)
		case <-time.After(lasting / 2):
		}
	}
}

// A script whose attempt was taken away, and which did not hear of it, notices when it renews its
// claim.
func TestAScriptEndsWhenItsAttemptIsTakenAway(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	begun, ended := make(chan time.Time, 1), make(chan error, 1)
	it := s.run(causes(begun, ended))
	m := leased()
	s.accept(m)
	s.send(m)
	receive(t, begun, "the script")
	kv, err := bus.Make(s.within(), s.nc, bus.Claims, "", 1)
	must(t, err)
	value, err := json.Marshal(protocol.Claim{Instance: protocol.Withheld})
	must(t, err)
	_, err = kv.Put(s.within(), protocol.ClaimKey(m.Rollout, m.Step, m.Attempt, false), value)
	must(t, err)
	receive(t, ended, "the end of the script")
	it.awaitLine("the attempt was taken away")
}

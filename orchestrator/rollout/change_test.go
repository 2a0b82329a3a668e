package rollout_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// big is a rollout of n services that have scripts for all phases.
func big(t testing.TB, n int) rollout.State {
	t.Helper()
	r := rollout.Release{App: "shop", Version: "1.0.0", Strategy: rollout.Parallel}
	for i := range n {
		r.Services = append(r.Services, rollout.Service{
			Name: fmt.Sprintf("service-%03d", i), Version: "1.0.0",
			Migrations: []protocol.Phase{protocol.Before, protocol.Offline, protocol.Online},
		})
	}
	s, err := rollout.Compile("0199c6d2-1a2b-7000-8000-000000000001", "ada", time.Unix(1e9, 0).UTC(), r, rollout.Facts{Ran: neverRan})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What an event brings does not grow with the rollout.
func TestChangesStaySmall(t *testing.T) {
	for _, n := range []int{1, 100, 500} {
		s := big(t, n)
		first := s.Running()[0]
		next, err := s.Apply(rollout.Event{Type: rollout.StepAnswered, At: s.Created.Add(time.Second), Step: first.ID, Attempt: 1, Answer: &protocol.Answer{Done: true}})
		if err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(next.ChangeFrom(s, 1))
		if err != nil {
			t.Fatal(err)
		}
		most := 1200
		if n > 1 {
			most += 20 * 24 // names of steps that run
		}
		if len(data) > most {
			t.Errorf("%d services: the change has %d bytes, want at most %d: %s", n, len(data), most, data)
		}
	}
}

// A step may be done on a thousand hosts, on a bus whose messages may have 64 KiB.
func TestAThousandHostsFitIntoAMessage(t *testing.T) {
	r := withEntry(rollout.Item{Name: "restart", Work: &rollout.Work{On: map[string]string{"role": "web"}}})
	s, err := rollout.Compile("r1", "ada", time.Unix(1e9, 0).UTC(), r, rollout.Facts{Ran: neverRan})
	if err != nil {
		t.Fatal(err)
	}
	exit, begun := 0, s.Created
	hosts := make([]protocol.Host, 1000)
	for i := range hosts {
		begun = begun.Add(time.Duration(7919*i%1000+1) * 1237 * time.Microsecond)
		hosts[i] = protocol.Host{Name: fmt.Sprintf("web-%04d", i), Attempt: 1, Status: protocol.HostDone, Started: begun, Ended: begun.Add(time.Duration(i) * 31337 * time.Microsecond), Exit: &exit, Cut: true}
	}
	e := rollout.Event{Type: rollout.StepAnswered, At: begun, Step: "restart", Attempt: 1, Answer: &protocol.Answer{Hosts: hosts}}
	next, err := s.Apply(e)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(next.ChangeFrom(s, 1))
	if err != nil {
		t.Fatal(err)
	}
	var c rollout.Change
	if err := json.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	if folded, err := s.Fold(c, 1); err != nil || !reflect.DeepEqual(folded, next) {
		t.Errorf("folded it is another state: %v", err)
	}
	var small bytes.Buffer
	w := gzip.NewWriter(&small)
	if _, err := w.Write(data); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	if t.Logf("%d bytes, %d compressed", len(data), small.Len()); small.Len() > 48<<10 {
		t.Errorf("its event has %d bytes", small.Len())
	}
}

func TestWhatDoesNotFollow(t *testing.T) {
	s := big(t, 2)
	first := s.ChangeFrom(rollout.State{}, 0)
	next, err := s.Apply(rollout.Event{Type: rollout.PauseAsked, At: s.Created.Add(time.Second), By: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := (rollout.State{}).Fold(first, 0); err != nil || !reflect.DeepEqual(got, s) {
		t.Fatalf("the first change makes %+v, %v", got, err)
	}
	for name, c := range map[string]struct {
		change   func(*rollout.Change)
		sequence uint64
		unknown  bool
	}{
		"a newer format":         {change: func(c *rollout.Change) { c.Format++ }, sequence: 5, unknown: true},
		"an older format":        {change: func(c *rollout.Change) { c.Format-- }, sequence: 5, unknown: true},
		"another event before":   {sequence: 4},
		"another rollout":        {change: func(c *rollout.Change) { c.Rollout = "other" }, sequence: 5},
		"another app":            {change: func(c *rollout.Change) { c.App = "other" }, sequence: 5},
		"a step that is not":     {change: func(c *rollout.Change) { c.State.Steps = []*rollout.Step{{Number: 99, ID: "x"}} }, sequence: 5},
		"a step of another name": {change: func(c *rollout.Change) { c.State.Steps = []*rollout.Step{{Number: 1, ID: "x"}} }, sequence: 5},
		"no step":                {change: func(c *rollout.Change) { c.State.Steps = []*rollout.Step{nil} }, sequence: 5},
	} {
		change := next.ChangeFrom(s, 5)
		if c.change != nil {
			c.change(&change)
		}
		got, err := s.Fold(change, c.sequence)
		if err == nil || errors.Is(err, rollout.ErrUnknown) != c.unknown || !reflect.DeepEqual(got, s) {
			t.Errorf("%s: %v", name, err)
		}
	}
	bare := next.ChangeFrom(s, 5)
	bare.Previous = 0
	if _, err := (rollout.State{}).Fold(bare, 0); err == nil {
		t.Error("a first change without a release is folded")
	}
}

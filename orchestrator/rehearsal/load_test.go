package rehearsal

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/relaytest"
)

func TestALoadIsRead(t *testing.T) {
	line := `{"message": "todos.list", "payload": {"a": 1}, "every": "1ms"}`
	got, err := ReadLoad(strings.NewReader("\n" + line + "\n" + `{"message": "web.page.show"}`))
	if err != nil || len(got) != 2 || time.Duration(got[0].Every) != time.Millisecond || string(got[0].Payload) != `{"a": 1}` || time.Duration(got[1].Every) != DefaultEvery {
		t.Errorf("read are %+v, %v", got, err)
	}
	if got, err := ReadLoad(strings.NewReader(strings.Repeat(line+"\n", MaxLoad))); err != nil || len(got) != MaxLoad {
		t.Errorf("of as many as are allowed %d are read: %v", len(got), err)
	}
	long := `{"message": "todos.list", "payload": "` + strings.Repeat("x", MaxLoadLine) + `"}`
	for text, want := range map[string]string{
		"":                                   "there is no request",
		strings.Repeat(line+"\n", MaxLoad+1): "line 1001: at most 1000",
		line + "\nlist":                      "line 2: it is no request",
		`{"message": "todos.list", "evry": "1s"}`:  "evry",
		`{"message": "todos"}`:                     "no message of a service",
		`{"message": "todos.*"}`:                   "no message of a service",
		`{"message": "todos.x", "every": "61s"}`:   "from 1ms to 1m0s",
		`{"message": "todos.x", "every": "999us"}`: "from 1ms to 1m0s",
		`{"message": "todos.x", "every": "-1s"}`:   "from 1ms to 1m0s",
		long:                                       "more than 1048576 bytes",
	} {
		if _, err := ReadLoad(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v", text, err)
		}
	}
}

func TestWhatCallersHaveSeen(t *testing.T) {
	began := time.Now()
	c := &callers{Seen: Seen{Service: "todos"}, last: began}
	at := func(ms int) time.Time { return began.Add(time.Duration(ms) * time.Millisecond) }
	c.note(at(0), at(10), nil)
	c.note(at(20), at(30), relay.ErrMaintenance)
	for n := range MaxErrors + 2 {
		c.note(at(40), at(50), errors.New(strings.Repeat("x", n%(MaxErrors+1)+1)))
	}
	c.note(at(400), at(460), nil)
	c.silent(at(600))
	if c.Sent != 10 || c.Answered != 2 || c.Maintenance != 1 || c.Errors != 7 || len(c.Kinds) != MaxErrors || c.Kinds[0].Times != 2 ||
		time.Duration(c.Slowest) != 60*time.Millisecond || time.Duration(c.Silence) != 450*time.Millisecond {
		t.Errorf("they have seen %+v", c.Seen)
	}
}

// Requests are sent until it ends, and nobody is left behind.
func TestALoadIsSent(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r := relaytest.Start(t).Connect()
	load := []Load{{Message: "nobody.there", Payload: json.RawMessage("{}"), Every: rollout.Duration(time.Millisecond)}}
	sending, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan []Seen, 1)
	go func() { done <- SendLoad(sending, r, load) }()
	deadline := time.AfterFunc(200*time.Millisecond, stop) // many requests fit into that
	defer deadline.Stop()
	select {
	case seen := <-done:
		if len(seen) != 1 || seen[0].Sent == 0 || seen[0].Errors != seen[0].Sent || seen[0].Silence == 0 {
			t.Errorf("callers have seen %+v", seen)
		}
	case <-ctx.Done():
		t.Fatal("it does not end")
	}
}

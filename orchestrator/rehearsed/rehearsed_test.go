package rehearsed

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/relaytest"
)

const (
	first  = "0199c6d2-1a2b-7000-8000-000000000001"
	second = "0199c6d2-1a2b-7000-8000-000000000002"
)

var digest = strings.Repeat("0a", 32)

// outcome is one that is as it has to be.
func outcome() Outcome {
	return Outcome{ID: first, App: "shop", Version: "2.0.0", Digest: digest, Passed: true, Snapshot: second, Steps: []Step{{ID: "search/offline", Took: Took(time.Second), Records: 10}}}
}

func TestWhatIsToldIsBounded(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Outcome)
		want   string
	}{
		"as it is":          {func(*Outcome) {}, ""},
		"no id":             {func(o *Outcome) { o.ID = "x" }, "no UUID v7"},
		"no snapshot":       {func(o *Outcome) { o.Snapshot = "../x" }, "no UUID"},
		"no app":            {func(o *Outcome) { o.App = "a.b" }, "name"},
		"no version":        {func(o *Outcome) { o.Version = "" }, "version"},
		"a digest in caps":  {func(o *Outcome) { o.Digest = strings.ToUpper(digest) }, "SHA-256"},
		"a short digest":    {func(o *Outcome) { o.Digest = digest[2:] }, "SHA-256"},
		"a commit":          {func(o *Outcome) { o.Commit = strings.Repeat("a", 64) }, ""},
		"a long commit":     {func(o *Outcome) { o.Commit = strings.Repeat("a", 65) }, "no id of git"},
		"a wrong commit":    {func(o *Outcome) { o.Commit = "main" }, "no id of git"},
		"all steps":         {func(o *Outcome) { o.Steps = steps(MaxSteps) }, ""},
		"a step too many":   {func(o *Outcome) { o.Steps = steps(MaxSteps + 1) }, "at most 2000"},
		"a long name":       {func(o *Outcome) { o.Steps[0].ID = strings.Repeat("s", MaxText) }, ""},
		"too long a name":   {func(o *Outcome) { o.Steps[0].ID = strings.Repeat("s", MaxText+1) }, "1 to 256 bytes"},
		"an escape":         {func(o *Outcome) { o.Steps[0].ID = "\x1b[2J" }, "can be printed"},
		"as long as may be": {func(o *Outcome) { o.Steps[0].Took = Took(MaxTook) }, ""},
		"longer":            {func(o *Outcome) { o.Steps[0].Took = Took(MaxTook + 1) }, "from 0 to"},
		"backwards":         {func(o *Outcome) { o.Downtime = -1 }, "from 0 to"},
		"fewer than none":   {func(o *Outcome) { o.Steps[0].Records = -1 }, "-1 records"},
		"all streams":       {func(o *Outcome) { o.Held = held(MaxHeld) }, ""},
		"a stream too many": {func(o *Outcome) { o.Held = held(MaxHeld + 1) }, "at most 1000"},
		"no stream":         {func(o *Outcome) { o.Held = []Held{{}} }, "name of a stream"},
	} {
		o := outcome()
		c.change(&o)
		if err := o.Validate(); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func steps(n int) []Step {
	all := make([]Step, n)
	for i := range all {
		all[i].ID = fmt.Sprint(i)
	}
	return all
}

func held(n int) []Held {
	all := make([]Held, n)
	for i := range all {
		all[i].Stream = fmt.Sprint(i)
	}
	return all
}

func TestTheNewestOutcomeIsKept(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s := Store{Conn: relaytest.Start(t).Connect().Conn(), Environment: "here"}
	if _, err := s.Of(ctx, "shop", digest); !errors.Is(err, ErrNone) {
		t.Fatalf("before there is a bucket: %v", err)
	}
	now := time.Now().UTC()
	told, err := s.Tell(ctx, outcome(), now)
	if err != nil || !told.At.Equal(now) {
		t.Fatalf("told is %+v, %v", told, err)
	}
	if again, err := s.Tell(ctx, outcome(), now.Add(time.Hour)); err != nil || !again.At.Equal(now) {
		t.Errorf("told twice it is of %s, %v", again.At, err)
	}
	failed := outcome()
	failed.ID, failed.Passed = second, false
	if _, err := s.Tell(ctx, failed, now.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if kept, err := s.Of(ctx, "shop", digest); err != nil || kept.Passed || kept.ID != second || !kept.At.Equal(now.Add(time.Minute)) {
		t.Errorf("kept is %+v, %v", kept, err)
	}
	if _, err := s.Of(ctx, "shop", strings.Repeat("0b", 32)); !errors.Is(err, ErrNone) {
		t.Errorf("of another release: %v", err)
	}
	wrong := outcome()
	wrong.App = ">"
	if _, err := s.Tell(ctx, wrong, now); err == nil {
		t.Error("it takes what is not valid")
	}
}

// What cannot be read counts as not there, and the next one takes its place.
func TestWhatCannotBeReadCountsForNothing(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s := Store{Conn: relaytest.Start(t).Connect().Conn()}
	kv, err := bus.Make(ctx, s.Conn, bus.Rehearsals, "", 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"{", `{"id": "x"}`, strings.ReplaceAll(`{"id":"ID","app":"other","version":"1","digest":"`+digest+`","snapshot":"ID"}`, "ID", first)} {
		if _, err := kv.Put(ctx, key("shop", digest), []byte(text)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Of(ctx, "shop", digest); !errors.Is(err, ErrNone) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := s.Tell(ctx, outcome(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Of(ctx, "shop", digest); err != nil {
		t.Error(err)
	}
}

func TestAnEnvironmentTakesNoMoreThanItKeeps(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s := Store{Conn: relaytest.Start(t).Connect().Conn()}
	if _, err := bus.Make(ctx, s.Conn, bus.Rehearsals, "", 1); err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(s.Conn)
	if err != nil {
		t.Fatal(err)
	}
	for n := range MaxOutcomes - 1 {
		if _, err := js.PublishAsync(fmt.Sprintf("$KV.%s.other.%d", bus.Rehearsals.Name, n), nil); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-ctx.Done():
		t.Fatal(ctx.Err())
	}
	if _, err := s.Tell(ctx, outcome(), time.Now()); err != nil {
		t.Fatalf("the last one that it takes: %v", err)
	}
	more := outcome()
	more.Digest = strings.Repeat("0b", 32)
	if _, err := s.Tell(ctx, more, time.Now()); !errors.Is(err, ErrFull) {
		t.Errorf("one too many: %v", err)
	}
	same := outcome()
	same.ID = second
	if _, err := s.Tell(ctx, same, time.Now()); err != nil {
		t.Errorf("in the place of another one: %v", err)
	}
}

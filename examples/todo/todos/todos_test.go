package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/relaytest"
)

// here sends a message to this version, whether or not it is online.
var here = relay.ToVersion("0.0.1")

func start(t *testing.T, bus *relaytest.Bus) (stop func()) {
	t.Helper()
	s, err := service(t.Context(), bus.Connect())
	if err != nil {
		t.Fatal(err)
	}
	return bus.Serve(s)
}

func add(t *testing.T, r *relay.Relay, title string) todo {
	t.Helper()
	var added todo
	if err := r.Request(t.Context(), "todos.create", map[string]string{"title": title}, &added, here); err != nil {
		t.Fatal(err)
	}
	return added
}

func titles(t *testing.T, r *relay.Relay) string {
	t.Helper()
	var all []todo
	if err := r.Request(t.Context(), "todos.list", nil, &all, here); err != nil {
		t.Fatal(err)
	}
	var titles []string
	for _, one := range all {
		titles = append(titles, one.Title)
	}
	return strings.Join(titles, ", ")
}

func TestTodosAreThereAfterARestart(t *testing.T) {
	bus := relaytest.Start(t)
	client := bus.Connect()
	stop := start(t, bus)
	one := add(t, client, "one")
	add(t, client, "two")
	stop()

	start(t, bus)
	add(t, client, "three")
	if got, want := titles(t, client), "one, two, three"; got != want {
		t.Errorf("todos are %q, want %q", got, want)
	}
	var got todo
	if err := client.Request(t.Context(), "todos.get", map[string]string{"id": one.ID}, &got, here); err != nil {
		t.Fatal(err)
	}
	if got != one || got.CreatedAt.IsZero() {
		t.Errorf("got %+v, want %+v", got, one)
	}
}

func TestListHoldsEveryTodo(t *testing.T) {
	bus := relaytest.Start(t)
	client := bus.Connect()
	start(t, bus)
	if got := titles(t, client); got != "" {
		t.Errorf("a new list holds %q", got)
	}
	var want []string
	for n := range 600 { // more than NATS reads ahead
		want = append(want, add(t, client, fmt.Sprintf("todo %d", n)).Title)
	}
	if got := titles(t, client); got != strings.Join(want, ", ") {
		t.Errorf("the list is not what was added, in order: %q", got)
	}
}

func TestWhatIsNotRightIsRefused(t *testing.T) {
	bus := relaytest.Start(t)
	client := bus.Connect()
	start(t, bus)
	add(t, client, strings.Repeat("ü", maxTitle)) // is right

	for _, c := range []struct{ message, payload, code, text string }{
		{"todos.create", `{}`, "400", "title is empty"},
		{"todos.create", `{"title": " \n "}`, "400", "title is empty"},
		{"todos.create", `{"title": "` + strings.Repeat("x", maxTitle+1) + `"}`, "400", "title has 1001 characters"},
		{"todos.create", `one`, "400", "create takes JSON"},
		{"todos.get", `{"id": "nobody"}`, "404", `no todo with the id "nobody"`},
		{"todos.get", `{"id": "*"}`, "404", `no todo with the id "*"`},
		{"todos.get", `{}`, "404", `no todo with the id ""`},
	} {
		err := client.Request(t.Context(), c.message, []byte(c.payload), nil, here)
		refused := new(relay.Error)
		if !errors.As(err, &refused) || refused.Code != c.code || !strings.Contains(refused.Message, c.text) {
			t.Errorf("%s %.40s: got %v, want %s %s", c.message, c.payload, err, c.code, c.text)
		}
	}
}

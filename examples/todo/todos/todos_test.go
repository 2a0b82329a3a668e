package main

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

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

func imported(t *testing.T, r *relay.Relay, first, last int) {
	t.Helper()
	var todos []todo
	for n := first; n <= last; n++ {
		todos = append(todos, todo{ID: uuid.NewSHA1(uuid.Nil, []byte{byte(n >> 8), byte(n)}).String(), Title: fmt.Sprintf("todo %d", n)})
	}
	if err := r.Request(t.Context(), "todos.import", todos, nil, here); err != nil {
		t.Fatal(err)
	}
}

func TestImportedTodosAreListedCountedAndStreamed(t *testing.T) {
	bus := relaytest.Start(t)
	client := bus.Connect()
	start(t, bus)
	add(t, client, "first")
	imported(t, client, 1, maxImport)
	imported(t, client, maxImport+1, maxImport+10)
	var count int
	if err := client.Request(t.Context(), "todos.count", nil, &count, here); err != nil || count != maxImport+11 {
		t.Errorf("there are %d todos, %v", count, err)
	}
	var newest []todo
	if err := client.Request(t.Context(), "todos.list", map[string]int{"limit": 2}, &newest, here); err != nil ||
		len(newest) != 2 || newest[1].Title != fmt.Sprintf("todo %d", maxImport+10) {
		t.Errorf("the newest are %v, %v", newest, err)
	}
	n, middle, total := 0, "", atomic.Int64{}
	for record, err := range client.Stream(t.Context(), "todos.list", nil, here, relay.TotalTo(&total)) {
		var one todo
		if err == nil {
			err = record.Decode(&one)
		}
		if want := fmt.Sprintf("todo %d", n); err != nil || n > 0 && one.Title != want {
			t.Fatalf("got %v, %v, want %s", one, err, want)
		}
		if n++; n == 501 {
			middle = record.Cursor
		}
	}
	if n != maxImport+11 || total.Load() != int64(n) {
		t.Errorf("%d todos were streamed, of %d", n, total.Load())
	}
	rest := 0
	for one, err := range relay.Stream[todo](t.Context(), client, "todos.list", nil, here, relay.After(middle)) {
		if err != nil || rest == 0 && one.Title != "todo 501" {
			t.Fatalf("taken up again with %v, %v", one, err)
		}
		rest++
	}
	if rest != n-501 {
		t.Errorf("%d todos came after the first 501 of %d", rest, n)
	}
}

func TestImportedTwiceIsImportedOnce(t *testing.T) {
	bus := relaytest.Start(t)
	client := bus.Connect()
	start(t, bus)
	imported(t, client, 1, 3)
	imported(t, client, 2, 2)
	if got, want := titles(t, client), "todo 1, todo 3, todo 2"; got != want {
		t.Errorf("todos are %q, want %q", got, want)
	}
	var newest []todo // one place is empty
	if err := client.Request(t.Context(), "todos.list", map[string]int{"limit": 3}, &newest, here); err != nil || len(newest) != 3 {
		t.Errorf("the newest are %v, %v", newest, err)
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
		{"todos.import", `[]`, "400", "0 todos are to be imported"},
		{"todos.import", `[{"id": "*", "title": "one"}]`, "400", `its id "*" is no UUID`},
		{"todos.import", `[{"id": "00000000-0000-0000-0000-000000000001", "title": " "}]`, "400", "todo 1: title is empty"},
		{"todos.list", `{"limit": -1}`, "400", "limit is -1"},
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

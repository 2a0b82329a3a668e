package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/relaytest"
)

// here sends a message to this version, whether or not it is online.
var here = relay.ToVersion("0.0.1")

func start(t *testing.T, bus *relaytest.Bus, folder string) (stop func()) {
	t.Helper()
	index, err := openIndex(folder)
	if err != nil {
		t.Fatal(err)
	}
	leave := bus.Serve(service(index))
	stop = sync.OnceFunc(func() { leave(); index.close() })
	t.Cleanup(stop)
	return stop
}

func add(t *testing.T, r *relay.Relay, id, title string) {
	t.Helper()
	if err := r.Request(t.Context(), "todo-search.add", document{id, title}, nil, here); err != nil {
		t.Fatal(err)
	}
}

func find(t *testing.T, r *relay.Relay, query string) []document {
	t.Helper()
	var found []document
	if err := r.Request(t.Context(), "todo-search.find", map[string]string{"query": query}, &found, here); err != nil {
		t.Fatal(err)
	}
	return found
}

func TestFind(t *testing.T) {
	bus := relaytest.Start(t)
	client := bus.Connect()
	start(t, bus, filepath.Join(t.TempDir(), "index"))
	for id, title := range map[string]string{
		"1": "Buy milk",
		"2": "Buy a long list of things, and milk, and bread, and still more bread",
		"3": "Don't forget the Über-Café",
		"4": "Read chapter 42",
		"5": "To do: everything",
	} {
		add(t, client, id, title)
	}
	for query, want := range map[string]string{
		"milk":         "1 2", // the best first
		"MILK":         "1 2",
		"mil":          "1 2",
		"buying":       "1 2",
		"buy the milk": "1 2",
		"bread mi":     "2",
		"milk chapter": "",
		"don't":        "3",
		"über":         "3",
		"42":           "4",
		"to do":        "5",
		"ilk":          "",
		"   ":          "",
		"!*\"(":        "",
	} {
		var ids []string
		for _, d := range find(t, client, query) {
			ids = append(ids, d.ID)
		}
		if got := strings.Join(ids, " "); got != want {
			t.Errorf("%q finds %q, want %q", query, got, want)
		}
	}
}

func TestAddingTwiceIsAddingOnce(t *testing.T) {
	bus := relaytest.Start(t)
	client := bus.Connect()
	start(t, bus, filepath.Join(t.TempDir(), "index"))
	add(t, client, "1", "buy milk")
	add(t, client, "1", "buy milk")
	if found := find(t, client, "milk"); len(found) != 1 || found[0] != (document{"1", "buy milk"}) {
		t.Errorf("found %v", found)
	}
	add(t, client, "1", "buy bread")
	if found := find(t, client, "milk"); len(found) != 0 {
		t.Errorf("the title of before is still found: %v", found)
	}
}

func TestManyAreAddedAtOnceAndMissed(t *testing.T) {
	bus := relaytest.Start(t)
	client := bus.Connect()
	start(t, bus, filepath.Join(t.TempDir(), "index"))
	var many []document
	for n := range maxDocuments {
		many = append(many, document{fmt.Sprint(n), fmt.Sprintf("milk %d", n)})
	}
	for range 2 { // again, it changes nothing
		if err := client.Request(t.Context(), "todo-search.add-all", many, nil, here); err != nil {
			t.Fatal(err)
		}
	}
	if found := find(t, client, "milk 999"); len(found) != 1 || found[0] != many[999] {
		t.Errorf("found %v", found)
	}
	var missing []string
	if err := client.Request(t.Context(), "todo-search.missing", []string{"0", "nobody", "999", "1000"}, &missing, here); err != nil ||
		strings.Join(missing, " ") != "nobody 1000" {
		t.Errorf("missing are %v, %v", missing, err)
	}
}

func TestIndexIsThereAfterARestart(t *testing.T) {
	bus := relaytest.Start(t)
	client := bus.Connect()
	folder := filepath.Join(t.TempDir(), "not", "there", "yet")
	stop := start(t, bus, folder)
	add(t, client, "1", "buy milk")
	stop()

	start(t, bus, folder)
	add(t, client, "2", "drink milk")
	if found := find(t, client, "milk"); len(found) != 2 {
		t.Errorf("found %v", found)
	}
}

func TestResultsAreLimited(t *testing.T) {
	bus := relaytest.Start(t)
	client := bus.Connect()
	start(t, bus, filepath.Join(t.TempDir(), "index"))
	for n := range maxResults + 1 {
		add(t, client, fmt.Sprint(n), "milk")
	}
	if found := find(t, client, "milk"); len(found) != maxResults {
		t.Errorf("found %d, want %d", len(found), maxResults)
	}
}

func TestAnIndexInUseIsRefused(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "index")
	first, err := openIndex(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer first.close()
	if _, err := openIndex(folder); err == nil || !strings.Contains(err.Error(), folder) {
		t.Errorf("opened twice: %v", err)
	}
}

func TestWhatIsNotRightIsRefused(t *testing.T) {
	bus := relaytest.Start(t)
	client := bus.Connect()
	start(t, bus, filepath.Join(t.TempDir(), "index"))
	for message, payload := range map[string]string{
		"todo-search.add":     `{"id": "1"}`,
		"todo-search.add-all": `[{"id": "1", "title": "milk"}, {"id": "2"}]`,
		"todo-search.missing": `"1"`,
		"todo-search.find":    `{"query": "` + strings.Repeat("x", maxQuery+1) + `"}`,
	} {
		err := client.Request(t.Context(), message, []byte(payload), nil, here)
		refused := new(relay.Error)
		if !errors.As(err, &refused) || refused.Code != "400" {
			t.Errorf("%s: %v", message, err)
		}
	}
}

// Command setup tells todo-search 0.0.1 about the todos that are already there, however
// many they are. It goes on where it was after a crash, and adding a todo again changes
// nothing.
package main

import (
	"context"
	"iter"
	"os"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/sdk"
)

func main() {
	s := setup()
	if app := os.Getenv("GOLIVE_APP"); app != "" && os.Getenv(relay.EnvService) == "" {
		s = ofApp(app, os.Getenv(relay.EnvVersion))
	}
	os.Exit(sdk.Main(s))
}

func setup() sdk.SetupService {
	return sdk.SetupService{Service: "todo-search", Version: "0.0.1", Online: existing().Run}
}

// ofApp has the app itself run the same script, as in examples/dark-launch: when all of
// its services are online, so that no older web adds a todo behind the script's back.
func ofApp(app, version string) sdk.SetupService {
	return sdk.SetupService{App: app, Version: version, Setup: existing().Run}
}

// document is what search wants to know of a todo.
type document struct {
	ID    string `json:"id"`
	Title string `json:"title"`
}

// existing moves the todos from the list to search.
func existing() sdk.Backfill[document] {
	return sdk.Backfill[document]{
		Source: sdk.FromStream[document]("todos.list", nil),
		Batch: func(ctx context.Context, run *sdk.Run, b sdk.Batch[document]) error {
			documents := make([]document, len(b.Records))
			for i, r := range b.Records {
				documents[i] = r.Value
			}
			return run.Request(ctx, "todo-search.add-all", documents, nil, relay.MessageID(b.ID))
		},
		After: []sdk.Check{sdk.EveryFound("search knows every todo", ids, missing)},
	}
}

// ids are those of all todos.
func ids(ctx context.Context, run *sdk.Run) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for todo, err := range run.Stream(ctx, "todos.list", nil) {
			var d document
			if err == nil {
				err = todo.Decode(&d)
			}
			if !yield(d.ID, err) || err != nil {
				return
			}
		}
	}
}

// missing are those of the ids that search does not know.
func missing(ctx context.Context, run *sdk.Run, ids []string) (missing []string, err error) {
	return missing, run.Request(ctx, "todo-search.missing", ids, &missing)
}

// Command setup tells todo-search 0.0.1 about the todos that are already there. It
// may run twice: adding a todo again changes nothing.
package main

import (
	"context"
	"encoding/json"
	"os"

	"github.com/golive-dev/golive/sdk"
)

func main() { os.Exit(sdk.Main(setup())) }

func setup() sdk.Setup {
	return sdk.Setup{Service: "todo-search", Version: "0.0.1", Online: addExisting}
}

func addExisting(ctx context.Context, run *sdk.Run) error {
	var todos []json.RawMessage
	if err := run.Request(ctx, "todos.list", nil, &todos); err != nil {
		return err
	}
	run.Log.Sugar().Infof("telling search about %d todos", len(todos))
	for i, todo := range todos {
		if err := run.Request(ctx, "todo-search.add", todo, nil); err != nil {
			return err
		}
		run.Progress(int64(i+1), int64(len(todos)), "adding todos")
	}
	run.Log.Sugar().Info("search knows them all")
	return nil
}

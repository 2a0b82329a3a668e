package spec_test

import (
	"context"
	"fmt"
	"io"

	"github.com/golive-dev/golive/sdk"
	"github.com/golive-dev/golive/sdk/spec"
)

// A script that does nothing yet, and what the specification says of it. In a test one
// calls [spec.Run] instead.
func Example() {
	suite := spec.Suite{
		SetupService: sdk.SetupService{
			Service: "todo-search", Version: "0.0.1",
			Online: func(context.Context, *sdk.Run) error { return nil },
		},
		Features: []string{"testdata/todo-search.feature"},
		Doubles: []spec.Double{
			{Name: "todos", Version: "0.0.1", List: "list"},
			{Name: "todos-search", Service: "todo-search", Version: "0.0.1", Add: "add"},
		},
	}
	fmt.Println(suite.Run(context.Background(), io.Discard))
	// Output:
	// 1 of 1 scenarios failed:
	// some todos exist (testdata/todo-search.feature): the todos-search service holds other entries (- missing, + unexpected):
	//       | TITLE |
	//     - | one   |
	//     - | two   |
}

package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/embedded"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/sdk"
)

// The smallest complete setup service: fill the new search with the todos that exist.
// In a program, this is the whole of main.
func ExampleMain() {
	os.Exit(sdk.Main(sdk.Setup{
		Service: "todo-search", Version: "0.0.1",
		Online: func(ctx context.Context, run *sdk.Run) error {
			var todos []json.RawMessage
			if err := run.Request(ctx, "todos.list", nil, &todos); err != nil {
				return err
			}
			for n, todo := range todos {
				if err := run.Request(ctx, "todo-search.add", todo, nil); err != nil {
					return err
				}
				run.Progress(int64(n+1), int64(len(todos)), "")
			}
			return nil
		},
	}))
}

// A script is tried out by publishing its start by hand; here as
//
//	nats request deployment-todo-search-0.0.1-online-start ""
func ExampleSetup_Run() {
	bus, stop := exampleBus()
	defer stop()

	ctx, end := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		ended <- sdk.Setup{
			Service: "todo-search", Version: "0.0.1",
			Online: func(_ context.Context, run *sdk.Run) error {
				run.Progress(3, 3, "indexed")
				return nil
			},
		}.Run(ctx, bus)
	}()

	var answer protocol.Answer
	err := relay.ErrNobodyListens
	for errors.Is(err, relay.ErrNobodyListens) { // until the setup service has come up
		err = bus.Request(ctx, "deployment-todo-search-0.0.1-online-start", nil, &answer)
	}
	fmt.Println(answer.Done, answer.Items, answer.Note, err)
	end()
	fmt.Println("ended:", <-ended)
	// Output:
	// true 3 indexed <nil>
	// ended: <nil>
}

// An error that trying again will not mend is marked as such.
func ExamplePermanent() {
	script := func(context.Context, *sdk.Run) error {
		return sdk.Permanent(errors.New("todos.json is not JSON"))
	}
	fmt.Println(script(context.Background(), nil))
	// Output: todos.json is not JSON
}

// exampleBus starts a server and connects to it.
func exampleBus() (*relay.Relay, func()) {
	data, err := os.MkdirTemp("", "golive-example-")
	if err != nil {
		panic(err)
	}
	server, err := embedded.Start(embedded.Config{Data: data, Unsynced: true})
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	r, err := relay.Connect(ctx, relay.Config{Server: server})
	if err != nil {
		panic(err)
	}
	return r, func() {
		r.Close()
		if err := errors.Join(server.Stop(), os.RemoveAll(data)); err != nil {
			panic(err)
		}
	}
}

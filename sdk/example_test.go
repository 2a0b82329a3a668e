package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/embedded"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/sdk"
)

// The smallest complete setup service: fill the new search with the todos that exist.
// In a program, this is the whole of main.
func ExampleMain() {
	os.Exit(sdk.Main(sdk.SetupService{
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
func ExampleSetupService_Run() {
	bus, stop := exampleBus()
	defer stop()

	ctx, end := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		ended <- sdk.SetupService{
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

// A script that goes on where an attempt before it was cut off, and that holds still while
// the rollout is paused.
func ExampleRun_SaveCheckpoint() {
	bus, stop := exampleBus()
	defer stop()
	todos := []string{"buy milk", "water the plants", "call mum"}
	index := func(ctx context.Context, run *sdk.Run) error {
		next := 0 // of the todos
		if _, err := run.LoadCheckpoint(ctx, &next); err != nil {
			return err
		}
		for ; next < len(todos); next++ {
			if err := run.AwaitResume(ctx); err != nil {
				return err
			}
			if run.Start.Attempt == 1 && next == 2 {
				return errors.New("disk full")
			}
			fmt.Printf("attempt %d: %s\n", run.Start.Attempt, todos[next])
			if err := run.SaveCheckpoint(ctx, next+1); err != nil {
				return err // such as ErrSuperseded: another instance does the rest
			}
			run.Progress(int64(next+1), int64(len(todos)), "")
		}
		return nil
	}
	for attempt := range 2 {
		exampleAttempt(bus, attempt+1, sdk.SetupService{Service: "todo-search", Version: "0.0.1", Online: index})
	}
	// Output:
	// attempt 1: buy milk
	// attempt 1: water the plants
	// failed: disk full
	// attempt 2: call mum
	// done
}

// A backfill whose second attempt goes on behind the last batch that was done, and puts
// aside what the index does not take.
func ExampleBackfill() {
	bus, stop := exampleBus()
	defer stop()
	todos := []string{"buy milk", "water the plants", "???", "call mum"}
	index := sdk.Backfill[string]{
		Source: sdk.Source[string]{
			Records: func(_ context.Context, _ *sdk.Run, _, after string) iter.Seq2[sdk.Record[string], error] {
				return func(yield func(sdk.Record[string], error) bool) {
					next, _ := strconv.Atoi(after) // "" is the beginning
					for ; next < len(todos); next++ {
						if !yield(sdk.Record[string]{Value: todos[next], Cursor: strconv.Itoa(next + 1)}, nil) {
							return
						}
					}
				}
			},
			Count: func(context.Context, *sdk.Run) (int64, error) { return int64(len(todos)), nil },
		},
		Each: func(_ context.Context, run *sdk.Run, r sdk.Record[string]) error {
			if r.Value == "???" {
				return errors.New("there is no word in it")
			}
			fmt.Printf("attempt %d: %s\n", run.Start.Attempt, r.Value)
			return nil
		},
		BatchSize: 2, InFlight: 1, Retries: -1, // so small only for the example
	}
	exampleAttempt(bus, 1, sdk.SetupService{Service: "todo-search", Version: "0.0.1", Online: index.Run})
	index.PutAside = true
	exampleAttempt(bus, 2, sdk.SetupService{Service: "todo-search", Version: "0.0.1", Online: index.Run})
	// Output:
	// attempt 1: buy milk
	// attempt 1: water the plants
	// failed: backfill: record "3": there is no word in it
	// attempt 2: call mum
	// done, 1 put aside
}

// A backfill from the stream of another service, with a check of its result: the example of
// the package's documentation, complete.
func ExampleFromStream() {
	type todo struct{ ID, Text string }
	count := func(message string) func(context.Context, *sdk.Run) (int64, error) {
		return func(ctx context.Context, run *sdk.Run) (n int64, err error) {
			err = run.Request(ctx, message, nil, &n)
			return n, err
		}
	}
	os.Exit(sdk.Main(sdk.SetupService{
		Service: "todo-search", Version: "0.0.1",
		Online: sdk.Backfill[todo]{
			Source: sdk.FromStream[todo]("todos.list", nil),
			Batch: func(ctx context.Context, run *sdk.Run, b sdk.Batch[todo]) error {
				todos := make([]todo, len(b.Records))
				for i, r := range b.Records {
					todos[i] = r.Value
				}
				return run.Request(ctx, "todo-search.add", todos, nil, relay.MessageID(b.ID))
			},
			After: []sdk.Check{sdk.CountsEqual("counts equal", count("todos.count"), count("todo-search.count"))},
		}.Run,
	}))
}

// exampleAttempt does what an orchestrator does: it starts an attempt of an online script
// and waits for its answer.
func exampleAttempt(bus *relay.Relay, attempt int, setup sdk.SetupService) {
	ctx, end := context.WithTimeout(context.Background(), time.Minute)
	nc := bus.Conn()
	for _, name := range []string{protocol.ClaimsBucket, protocol.CheckpointsBucket, protocol.FailedRecordsBucket} {
		if _, err := relay.OpenBucket(ctx, nc, relay.Bucket{Name: name}); err != nil {
			panic(err)
		}
	}
	ended := make(chan error)
	go func() { ended <- setup.Run(ctx, bus) }()
	defer func() { end(); <-ended }()

	script := protocol.Script{Name: setup.Service, Version: setup.Version, Phase: protocol.Online}
	answered := make(chan protocol.Answer, 1)
	for _, verb := range []protocol.Verb{protocol.Done, protocol.Failed} {
		sub, err := nc.Subscribe(script.Subject(verb), func(m *nats.Msg) {
			var answer protocol.Answer
			if err := errors.Join(json.Unmarshal(m.Data, &answer), m.Respond([]byte(`{"accepted":true}`))); err != nil {
				panic(err)
			}
			answered <- answer
		})
		if err != nil {
			panic(err)
		}
		defer func() { _ = sub.Unsubscribe() }()
	}
	err := relay.ErrNobodyListens
	for errors.Is(err, relay.ErrNobodyListens) { // until the setup service has come up
		err = bus.Request(ctx, protocol.AboutScriptSubject(script), nil, nil)
	}
	start, err := json.Marshal(protocol.StartMessage{
		Rollout: "0199c6d2-0000-7000-8000-000000000000", Step: script.Step(), Attempt: attempt,
		App: "todo-app", AppVersion: "0.0.2", Service: script.Name, Version: script.Version, Phase: script.Phase,
	})
	if err == nil {
		err = nc.Publish(script.Subject(protocol.Start), start)
	}
	if err != nil {
		panic(err)
	}
	if answer := <-answered; answer.Error != nil {
		fmt.Println("failed:", answer.Error.Message)
	} else if answer.PutAside > 0 {
		fmt.Printf("done, %d put aside\n", answer.PutAside)
	} else {
		fmt.Println("done")
	}
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

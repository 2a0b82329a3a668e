package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/embedded"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/sdk"
)

// The smallest complete setup service: the new search takes in the todos that exist. In a
// program, what main does here is the whole of func main.
func ExampleMain() {
	bus, stop := exampleBus()
	defer stop()
	defer exampleService(bus, relay.Service{Name: "todo-search", Version: "0.0.1", Handlers: map[string]relay.Handler{
		"reindex": relay.JSON(func(context.Context, struct{}) (int64, error) { return 1204, nil }),
	}})()

	main := func() int {
		return sdk.Main(sdk.SetupService{
			Service: "todo-search", Version: "0.0.1",
			Online: func(ctx context.Context, run *sdk.Run) error {
				var todos int64
				if err := run.Request(ctx, "todo-search.reindex", nil, &todos); err != nil {
					return err
				}
				run.Progress(todos, todos, "")
				return nil
			},
		})
	}
	code := make(chan int)
	go func() { code <- main() }()

	answer, err := exampleByHand(bus, "deployment-todo-search-0.0.1-online-start")
	fmt.Println(answer.Done, answer.Items, err)
	_ = syscall.Kill(os.Getpid(), syscall.SIGTERM) // as whoever supervises it does
	fmt.Println("exit code", <-code)
	// Output:
	// true 1204 <nil>
	// exit code 0
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

	answer, err := exampleByHand(bus, "deployment-todo-search-0.0.1-online-start")
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

// A backfill from the stream of another service, with a check of its result.
func ExampleFromStream() {
	bus, stop := exampleBus()
	defer stop()
	type todo struct{ ID, Text string }
	todos := []todo{{"1", "buy milk"}, {"2", "water the plants"}}
	defer exampleService(bus, relay.Service{Name: "todos", Version: "0.0.3",
		Streams: map[string]relay.StreamHandler{
			"list": relay.JSONStream(func(_ context.Context, _ struct{}, after string, out *relay.Sender) error {
				next, _ := strconv.Atoi(after) // "" is the beginning
				for ; next < len(todos); next++ {
					if err := out.Send(todos[next], strconv.Itoa(next+1)); err != nil {
						return err
					}
				}
				return nil
			}),
		},
		Handlers: map[string]relay.Handler{
			"count": relay.JSON(func(context.Context, struct{}) (int, error) { return len(todos), nil }),
		},
	})()
	indexed := make(map[string]string)
	defer exampleService(bus, relay.Service{Name: "todo-search", Version: "0.0.1", Handlers: map[string]relay.Handler{
		"add": relay.JSON(func(_ context.Context, batch []todo) (any, error) {
			for _, t := range batch {
				indexed[t.ID] = t.Text
			}
			return nil, nil
		}),
		"count": relay.JSON(func(context.Context, struct{}) (int, error) { return len(indexed), nil }),
	}})()

	count := func(message string) func(context.Context, *sdk.Run) (int64, error) {
		return func(ctx context.Context, run *sdk.Run) (n int64, err error) {
			err = run.Request(ctx, message, nil, &n)
			return n, err
		}
	}
	exampleAttempt(bus, 1, sdk.SetupService{
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
	})
	fmt.Println(indexed)
	// Output:
	// done
	// map[1:buy milk 2:water the plants]
}

// A check after a backfill that names what did not arrive.
func ExampleEveryFound() {
	bus, stop := exampleBus()
	defer stop()
	indexed := map[string]bool{"1": true, "3": true}
	check := sdk.EveryFound("search knows every todo",
		func(context.Context, *sdk.Run) iter.Seq2[string, error] {
			return func(yield func(string, error) bool) {
				for _, id := range []string{"1", "2", "3", "4"} {
					if !yield(id, nil) {
						return
					}
				}
			}
		},
		func(_ context.Context, _ *sdk.Run, ids []string) (missing []string, err error) {
			for _, id := range ids {
				if !indexed[id] {
					missing = append(missing, id)
				}
			}
			return missing, nil
		})
	index := sdk.Backfill[string]{
		Source: sdk.Source[string]{Records: func(context.Context, *sdk.Run, string, string) iter.Seq2[sdk.Record[string], error] {
			return func(func(sdk.Record[string], error) bool) {} // all was done in an earlier attempt
		}},
		Each:  func(context.Context, *sdk.Run, sdk.Record[string]) error { return nil },
		After: []sdk.Check{check},
	}
	exampleAttempt(bus, 1, sdk.SetupService{Service: "todo-search", Version: "0.0.1", Online: index.Run})
	// Output: failed: backfill: check "search knows every todo": 2 of 4 are missing: 2, 4
}

// exampleService serves, until the function that it gives is called.
func exampleService(bus *relay.Relay, s relay.Service) (stop func()) {
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- bus.Serve(ctx, s) }()
	for up := (micro.Info{}); len(up.Endpoints) < len(s.Handlers)+len(s.Streams); { // until it listens to all of them
		m, err := bus.Conn().Request("$SRV.INFO."+s.Name, nil, time.Minute)
		if err == nil {
			err = json.Unmarshal(m.Data, &up)
		}
		if err != nil && !errors.Is(err, nats.ErrNoResponders) {
			panic(err)
		}
	}
	return func() {
		end()
		if err := <-ended; err != nil {
			panic(err)
		}
	}
}

// exampleByHand publishes a start by hand, and gives the answer.
func exampleByHand(bus *relay.Relay, start string) (answer protocol.Answer, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err = relay.ErrNobodyListens
	for errors.Is(err, relay.ErrNobodyListens) { // until the setup service has come up
		err = bus.Request(ctx, start, nil, &answer)
	}
	return answer, err
}

// exampleAttempt does what an orchestrator does: it starts an attempt of an online script
// and waits for its answer.
func exampleAttempt(server *relay.Relay, attempt int, setup sdk.SetupService) {
	ctx, end := context.WithTimeout(context.Background(), time.Minute)
	nc := server.Conn()
	for _, bucket := range []bus.Bucket{bus.Claims, bus.Checkpoints, bus.FailedRecords} {
		if _, err := bus.Make(ctx, nc, bucket, "", 1); err != nil {
			panic(err)
		}
	}
	ended := make(chan error)
	go func() { ended <- setup.Run(ctx, server) }()
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
		err = server.Request(ctx, protocol.AboutScriptSubject(script), nil, nil)
	}
	start, err := json.Marshal(protocol.StartMessage{
		Rollout: "0199c6d2-0000-7000-8000-000000000000", Step: script.Step(), Attempt: attempt,
		App: "todo-app", AppVersion: "0.0.2", Service: script.Name, Version: script.Version, Phase: script.Phase,
		Services: map[string]string{"todos": "0.0.3", "todo-search": "0.0.1"},
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

// exampleBus starts a server, which [sdk.Main] finds in its environment, and connects to it.
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
	if err == nil {
		_, _, err = bus.MakeRoutes(ctx, r.Conn(), "", 1)
	}
	if err = errors.Join(err, os.Setenv(relay.EnvURL, server.URL())); err != nil {
		panic(err)
	}
	return r, func() {
		r.Close()
		if err := errors.Join(os.Unsetenv(relay.EnvURL), server.Stop(), os.RemoveAll(data)); err != nil {
			panic(err)
		}
	}
}

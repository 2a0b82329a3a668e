package relay_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/embedded"
)

// A service answers messages. It is reached by its version from the start, and in
// production as soon as its route says so.
func ExampleRelay_Serve() {
	bus, stop := exampleBus()
	defer stop()

	ctx, end := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		ended <- bus.Serve(ctx, relay.Service{
			Name: "greeter", Version: "0.0.1",
			Handlers: map[string]relay.Handler{
				"greet": relay.JSON(func(_ context.Context, name string) (string, error) {
					if name == "" {
						return "", &relay.Error{Code: "400", Message: "greet takes a name"}
					}
					return "Hello " + name, nil
				}),
			},
		})
	}()
	exampleAwait(bus, "greeter.greet", "0.0.1")

	var greeting string
	err := bus.Request(ctx, "greeter.greet", "Ada", &greeting, relay.ToVersion("0.0.1"))
	fmt.Println(greeting, err)
	err = bus.Request(ctx, "greeter.greet", "", &greeting, relay.ToVersion("0.0.1"))
	fmt.Println(err)
	end()
	fmt.Println("ended:", <-ended)
	// Output:
	// Hello Ada <nil>
	// greeter.greet answered 400: greet takes a name
	// ended: <nil>
}

// A request waits for the answer, and fails at once when nobody is there to give it.
func ExampleRelay_Request() {
	bus, stop := exampleBus()
	defer stop()

	var titles []string
	err := bus.Request(context.Background(), "todos.list", nil, &titles)
	fmt.Println(err)
	fmt.Println(errors.Is(err, relay.ErrNobodyListens))
	// Output:
	// request todos.list: nobody listens
	// true
}

// A stream is taken up again where it was, as often as it is lost.
func ExampleRelay_Stream() {
	bus, stop := exampleBus()
	defer stop()

	ctx, end := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		ended <- bus.Serve(ctx, relay.Service{
			Name: "todos", Version: "0.0.1",
			Streams: map[string]relay.StreamHandler{
				"list": relay.JSONStream(func(_ context.Context, _ struct{}, after string, out *relay.Sender) error {
					titles := []string{"buy milk", "call Ada", "go live"}
					out.Total(int64(len(titles)))
					first, _ := strconv.Atoi(after) // none: 0
					for n := first; n < len(titles); n++ {
						if err := out.Send(titles[n], strconv.Itoa(n+1)); err != nil {
							return err
						}
					}
					return nil
				}),
			},
		})
	}()
	exampleAwait(bus, "todos.list", "0.0.1")

	var total atomic.Int64
	cursor := ""
	for again := true; again; {
		again = false
		for record, err := range bus.Stream(ctx, "todos.list", nil, relay.ToVersion("0.0.1"), relay.After(cursor), relay.TotalTo(&total)) {
			if errors.Is(err, relay.ErrStreamLost) {
				again = true
				break
			}
			if err != nil {
				fmt.Println(err)
				break
			}
			fmt.Printf("%s of %d: %s\n", record.Cursor, total.Load(), record.Data)
			cursor = record.Cursor
		}
	}
	end()
	fmt.Println("ended:", <-ended)
	// Output:
	// 1 of 3: "buy milk"
	// 2 of 3: "call Ada"
	// 3 of 3: "go live"
	// ended: <nil>
}

// A handler chooses the code that its caller sees by returning an Error.
func ExampleError() {
	var err error = &relay.Error{Name: "todos.get", Code: "404", Message: "there is no todo 7"}

	var answered *relay.Error
	if errors.As(err, &answered) && answered.Code == "404" {
		fmt.Println(strings.ToUpper(answered.Message[:1]) + answered.Message[1:] + ".")
	}
	fmt.Println(err)
	// Output:
	// There is no todo 7.
	// todos.get answered 404: there is no todo 7
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
	r, err := relay.Connect(context.Background(), relay.Config{Server: server})
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

// exampleAwait blocks until somebody listens to the message.
func exampleAwait(r *relay.Relay, name, version string) {
	for errors.Is(r.Request(context.Background(), name, nil, nil, relay.ToVersion(version)), relay.ErrNobodyListens) {
		continue
	}
}

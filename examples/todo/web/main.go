// Command web is the todo app in the browser: a page and a JSON API on loopback.
//
// From version 0.0.2 on it also searches, and tells todo-search about every new
// todo; -search has it do more of this or less. It keeps nothing itself: all it shows
// it asks of the services todos and todo-search, over the bus, and when one of them is
// not there it says so and shows the rest. It has no accounts, so it listens on
// loopback only.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/golive-dev/golive/relay"
)

const (
	newestVersion  = "0.0.2"         // where GOLIVE_VERSION does not say which one to be
	requestTimeout = 5 * time.Second // of a request over the bus
)

func main() { os.Exit(run()) }

func run() int {
	search := flag.String("search", "", "what it does with todo-search: none; fed: tell it about new todos, and show nothing of it; shown (default: none before version "+searchSince+", shown from then on)")
	flag.Parse()
	ctx, stop := relay.UntilStopped(context.Background())
	defer stop()
	if err := serve(ctx, *search); err != nil && ctx.Err() == nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		return 1
	}
	return 0
}

// serve runs the page and the service until ctx ends, or until one of them fails.
func serve(ctx context.Context, search string) error {
	c := relay.FromEnvironment()
	c.Name, c.Logger, c.RequestTimeout = "web", relay.StderrLogger(), requestTimeout
	bus, err := relay.Connect(ctx, c)
	if err != nil {
		return err
	}
	defer bus.Close()
	site, err := newSite(bus, cmp.Or(os.Getenv(relay.EnvVersion), newestVersion), search, c.Logger)
	if err != nil {
		return err
	}
	listener, err := listen(os.Getenv("WEB_LISTEN"), c.Logger)
	if err != nil {
		return err
	}
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() error { return serveHTTP(ctx, listener, site.handler()) })
	both.Go(func() error { return bus.Serve(ctx, service(site.version, "http://"+listener.Addr().String())) })
	return both.Wait()
}

// service is web as the others on the bus see it.
func service(version, url string) relay.Service {
	type pong struct {
		Version string `json:"version"`
		URL     string `json:"url"`
	}
	return relay.Service{
		Name: "web", Version: version, Metadata: map[string]string{"url": url},
		Handlers: map[string]relay.Handler{
			"ping": func(context.Context, *relay.Message) (any, error) { return pong{version, url}, nil },
		},
	}
}

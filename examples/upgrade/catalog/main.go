// Command catalog is the service that keeps the articles of the shop and their prices.
//
// A version answers catalog.list; stored and store, which its setup service and the backup
// use, are the same in both. 1.0.0 has prices as text (12.50 EUR), 2.0.0 as numbers of
// cents. The articles are in a JetStream bucket, where every version finds them; none can
// list those that have the price of another one.
//
// The arguments are the versions that this process serves. With 2.0.0 comes its setup service:
// in the same process, so that the way back is there as long as the service is.
package main

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sync/errgroup"

	"github.com/golive-dev/golive/relay"
)

func main() { os.Exit(run(os.Args[1:])) }

func run(versions []string) int {
	ctx, stop := relay.UntilStopped(context.Background())
	defer stop()
	if err := serve(ctx, versions); err != nil && ctx.Err() == nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		return 1
	}
	return 0
}

// serve serves all the versions until ctx ends, or until one of them fails.
func serve(ctx context.Context, versions []string) error {
	if len(versions) == 0 {
		return fmt.Errorf("name the versions to serve: catalog 2.0.0 1.0.0")
	}
	all, ctx := errgroup.WithContext(ctx)
	for _, version := range versions {
		all.Go(func() error { return serveOne(ctx, version) })
	}
	return all.Wait()
}

func serveOne(ctx context.Context, version string) error {
	c := relay.FromEnvironment()
	c.Name, c.Logger = "catalog "+version, relay.StderrLogger()
	bus, err := relay.Connect(ctx, c)
	if err != nil {
		return err
	}
	defer bus.Close()
	s, err := service(ctx, bus, version)
	if err != nil {
		return err
	}
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() error { return bus.Serve(ctx, s) })
	if its := setup(); version == its.Version {
		its.Logger = c.Logger
		both.Go(func() error { return its.Run(ctx, bus) })
	}
	return both.Wait()
}

// service is one version of catalog.
func service(ctx context.Context, bus *relay.Relay, version string) (relay.Service, error) {
	shelf, err := openShelf(ctx, bus.Conn())
	if err != nil {
		return relay.Service{}, err
	}
	lists := map[string]relay.Handler{"1.0.0": relay.JSON(shelf.priced), "2.0.0": relay.JSON(shelf.inCents)}
	list, known := lists[version]
	if !known {
		return relay.Service{}, fmt.Errorf("there is no catalog %s: versions are 1.0.0 and 2.0.0", version)
	}
	return relay.Service{
		Name: "catalog", Version: version,
		Handlers: map[string]relay.Handler{
			"list":   list,
			"stored": relay.JSON(shelf.stored),
			"store":  relay.JSON(shelf.store),
		},
	}, nil
}

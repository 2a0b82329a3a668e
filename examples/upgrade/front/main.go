// Command front is a front end of the shop: a web server that asks the catalog for the
// articles, over the bus.
//
// It is no service of golive's: commands of the manifest start and stop it, as they would one
// that a machine has always had. One that was started is in a session of its own and writes
// to a file, so it goes on when the command has ended. It ends when it is stopped, or when
// the bus has been gone for three seconds: nothing of this example outlives golive.
//
//	front start            start one, in the place of one that runs
//	front stop             stop the one that runs, of whichever version
//	front status           tell the version of the one that runs
//	front serve            be one
//	front look URL TEXT…   end with 0 if the page there holds all the texts
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/golive-dev/golive/relay"
)

// version is what this front end was built as.
var version = "2.0.0"

func main() {
	ctx, stop := relay.UntilStopped(context.Background())
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	m := machine(cmp.Or(os.Getenv("SHOP_MACHINE"), filepath.Join("..", ".golive", "machine")))
	address := "127.0.0.1:" + cmp.Or(os.Getenv("SHOP_PORT"), "8481")
	switch {
	case len(args) > 2 && args[0] == "look":
		return look(ctx, args[1], args[2:])
	case len(args) != 1:
	case args[0] == "start":
		return start(ctx, m, address)
	case args[0] == "stop":
		return stop(ctx, m)
	case args[0] == "status":
		if _, runs := m.running(); runs != "" {
			fmt.Println(runs)
		}
		return nil
	case args[0] == "serve":
		return serve(ctx, m, address)
	}
	return errors.New("usage: front start|stop|status|serve, or front look URL TEXT…")
}

// Command door is what visitors of the shop come to: it passes their requests on to the front
// end of this machine, and shows the maintenance page while there is none, or while that says
// that it cannot serve them.
//
// In this example it plays the machine as well: it starts the front end that is installed when
// it starts itself, as a machine does that boots, and stops it in the end.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/golive-dev/golive/relay"
)

const (
	requestTimeout = 5 * time.Second
	patience       = 5 * time.Second // with an address that somebody else has
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := relay.UntilStopped(context.Background())
	defer stop()
	if err := serve(ctx); err != nil && ctx.Err() == nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		return 1
	}
	return 0
}

// serve is the door until ctx ends.
func serve(ctx context.Context) error {
	c := relay.FromEnvironment()
	c.Name, c.Logger, c.RequestTimeout = "door", relay.StderrLogger(), requestTimeout
	bus, err := relay.Connect(ctx, c)
	if err != nil {
		return err
	}
	defer bus.Close()
	listener, err := listen(ctx, cmp.Or(os.Getenv("SHOP_DOOR"), "127.0.0.1:8480"))
	if err != nil {
		return err
	}
	if err := frontEnds("boot"); err != nil {
		return err
	}
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() error { return serveHTTP(ctx, listener, passOn(bus)) })
	both.Go(func() error { return bus.Serve(ctx, service("http://"+listener.Addr().String())) })
	return both.Wait()
}

// frontEnds starts the front end that is installed, or stops it.
func frontEnds(what string) error {
	c := exec.Command(filepath.Join("..", "bin", "front-ends"), what)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	if err := c.Run(); err != nil {
		return fmt.Errorf("front-ends %s: %w", what, err)
	}
	return nil
}

// service is the door as the others on the bus see it.
func service(at string) relay.Service {
	return relay.Service{
		Name: "door", Version: cmp.Or(os.Getenv(relay.EnvVersion), "1.0.0"), Metadata: map[string]string{"url": at},
		Handlers: map[string]relay.Handler{
			"ping": func(context.Context, *relay.Message) (any, error) { return at, nil },
		},
	}
}

// listen listens on an address, once the door of a golive that was killed has let go of it.
func listen(ctx context.Context, address string) (net.Listener, error) {
	for began := time.Now(); ; {
		l, err := net.Listen("tcp", address)
		if err == nil {
			return l, nil
		}
		if time.Since(began) > patience {
			return nil, fmt.Errorf("%w: give another address in SHOP_DOOR", err)
		}
		select {
		case <-time.After(patience / 100):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// serveHTTP answers requests until ctx ends. The front end stops before the address is free:
// whoever takes that next starts one of its own.
func serveHTTP(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: requestTimeout}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	select {
	case err := <-ended:
		return errors.Join(err, frontEnds("halt"))
	case <-ctx.Done():
	}
	err := errors.Join(frontEnds("halt"), s.Close())
	<-ended
	return err
}

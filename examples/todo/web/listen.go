package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"go.uber.org/zap"
)

const (
	defaultAddress = "127.0.0.1:8080"
	freeAddress    = "127.0.0.1:0"
	closeTimeout   = 3 * time.Second // for requests to be answered at the end
)

// listen listens on the address, which must be of this machine. Where none is given
// it is the default one, or any that is free when that is taken.
func listen(address string, log *zap.Logger) (net.Listener, error) {
	if address != "" {
		return listenOn(address)
	}
	l, err := net.Listen("tcp", defaultAddress)
	if err == nil {
		return l, nil
	}
	log.Warn("cannot have "+defaultAddress+", taking a free port", zap.Error(err))
	return net.Listen("tcp", freeAddress)
}

func listenOn(address string) (net.Listener, error) {
	a, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("WEB_LISTEN: %w: write it like %s", err, defaultAddress)
	}
	if !a.IP.IsLoopback() && os.Getenv("WEB_REMOTE") != "1" {
		return nil, fmt.Errorf("WEB_LISTEN is %s, where others could reach it, and the app has no accounts: write it like %s, or set WEB_REMOTE=1 if something else keeps others out", address, defaultAddress)
	}
	return net.ListenTCP("tcp", a)
}

// serveHTTP answers requests until ctx ends, and then those it has got.
func serveHTTP(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    32 << 10,
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve http://%s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	err := s.Shutdown(closing)
	if err != nil {
		err = s.Close()
	}
	<-ended
	return err
}

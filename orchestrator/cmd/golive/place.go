package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/report"
	"github.com/golive-dev/golive/relay"
)

// place is where a bus is, and how one gets in.
type place struct {
	url, creds string
	context    string // of the nats command line; it says both
}

// is reports whether the place is known.
func (p place) is() bool { return p.url != "" || p.context != "" }

// environment is the place as programs find it in their environment.
func (p place) environment() []string {
	return []string{relay.EnvURL + "=" + p.url, relay.EnvCredentials + "=" + p.creds, relay.EnvContext + "=" + p.context}
}

// connectTimeout is how long a person waits for the bus.
const connectTimeout = 5 * time.Second

// connect reaches the bus for somebody, or says why not.
func (p place) connect(ctx context.Context, by string, log *zap.Logger) (*relay.Relay, error) {
	trying, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	r, err := relay.Connect(trying, relay.Config{URL: p.url, Credentials: p.creds, Context: p.context, Name: "golive " + by, Logger: log})
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("%w: nobody answered within %s", err, connectTimeout)
	}
	if err != nil {
		return nil, &report.Failure{Code: report.CodeNoBus, Message: err.Error(), Hint: "is a NATS server running there? name another one with --nats URL"}
	}
	return r, nil
}

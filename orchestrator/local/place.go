package local

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/report"
	"github.com/golive-dev/golive/relay"
)

// Place is where a bus is, and how one gets in.
type Place struct {
	URL     string // of a server, or of several, joined by commas
	Creds   string // file with the credentials; empty: none
	Context string // of the nats command line; it says both
}

// Known reports whether the place is known.
func (p Place) Known() bool { return p.URL != "" || p.Context != "" }

// Environment is the place as programs find it in their environment.
func (p Place) Environment() []string {
	return []string{relay.EnvURL + "=" + p.URL, relay.EnvCredentials + "=" + p.Creds, relay.EnvContext + "=" + p.Context}
}

// connectTimeout is how long a person waits for the bus.
const connectTimeout = 5 * time.Second

// Connect reaches the bus for somebody, or says within five seconds, in a [report.Failure], why
// not.
func (p Place) Connect(ctx context.Context, by string, log *zap.Logger) (*relay.Relay, error) {
	trying, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	r, err := relay.Connect(trying, relay.Config{URL: p.URL, Credentials: p.Creds, Context: p.Context, Name: "golive " + by, Logger: log})
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("%w: nobody answered within %s", err, connectTimeout)
	}
	if relay.CheckURL(p.URL) != nil {
		return nil, &report.Failure{Code: report.CodeNoBus, Message: err.Error(), Hint: "correct GOLIVE_NATS_URL, or nats in golive.yaml, or name another one with --nats URL"}
	}
	if err != nil {
		return nil, &report.Failure{Code: report.CodeNoBus, Message: err.Error(), Hint: "is a NATS server running there? name another one with --nats URL"}
	}
	return r, nil
}

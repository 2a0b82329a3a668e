package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/report"
	"github.com/golive-dev/golive/relay"
)

// Place is where a bus is, and how one gets in.
type Place struct {
	URL     string // of a server, or of several, joined by commas
	Creds   string // file with the credentials; empty: none
	Context string // of the nats command line; it says both
	Domain  string // of JetStream; empty: that of the context, or the one that is near
	Inbox   string // prefix of inboxes; empty: that of the context, or NATS's own

	Variable string // of the process's environment that named it; empty: something else has
}

// Known reports whether the place is known.
func (p Place) Known() bool { return p.URL != "" || p.Context != "" }

// Environment is the place as programs find it in their environment.
func (p Place) Environment() []string {
	return []string{relay.EnvURL + "=" + p.URL, relay.EnvCredentials + "=" + p.Creds, relay.EnvContext + "=" + p.Context, relay.EnvDomain + "=" + p.Domain, relay.EnvInbox + "=" + p.Inbox}
}

// How long a person waits for the bus: where nobody listens, and where somebody does, who may be
// seconds away.
const (
	connectTimeout     = 5 * time.Second
	longConnectTimeout = 15 * time.Second
)

// Connect reaches the bus for somebody, or says why not in a [report.Failure], within five seconds
// where nobody listens, and fifteen else.
func (p Place) Connect(ctx context.Context, by string, log *zap.Logger) (*relay.Relay, error) {
	trying, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	within := func(d time.Duration, late func() bool) *time.Timer {
		return time.AfterFunc(d, func() {
			if late() {
				giveUp(fmt.Errorf("nobody answered within %s", d))
			}
		})
	}
	defer within(connectTimeout, p.deserted).Stop()
	defer within(longConnectTimeout, func() bool { return true }).Stop()
	r, err := relay.Connect(trying, relay.Config{URL: p.URL, Credentials: p.Creds, Context: p.Context, Domain: p.Domain, Inbox: p.Inbox, Name: "golive " + by, Logger: log})
	if relay.CheckURL(p.URL) != nil {
		return nil, &report.Failure{Code: report.CodeNoBus, Message: err.Error(), Hint: "correct GOLIVE_NATS_URL, or nats in golive.yaml, or name another one with --nats URL"}
	}
	if err != nil {
		hint := "is a NATS server running there? name another one with --nats URL"
		if p.Variable != "" {
			hint = "is a NATS server running there? " + p.Variable + " names it: unset it, or name another one with --nats URL"
		}
		return nil, &report.Failure{Code: report.CodeNoBus, Message: err.Error(), Hint: hint}
	}
	return r, nil
}

// deserted reports whether nobody listens at any of the addresses of the bus. Where they stand in
// a context, it is not known.
func (p Place) deserted() bool {
	if p.URL == "" {
		return false
	}
	for address := range strings.SplitSeq(p.URL, ",") {
		if at := strings.LastIndexAny(address, "/@"); at >= 0 {
			address = address[at+1:]
		}
		if _, _, err := net.SplitHostPort(address); err != nil {
			address = net.JoinHostPort(address, strconv.Itoa(nats.DefaultPort))
		}
		conn, err := net.DialTimeout("tcp", strings.TrimSpace(address), time.Second)
		if err == nil {
			_ = conn.Close()
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return false
		}
	}
	return true
}

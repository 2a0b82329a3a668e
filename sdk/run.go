package sdk

import (
	"context"
	"errors"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
)

// Run is one run of a script. It is safe for concurrent use.
type Run struct {
	// Start is the message that started the run. Its Rollout is empty when a person
	// published it by hand.
	Start protocol.StartMessage

	// Log reaches the terminal of whoever follows the rollout.
	Log *zap.Logger

	relay  *relay.Relay
	routes *routes
	pulse  func(protocol.ProgressMessage) // publishes a progress message

	checkpoints *checkpoints // nil: none are kept
	pace        *pace        // nil: nobody says how fast to work
	js          jetstream.JetStream
	sharing     *sharing // nil: nobody is to help

	mu       sync.Mutex
	progress protocol.ProgressMessage // the last one told
	changes  int                      // of it
	figures  map[string]figures       // of each backfill, by name
}

// Request is [relay.Relay.Request] from inside the script: a message to the service
// whose script this is goes to the version being set up; a message to another service
// goes to production if a version of it answers there (not under maintenance), else to
// the version that this rollout brings. An explicit [relay.ToVersion] overrules that.
func (r *Run) Request(ctx context.Context, name string, payload, reply any, opts ...relay.Option) error {
	to, ours, err := r.version(ctx, name)
	if err != nil {
		return err
	}
	err = r.relay.Request(ctx, name, payload, reply, append(to, opts...)...)
	if ours == "" || to != nil || !errors.Is(err, relay.ErrNobodyListens) && !errors.Is(err, relay.ErrMaintenance) {
		return err
	}
	r.routes.forget() // it has changed since, and no handler has seen the request
	return r.relay.Request(ctx, name, payload, reply, append([]relay.Option{relay.ToVersion(ours)}, opts...)...)
}

// Send is [relay.Relay.Send] from inside the script, to where [Run.Request] would go;
// nobody tells whether it arrived, so prefer that.
func (r *Run) Send(name string, payload any, opts ...relay.Option) error {
	ctx, cancel := context.WithTimeout(context.Background(), routeTimeout)
	defer cancel()
	to, _, err := r.version(ctx, name)
	if err != nil {
		return err
	}
	return r.relay.Send(name, payload, append(to, opts...)...)
}

// version says to which version a message goes: none is production. Ours is the version
// that the rollout brings of another service; empty when it brings none.
func (r *Run) version(ctx context.Context, name string) (to []relay.Option, ours string, err error) {
	service, _, err := protocol.SplitMessage(name)
	if err != nil {
		return nil, "", err
	}
	if service == r.Start.Service {
		return []relay.Option{relay.ToVersion(r.Start.Version)}, "", nil
	}
	ours = r.Start.Services[service]
	if ours == "" {
		return nil, "", nil
	}
	serves, err := r.routes.serves(ctx, service)
	if err != nil || serves {
		return nil, ours, err
	}
	return []relay.Option{relay.ToVersion(ours)}, ours, nil
}

// Progress tells how much is done of how much; total is 0 where it is not known, and
// note may be empty. It does not block and may be called as often as one likes: it is
// published at most ten times a second. The last done is also the number of items in
// the script's answer.
func (r *Run) Progress(done, total int64, note string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.progress; r.changes > 0 && *p.Done == done && p.Total == total && p.Note == note {
		return
	}
	r.progress.Done, r.progress.Total, r.progress.Note = &done, total, note
	r.changes++
}

// note puts a note in the place of the one before, which it gives, for the time in which no
// record is dealt with.
func (r *Run) note(note string) (before string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before = r.progress.Note
	if r.progress.Done != nil {
		r.progress.Note, r.progress.Rate = note, 0
		r.changes++
	}
	return before
}

// told gives the progress that the script told last, and how often it has changed.
func (r *Run) told() (protocol.ProgressMessage, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.progress, r.changes
}

package sdk

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// Run is one run of a script. It is safe for concurrent use.
type Run struct {
	// Start is the message that started the run. Its Rollout is empty when a person
	// published it by hand.
	Start protocol.StartMessage

	// Log reaches the terminal of whoever follows the rollout.
	Log *zap.Logger

	relay   *relay.Relay
	routes  *routes
	publish func(protocol.ProgressMessage) // publishes a progress message

	checkpoints *checkpoints   // nil: none are kept
	pace        *pace          // nil: nobody says how fast to work
	script      *scriptContext // nil: it is never paused
	js          bus.JetStream
	sharing     *sharing // nil: nobody is to help

	mu        sync.Mutex
	progress  protocol.ProgressMessage    // the last one told
	changes   int                         // of it
	items     int64                       // that the answer tells
	note      string                      // of the script itself
	remarks   []string                    // of its backfills, that the answer tells behind the note
	backfills map[string]backfillProgress // by name
	checks    []protocol.CheckResult
	begun     map[string]bool // backfills that are at work or done, by name
}

// newRun is the run of the attempt, whose script has this context.
func (a *attempt) newRun(script *scriptContext) *Run {
	return &Run{
		Start: a.start,
		Log:   a.logger(),
		relay: a.worker.relay, routes: newRoutes(a.worker.nc), checkpoints: newCheckpoints(a),
		pace: script.pace, script: script, js: a.worker.claims.js, sharing: a.sharing(),
		publish: func(p protocol.ProgressMessage) {
			p.Rollout, p.Attempt, p.Told = a.start.Rollout, a.start.Attempt, script.told()
			m := nats.NewMsg(a.job.script.Subject(protocol.Progress))
			m.Data = marshal(p)
			a.address(m.Header, uuid.New())
			if err := a.worker.nc.PublishMsg(m); err != nil {
				a.worker.log.Debug("progress", zap.Error(err))
			}
		},
	}
}

// Request is [relay.Relay.Request] from inside the script: a message to the service
// whose script this is goes to the version being set up; a message to another service
// goes to production if a version of it answers there (not under maintenance), else to
// the version that this rollout brings. An explicit [relay.ToVersion] overrules that.
func (r *Run) Request(ctx context.Context, name string, payload, reply any, opts ...relay.RequestOption) error {
	to, ours, err := r.version(ctx, name)
	if err != nil {
		return err
	}
	err = r.relay.Request(ctx, name, payload, reply, append([]relay.RequestOption{relay.ToVersion(to)}, opts...)...)
	if ours == "" || to != "" || !errors.Is(err, relay.ErrNobodyListens) && !errors.Is(err, relay.ErrMaintenance) {
		return err
	}
	r.routes.forget() // it has changed since, and no handler has seen the request
	return r.relay.Request(ctx, name, payload, reply, append([]relay.RequestOption{relay.ToVersion(ours)}, opts...)...)
}

// Send is [relay.Relay.Send] from inside the script, to where [Run.Request] would go;
// nobody tells whether it arrived, so prefer that.
func (r *Run) Send(name string, payload any, opts ...relay.SendOption) error {
	ctx, cancel := context.WithTimeout(context.Background(), routeTimeout)
	defer cancel()
	to, _, err := r.version(ctx, name)
	if err != nil {
		return err
	}
	return r.relay.Send(name, payload, append([]relay.SendOption{relay.ToVersion(to)}, opts...)...)
}

// version says to which version a message goes: an empty one is production. Ours is the version
// that the rollout brings of another service; empty when it brings none.
func (r *Run) version(ctx context.Context, name string) (to, ours string, err error) {
	service, _, err := protocol.SplitMessage(name)
	if err != nil {
		return "", "", err
	}
	if service == r.Start.Service {
		return r.Start.Version, "", nil
	}
	ours = r.Start.Services[service]
	if ours == "" {
		return "", "", nil
	}
	serves, err := r.routes.serves(ctx, service)
	if err != nil || serves {
		return "", ours, err
	}
	return ours, ours, nil
}

// Progress tells how much is done of how much; total is 0 where it is not known, and
// note may be empty. It does not block and may be called as often as one likes: it is
// published at most ten times a second. The last done is also the number of items in
// the script's answer. (A [Backfill] tells its progress itself; of its records, those that
// were put aside are no items.)
func (r *Run) Progress(done, total int64, note string) {
	note = clip(note)
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.progress; r.changes > 0 && *p.Done == done && p.Total == total && p.Note == note {
		return
	}
	r.progress.Done, r.progress.Total, r.progress.Note, r.items = &done, total, note, done
	r.note = note
	r.changes++
}

// checked makes a check part of the answer.
func (r *Run) checked(name string, err error) {
	result := protocol.CheckResult{Name: name, Holds: err == nil}
	if err != nil {
		result.Error = clip(err.Error())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checks = append(r.checks, result)
}

// remark makes a text part of the answer's note.
func (r *Run) remark(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.remarks = append(r.remarks, text)
}

// beginBackfill notes that a backfill is at work; false: another one of that name is, or
// has been done.
func (r *Run) beginBackfill(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.begun[name] {
		return false
	}
	if r.begun == nil {
		r.begun = make(map[string]bool)
	}
	r.begun[name] = true
	return true
}

// failBackfill lets the script run a backfill once more.
func (r *Run) failBackfill(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.begun, name)
}

// lastProgress is what the script has told last, and how often that has changed.
func (r *Run) lastProgress() (protocol.ProgressMessage, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.progress, r.changes
}

// addTo makes what the script has told last part of its answer.
func (r *Run) addTo(a *protocol.Answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a.Items, a.PutAside = r.items, r.progress.PutAside
	a.Note = r.progress.Note
	for _, remark := range r.remarks {
		if a.Note != "" {
			a.Note += ", "
		}
		a.Note = clip(a.Note + remark)
	}
	a.Checks = slices.Clone(r.checks)
}

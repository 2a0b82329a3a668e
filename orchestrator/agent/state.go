package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/process"
	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/transfer"
)

// states are the services whose state this agent is at. It is safe for concurrent use.
type states struct {
	mu   sync.Mutex
	busy map[string]bool // by app and service
}

// begin reports whether nothing of a state runs yet; then free has to be called.
func (s *states) begin(key string) (free func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy[key] {
		return nil, false
	}
	if s.busy == nil {
		s.busy = make(map[string]bool)
	}
	s.busy[key] = true
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.busy, key)
	}), true
}

// listenState subscribes the orders for the state of services. What they run ends with ctx.
func (a *Agent) listenState(ctx context.Context) (*nats.Subscription, error) {
	return a.c.Conn.Subscribe(protocol.AgentSubject(a.c.Name, "state"), func(m *nats.Msg) {
		if ctx.Err() != nil || !protocol.IsInbox(m.Reply) {
			return
		}
		a.jobs.work.Go(func() { a.state(ctx, m) })
	})
}

// state follows an order for the state of a service, or refuses it.
func (a *Agent) state(ctx context.Context, m *nats.Msg) {
	var o protocol.StateOrder
	log := a.log
	c, err := (*StateCommand)(nil), error(nil)
	if json.Unmarshal(m.Data, &o) != nil || o.Timeout <= 0 || o.Most <= 0 || !rolloutID.MatchString(o.Snapshot) {
		err = refuse(protocol.CodeRefused, "the order cannot be read")
	} else {
		log = log.With(zap.String("do", clip(o.Do)), zap.String("service", clip(o.Service)), zap.String("snapshot", clip(o.Snapshot)))
		c, err = a.verifyState(ctx, o, m.Reply)
	}
	var free func()
	if err == nil {
		var first bool
		if free, first = a.states.begin(o.App + "/" + o.Service); !first {
			err = refuse(protocol.CodeBusy, "agent %s is still at an earlier order", a.c.Name)
		}
	}
	if err == nil {
		defer free()
		began := time.Now()
		if err := c.follow(ctx, a.c.Conn, m.Reply, o, func() { log.Info("state begins on this host") }, free); err != nil {
			log.Warn("state has failed on this host", zap.Error(err))
			return
		}
		log.Info("state has ended on this host", zap.Duration("took", time.Since(began)))
		return
	}
	log.Warn("order for a state refused", zap.Error(err))
	code := protocol.CodeFailed
	if refusal := new(protocol.ServiceError); errors.As(err, &refusal) {
		code = refusal.Code
	}
	if err := transfer.Refuse(a.c.Conn, m.Reply, code, err.Error()); err != nil {
		log.Debug("order not answered", zap.Error(err))
	}
}

// verifyState finds out whether an order is true, and which command it means here. It is true if an
// orchestrator has claimed that very work, and the answer goes to that one alone; what is run
// is what the agent's own manifest says.
func (a *Agent) verifyState(ctx context.Context, o protocol.StateOrder, reply string) (*StateCommand, error) {
	i := slices.IndexFunc(a.identity.Releases, func(r protocol.AgentRelease) bool {
		return r.App == o.App && r.Version == o.Version && r.Digest == o.Digest
	})
	if i < 0 {
		return nil, refuse(protocol.CodeUnknownRelease, "agent %s was not given this release", a.c.Name)
	}
	m := a.c.Releases[i]
	j := slices.IndexFunc(m.Services, func(s release.Service) bool { return s.Name == o.Service })
	if j < 0 || m.Services[j].State == nil || m.Services[j].StateCommand == nil {
		return nil, refuse(protocol.CodeRefused, "the manifest on agent %s has no command for the state of that service", a.c.Name)
	}
	for key, value := range m.Services[j].State.On {
		if has, ok := a.c.Labels[key]; !ok || has != value {
			return nil, refuse(protocol.CodeRefused, "agent %s does not have the label %s=%s that the state of service %s asks for", a.c.Name, key, value, o.Service)
		}
	}
	if !a.lease.covers(time.Now()) {
		return nil, errLapsed
	}
	claim, err := a.claim(ctx)
	if err != nil {
		return nil, err
	}
	if !claim.Allows(o, reply) {
		return nil, refuse(protocol.CodeNotWanted, "no orchestrator says that it is at that")
	}
	return &StateCommand{
		Manifest: m, Service: m.Services[j], Host: a.c.Name, Environment: a.c.Environment, Base: a.c.Base,
		Records: a.c.Records, Scratch: a.c.Scratch, Output: a.c.StateOutput,
	}, nil
}

// claim reads which snapshot is being taken, checked or put.
func (a *Agent) claim(ctx context.Context) (claim protocol.SnapshotClaim, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	takes, err := bus.Open(ctx, a.c.Conn, bus.Takes)
	if errors.Is(err, bus.ErrNone) {
		return claim, nil
	}
	if err != nil {
		return claim, fmt.Errorf("look up which snapshot is taken: %w", err)
	}
	var found jetstream.KeyValueEntry
	err = bus.AskLeader(ctx, func(ctx context.Context) (err error) {
		found, err = takes.Get(ctx, protocol.SnapshotClaimKey)
		return err
	})
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return claim, nil
	}
	if err == nil {
		err = json.Unmarshal(found.Value(), &claim)
	}
	if err != nil {
		return claim, fmt.Errorf("look up which snapshot is taken: %w", err)
	}
	return claim, nil
}

// StateCommand is the command of a manifest that takes and puts the state of a service, on this host.
type StateCommand struct {
	Manifest    *release.Manifest          // required
	Service     release.Service            // of it, with a StateCommand
	Host        string                     // how this host is called
	Environment []string                   // of the command, KEY=VALUE, beside Base
	Base        []string                   // of the command, KEY=VALUE; nil: this process's own
	Records     string                     // as in [Config]
	Scratch     string                     // as in [Config]
	Output      func(service, line string) // as StateOutput in [Config]
}

// follow follows an order. It calls begun when that is answered, and free when the command has ended.
func (c *StateCommand) follow(ctx context.Context, nc *nats.Conn, reply string, o protocol.StateOrder, begun, free func()) error {
	who := protocol.StateAnswer{From: "agent " + c.Host}
	if o.Do == protocol.StateTake {
		return transfer.Give(ctx, nc, reply, o, who, func(ctx context.Context, w io.Writer) error {
			defer free()
			begun()
			return c.Take(ctx, o.Snapshot, w)
		})
	}
	return transfer.Receive(ctx, nc, reply, o, who, func(ctx context.Context, r io.Reader) error {
		defer free()
		begun()
		return c.Read(ctx, o.Do, o.Snapshot, r)
	})
}

// Take calls the command with take, and writes the folder that it has filled to w, as
// [transfer.Pack] does. The folder is removed. It blocks until all is written; when ctx ends, the
// command is stopped.
func (c *StateCommand) Take(ctx context.Context, snapshot string, w io.Writer) error {
	return c.within(func(dir string) error {
		if err := c.call(ctx, protocol.StateTake, snapshot, dir); err != nil {
			return err
		}
		counted := &counter{w: w}
		if err := transfer.Pack(ctx, dir, counted); err != nil {
			return fmt.Errorf("what the command has taken: %w", err)
		}
		if counted.n == 0 {
			return errors.New("take: the command has ended well, and has written nothing to its folder")
		}
		return nil
	})
}

// Read calls the command with check, put or drop, on a folder of what is read from r, which Take
// has written. The folder is removed. It blocks until the command has ended; when ctx ends, it is
// stopped.
func (c *StateCommand) Read(ctx context.Context, do, snapshot string, r io.Reader) error {
	return c.within(func(dir string) error {
		err := error(nil)
		if do == protocol.StateDrop {
			_, err = io.Copy(io.Discard, r)
		} else {
			err = transfer.Unpack(ctx, r, dir)
		}
		if err != nil {
			return fmt.Errorf("write what was taken into a folder for the command: %w", err)
		}
		return c.call(ctx, do, snapshot, dir)
	})
}

func (c *StateCommand) within(do func(dir string) error) error {
	dir, release, err := transfer.Scratch(c.Scratch)
	if err != nil {
		return err
	}
	return errors.Join(do(dir), release())
}

// call runs the command with a word. Its error has the end of what the command has said.
func (c *StateCommand) call(ctx context.Context, word, snapshot, dir string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var said tail
	p, err := process.Start(process.Command{
		Name: "the state command of " + c.Service.Name, Args: line(c.Service.StateCommand, "", word), Dir: c.Manifest.Dir, NoInput: true,
		Base: c.Base, Env: c.environ(snapshot, dir), Records: c.Records,
		Output: func(line string) {
			said.add(line)
			if c.Output != nil {
				c.Output(c.Service.Name, line)
			}
		},
	})
	if err != nil {
		return err
	}
	stopped := error(nil)
	select {
	case <-p.Done():
	case <-ctx.Done():
		stopped = context.Cause(ctx)
	}
	if err := p.Stop(context.Background()); err != nil && stopped != nil { // also what it has left behind
		stopped = fmt.Errorf("%w; %w", stopped, err)
	}
	<-p.Done()
	if stopped != nil {
		return fmt.Errorf("%s: %w", word, stopped)
	}
	if err := p.Err(); err != nil {
		return fmt.Errorf("%s: %w%s", word, err, lastLines(&said))
	}
	return nil
}

// lastLines is the end of what a command has said, for an error; empty: it has said nothing.
func lastLines(said *tail) string {
	const lines, bytes = 3, 600
	text, _ := said.text()
	all := strings.Split(strings.TrimSpace(text), "\n")
	text = strings.Join(all[max(0, len(all)-lines):], "; ")
	if text == "" {
		return ""
	}
	if more := len(text) - bytes; more > 0 {
		text = "…" + strings.ToValidUTF8(text[more:], "")
	}
	return ": " + text
}

// environ is what the command has in its environment beside the agent's own. What the bus has said is
// in it only as the id of a snapshot.
func (c *StateCommand) environ(snapshot, dir string) []string {
	return append(slices.Clone(c.Environment),
		"GOLIVE_SNAPSHOT="+snapshot,
		"GOLIVE_SNAPSHOT_DIR="+dir,
		"GOLIVE_APP="+c.Manifest.App,
		"GOLIVE_APP_VERSION="+c.Manifest.Version,
		"GOLIVE_SERVICE="+c.Service.Name,
		"GOLIVE_VERSION="+c.Service.Version,
		"GOLIVE_HOST="+c.Host,
	)
}

// counter counts what is written.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

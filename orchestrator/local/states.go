package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/golive-dev/golive/orchestrator/agent"
	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/transfer"
)

// Kept is the state of a service that is not in JetStream, as a snapshot has it.
type Kept struct {
	Service  string
	Snapshot string                        // its id
	Command  bool                          // a command takes and puts it; false: the service itself
	Open     func() (io.ReadCloser, error) // what was taken
}

// stateOutput shows a line of what a state command prints.
func (u *upRun) stateOutput(service, line string) { u.Talk.Output(service+" state", line) }

func (u *upRun) kept() []Kept {
	if u.States == nil {
		return nil
	}
	return u.States()
}

// stepsData is the folder of what commands of the app keep.
func (u *upRun) stepsData() string { return filepath.Join(u.app.data, u.app.manifest.App+".steps") }

// putCommands has commands put back what they have taken, before any service has it open.
func (u *upRun) putCommands(ctx context.Context) error {
	for _, k := range u.kept() {
		if !k.Command {
			continue
		}
		m, s, found := u.keeperOf(k, func(s release.Service) bool { return s.StateCommand != nil })
		if !found {
			return fmt.Errorf("the snapshot holds state that a command of service %s has taken, and golive.yaml names none (services.%s.state.command)", k.Service, k.Service)
		}
		if err := os.MkdirAll(u.stepsData(), 0o700); err != nil {
			return fmt.Errorf("make the data folder of steps: %w", err)
		}
		command := agent.StateCommand{
			Manifest: m, Service: s, Host: localName(m.App, s.State.On), Base: u.Environ, Records: u.records(), Scratch: u.stepsData(),
			Environment: append(u.app.bus.Environment(), "GOLIVE_DATA_DIR="+u.stepsData()), Output: u.stateOutput,
		}
		timed, cancel := context.WithTimeoutCause(ctx, timeoutOf(s), fmt.Errorf("it has not ended within %s", timeoutOf(s)))
		err := k.read(func(r io.Reader) error { return command.Read(timed, protocol.StatePut, k.Snapshot, r) })
		cancel()
		if err != nil {
			return fmt.Errorf("put back the state of service %s: %w", k.Service, err)
		}
	}
	return nil
}

// putMessages has services that run put back what they have taken: each version of them, which may
// keep it in folders of their own.
func (u *upRun) putMessages(ctx context.Context) error {
	for _, k := range u.kept() {
		if k.Command {
			continue
		}
		put := false
		for _, of := range []*app{u.old, u.app} {
			if of == nil {
				continue
			}
			for _, s := range of.manifest.Services {
				if s.Name != k.Service || s.State == nil || !s.State.Messages || s.Run == nil {
					continue
				}
				put = true
				if err := u.putMessage(ctx, k, s); err != nil {
					return fmt.Errorf("put back the state of service %s %s: %w", k.Service, s.Version, err)
				}
			}
		}
		if !put {
			return fmt.Errorf("the snapshot holds state that service %s keeps itself, and none runs here that does (services.%s.state.messages)", k.Service, k.Service)
		}
	}
	return nil
}

func (u *upRun) putMessage(ctx context.Context, k Kept, s release.Service) error {
	nc := u.relay.Conn()
	return k.read(func(r io.Reader) error {
		_, err := transfer.Deliver(ctx, transfer.Ask{
			Conn: nc, Subject: protocol.StateSubject(s.Name, s.Version, protocol.StatePut), Inbox: nc.NewInbox(),
			Order: protocol.StateOrder{
				Snapshot: k.Snapshot, App: u.app.manifest.App, Service: s.Name, Version: s.Version, Do: protocol.StatePut,
				Timeout: protocol.Duration(timeoutOf(s)), Most: rollout.MaxStateMB << 20,
			},
		}, r)
		return err
	})
}

// keeperOf is the service of a manifest that fits: of the version before, which knows the state, or
// of the new one.
func (u *upRun) keeperOf(k Kept, fits func(release.Service) bool) (*release.Manifest, release.Service, bool) {
	for _, m := range []*release.Manifest{u.Before, u.Manifest} {
		if m == nil {
			continue
		}
		i := slices.IndexFunc(m.Services, func(s release.Service) bool { return s.Name == k.Service && s.State != nil && fits(s) })
		if i >= 0 {
			return m, m.Services[i], true
		}
	}
	return nil, release.Service{}, false
}

func timeoutOf(s release.Service) time.Duration {
	if s.State.Timeout > 0 {
		return time.Duration(s.State.Timeout)
	}
	return rollout.DefaultStateTimeout
}

// read opens what was taken, and closes it when do is done with it.
func (k Kept) read(do func(io.Reader) error) error {
	r, err := k.Open()
	if err != nil {
		return err
	}
	return errors.Join(do(r), r.Close())
}

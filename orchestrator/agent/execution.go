package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/process"
	"github.com/golive-dev/golive/relay/protocol"
)

// execution is the doing of a job.
type execution struct {
	agent *Agent
	*job
	output tail
	exit   *int
	left   []string // names of programs that were left behind, and stopped
}

// do gives the host's result, without the time of its end. When ctx ends, its cause says why
// the job was stopped.
func (d *execution) do(ctx context.Context) protocol.Host {
	var note string
	var err error
	if d.step.Command != nil {
		note, err = d.command(ctx)
	} else {
		err = d.check(ctx)
	}
	h := d.host
	h.Output, h.Cut = d.output.text()
	h.Exit, h.Note, h.Status = d.exit, cmp.Or(note, tellLeft(d.left)), protocol.HostDone
	if err != nil {
		h.Status, h.Error, h.Code, h.Note = protocol.HostFailed, err.Error(), codeOf(err), tellLeft(d.left)
		if len(h.Error) > maxError {
			h.Error = strings.ToValidUTF8(h.Error[:maxError], "") + "…"
		}
	}
	return h
}

// tellLeft is what is noted of programs that were left behind; empty when there were none.
func tellLeft(programs []string) string {
	if len(programs) == 0 {
		return ""
	}
	names := slices.Compact(slices.Sorted(slices.Values(programs)))
	if len(names) > mostNames {
		names = append(names[:mostNames], "…")
	}
	stopped := count(len(programs), "process that it had left behind was", "processes that it had left behind were")
	return stopped + " stopped (" + strings.Join(names, ", ") + "): start what is to go on with setsid or systemd-run"
}

// mostNames is how many programs a note names.
const mostNames = 5

// codeOf is why a job has failed, as a code.
func codeOf(err error) string {
	switch {
	case errors.Is(err, errTime):
		return protocol.CodeTimeout
	case errors.Is(err, errCancelled), errors.Is(err, errReplaced):
		return protocol.CodeCancelled
	}
	return protocol.CodeFailed
}

// maxError is how many bytes of an error are kept: what a service has answered is in it.
const maxError = 1000

// Exit codes with which a shell says that it has not run the program.
const (
	notExecutable = 126
	notFound      = 127
)

// noteSkipped is what is noted of a command that was not to be run.
const noteSkipped = "it was not run"

// command runs the step's command in the order's direction, unless its status says that
// this is not needed.
func (d *execution) command(ctx context.Context) (note string, err error) {
	c := d.step.Command
	if skips := d.agent.c.Skips; skips != nil && skips(d.step) {
		return noteSkipped, nil
	}
	direction := "forward"
	if d.order.Revert {
		direction = "backward"
	}
	if c.Status {
		code, err := d.program(ctx, line(c.Args, c.Shell, "status"))
		switch {
		case err != nil:
			return "", fmt.Errorf("status: %w", err)
		case code == notExecutable, code == notFound:
			return "", fmt.Errorf("status: exit code %d", code)
		case code == 0 && !d.order.Revert:
			return "had been done already", nil
		case code != 0 && d.order.Revert:
			return "there was nothing to undo", nil
		}
	}
	code, err := d.program(ctx, line(c.Args, c.Shell, direction))
	if err != nil {
		return "", err
	}
	d.exit = &code
	if code != 0 {
		return "", fmt.Errorf("exit code %d", code)
	}
	return "", nil
}

// line is a command line with what follows it.
func line(args []string, shell string, more ...string) []string {
	if shell != "" {
		args = []string{"sh", "-c", shell, "golive"}
	}
	return append(slices.Clone(args), more...)
}

// program runs a program and gives its exit code; the error tells why it has none.
func (d *execution) program(ctx context.Context, args []string) (code int, err error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	p, err := process.Start(process.Command{
		Name: d.step.Name, Args: args, Dir: d.manifest.Dir, Base: d.agent.c.Base, Env: d.environ(), NoInput: true, Records: d.agent.c.Records,
		Output: func(line string) {
			d.output.add(line)
			if tell := d.agent.c.Output; tell != nil {
				tell(d.step.Name, d.order.Attempt, line)
			}
		},
	})
	if err != nil {
		return 0, err
	}
	stopped := error(nil)
	select {
	case <-p.Done():
		d.left = append(d.left, p.Rest()...)
	case <-ctx.Done():
		stopped = context.Cause(ctx)
	}
	if err := p.Stop(context.Background()); err != nil { // also what it has left behind
		d.agent.log.Warn("program not stopped", zap.String("step", d.step.Name), zap.Error(err))
		if stopped != nil {
			stopped = fmt.Errorf("%w; %w", stopped, err)
		}
	}
	<-p.Done()
	if stopped != nil {
		return 0, stopped
	}
	exit := new(process.ExitError)
	switch err := p.Err(); {
	case err == nil:
		return 0, nil
	case errors.As(err, &exit) && exit.Signal == 0:
		return exit.Code, nil
	case errors.As(err, &exit):
		return 0, fmt.Errorf("ended by a signal: %s", exit.Signal)
	default:
		return 0, err
	}
}

// environ is what the job's programs have in their environment beside the agent's own. What
// the bus has said is in it only where it equals what the manifest says, or is a number or
// an id.
func (d *execution) environ() []string {
	direction := "forward"
	if d.order.Revert {
		direction = "backward"
	}
	return append(slices.Clone(d.agent.c.Environment),
		"GOLIVE_ROLLOUT="+d.order.Rollout,
		"GOLIVE_STEP="+d.step.Name,
		"GOLIVE_ATTEMPT="+strconv.Itoa(d.order.Attempt),
		"GOLIVE_DIRECTION="+direction,
		"GOLIVE_APP="+d.manifest.App,
		"GOLIVE_APP_VERSION="+d.manifest.Version,
		"GOLIVE_HOST="+d.agent.c.Name,
		"GOLIVE_ENVIRONMENT="+d.environment,
	)
}

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/golive-dev/golive/orchestrator/process"
	"github.com/golive-dev/golive/orchestrator/rehearsal"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay"
)

// maxLoadFile is how many bytes a file of requests may have.
const maxLoadFile = 64 << 20

// readLoad reads the requests that are sent while the rollout runs.
func (r *rehearsalRun) readLoad(ctx context.Context) ([]rehearsal.Load, error) {
	path := r.absolute(r.o.load)
	if info, err := os.Stat(path); err == nil && info.Size() > maxLoadFile {
		return nil, &failure{code: codeMisused, exit: exitMisused, message: fmt.Sprintf("--load %s has %s, at most %s are allowed", r.o.load, terminal.Bytes(info.Size()), terminal.Bytes(maxLoadFile))}
	}
	data, err := readFile(ctx, path)
	if err != nil {
		return nil, &failure{code: codeMisused, exit: exitMisused, message: "--load: " + err.Error()}
	}
	load, err := rehearsal.ReadLoad(bytes.NewReader(data))
	if err != nil {
		return nil, &failure{code: codeMisused, exit: exitMisused, message: "--load " + r.o.load + ": " + err.Error(),
			hint: `a request on each line: {"message": "todos.list", "payload": {}, "every": "100ms"}`}
	}
	return load, nil
}

// startLoad sends the requests, and runs the command, until stop is called. Then it is known what
// callers have seen.
func (r *rehearsalRun) startLoad(ctx context.Context, bus string) (stop func(), err error) {
	command, err := r.startCommand(bus)
	if err != nil {
		return nil, err
	}
	sending, end := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if len(r.load) > 0 {
			r.out.Seen = rehearsal.SendLoad(sending, r.relay, r.load)
		}
	}()
	return func() {
		end()
		<-done
		if command != nil {
			r.stopCommand(ctx, command)
		}
	}, nil
}

// loadLabel is what the command is called in the terminal.
const loadLabel = "load"

// startCommand starts the command of whoever rehearses, which knows what programs of the rehearsal
// know; nil: there is none.
func (r *rehearsalRun) startCommand(bus string) (*process.Process, error) {
	if len(r.o.command) == 0 {
		return nil, nil
	}
	r.say("▸", "starting the command: %s", terminal.Flat(strings.Join(r.o.command, " ")))
	p, err := process.Start(process.Command{
		Name: loadLabel, Args: r.o.command, Dir: r.Dir, Base: r.sandbox.Environ(os.Environ(), r.o.pass...), Env: []string{relay.EnvURL + "=" + bus},
		Records: filepath.Join(r.sandbox.Data(), "processes"), NoInput: true,
		Output: func(line string) { r.story.Talk.Output(loadLabel, line) },
	})
	if err != nil {
		return nil, &failure{code: codeMisused, exit: exitMisused, message: "the command behind -- : " + err.Error()}
	}
	return p, nil
}

// stopCommand ends the command, and takes down how it has ended by itself, if it has.
func (r *rehearsalRun) stopCommand(ctx context.Context, p *process.Process) {
	r.out.Command = "ran until the rollout had ended"
	select {
	case <-p.Done():
		r.out.Command = "has ended by itself before the rollout had"
		if err := p.Err(); err != nil {
			r.out.Command += ": " + err.Error()
		}
	default:
		if err := p.Stop(atOnce(ctx)); err != nil {
			r.say("!", "the command: %s", terminal.Flat(err.Error()))
		}
	}
	<-p.Done()
}

// printSeen tells what callers have seen.
func printSeen(w io.Writer, seen []rehearsal.Seen, command string) {
	if command != "" {
		fmt.Fprintf(w, "The command %s.\n", terminal.OneLine(command))
	}
	if len(seen) == 0 {
		return
	}
	var rows [][]string
	for _, s := range seen {
		rows = append(rows, []string{s.Service, fmt.Sprint(s.Sent), fmt.Sprint(s.Answered), fmt.Sprint(s.Maintenance), fmt.Sprint(s.Errors),
			terminal.Took(time.Duration(s.Slowest)), terminal.Took(time.Duration(s.Silence))})
	}
	fmt.Fprintln(w)
	terminal.Columns(w, []string{"CALLERS OF", "SENT", "ANSWERED", "MAINTENANCE", "ERRORS", "SLOWEST", "LONGEST WITHOUT AN ANSWER"}, rows)
	for _, s := range seen {
		for _, e := range s.Kinds {
			fmt.Fprintf(w, "%s: %d times: %s\n", s.Service, e.Times, terminal.OneLine(e.Error))
		}
	}
	fmt.Fprintln(w)
}

package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/orchestrator/report"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay/embedded"
	"github.com/golive-dev/golive/relay/protocol"
)

// Exit codes, as README.md defines them.
const (
	exitDone    = 0
	exitFailed  = 1 // failed or aborted
	exitMisused = 2
	exitPending = 3 // changes are pending
	exitGaveUp  = 4 // gave up waiting, the rollout goes on
	exitPerson  = 5 // a person has to approve, and nobody is there to be asked
)

// Codes of errors that the command line itself gives; those of the API stand in package api.
const (
	codeMisused  = "misused"
	codeFailed   = report.CodeFailed
	codeManifest = "manifest"
	codeNoBus    = report.CodeNoBus
	codeGaveUp   = report.CodeGaveUp
	codePerson   = "waits_for_person"
	codeAlarm    = "alarm"
	codeSource   = "source"
)

// failure is an error as a person sees it, and what golive ends with.
type failure struct {
	code    string
	message string
	hint    string
	exit    int
	told    bool     // it has been reported already
	unheard []string // starts that nobody listens to, which is why
}

func (f *failure) Error() string { return f.message }

// told is a failure that is not to be reported a second time.
func told(err error) error {
	if err == nil {
		return nil
	}
	f := *explain(err)
	f.told = true
	return &f
}

// explain makes what a person sees of an error.
func explain(err error) *failure {
	f := &failure{code: codeFailed, message: err.Error(), exit: exitFailed}
	var given *failure
	var refused *protocol.ServiceError
	var manifest release.Errors
	var reported *report.Failure
	switch {
	case errors.As(err, &given):
		return given
	case errors.As(err, &reported):
		f.code, f.message, f.hint = reported.Code, reported.Message, reported.Hint
	case errors.As(err, &refused):
		f.code, f.hint, f.unheard = refused.Code, refused.Hint, refused.Unheard
		f.message = strings.TrimPrefix(f.message, "stale: ") // which is said to programs
	case errors.As(err, &manifest):
		f.code, f.exit = codeManifest, exitMisused
		f.hint = hints(manifest)
	case errors.Is(err, api.ErrNoOrchestrator):
		f.code = codeNoBus
		f.hint = "start one: golive serve, or golive up in the folder of an app"
	case errors.Is(err, embedded.ErrDataInUse):
		f.hint = "is golive up running there already? stop it, or choose another folder with --data"
	case strings.HasPrefix(err.Error(), "unknown command"):
		f.code, f.exit, f.hint = codeMisused, exitMisused, "see golive --help"
		f.message, _, _ = strings.Cut(f.message, "\n")
	}
	return f
}

// hints are those of the problems of a manifest, each with its line.
func hints(problems release.Errors) string {
	var all []string
	for _, p := range problems {
		if p.Hint != "" {
			all = append(all, fmt.Sprintf("line %d: %s", p.Line, p.Hint))
		}
	}
	return strings.Join(all, "\n")
}

// misused is the failure of a command that was not called as it is to be.
func misused(cmd *cobra.Command, message string) error {
	return &failure{code: codeMisused, message: message, hint: "see " + cmd.CommandPath() + " --help", exit: exitMisused}
}

// report prints a failure: as text on stderr, or as the answer.
func (c *command) report(f *failure) {
	if c.output == "json" || c.output == "yaml" || c.output == "jsonl" {
		e := protocol.ServiceError{Code: f.code, Message: f.message, Hint: f.hint, Unheard: f.unheard}
		if c.print(map[string]any{"error": e}, nil) == nil {
			return
		}
	}
	for line := range strings.Lines(f.message) {
		fmt.Fprintf(c.Err, "golive: error: %s\n", terminal.Bare(line))
	}
	for line := range strings.Lines(c.here(f.hint)) {
		fmt.Fprintf(c.Err, "golive: hint: %s\n", terminal.Bare(line))
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/local"
	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay/protocol"
)

// inEnvironment says which version of the app is in an environment.
type inEnvironment struct {
	Environment string                 `json:"environment"`       // "local" is that of a golive up that runs
	Version     string                 `json:"version,omitempty"` // that was completed last; empty: none
	Since       time.Time              `json:"since,omitzero"`
	Rollout     string                 `json:"rollout,omitempty"` // the newest
	Status      rollout.Status         `json:"status,omitempty"`  // of the newest rollout
	Bringing    string                 `json:"bringing,omitempty"`
	Waits       []string               `json:"waits,omitempty"`
	Error       *protocol.ServiceError `json:"error,omitempty"` // why it is not known
}

// localEnvironment is the environment of a golive up.
const localEnvironment = "local"

// runStatusAll tells which version of the app whose manifest is in this folder is in which of
// its environments.
func runStatusAll(ctx context.Context, c *command) error {
	m, err := c.load(".")
	if err != nil {
		return err
	}
	var all []inEnvironment
	var places []local.Place
	if p, err := c.address(""); err == nil && c.env == "" {
		all, places = append(all, inEnvironment{Environment: localEnvironment}), append(places, p)
	}
	for _, name := range m.Environments {
		e, _ := m.Bus(name)
		all, places = append(all, inEnvironment{Environment: name}), append(places, c.within(m, e))
	}
	if len(all) == 0 {
		return &failure{code: codeMisused, exit: exitMisused, message: c.short(m.Path) + " names no environments, and no golive up runs here",
			hint: "name them there: environments: {staging: {nats: nats://staging:4222}}"}
	}
	var asking sync.WaitGroup
	for i := range all {
		asking.Go(func() { lookInto(ctx, c, m, places[i], &all[i]) })
	}
	asking.Wait()
	err = c.print(all, func(w io.Writer) {
		fmt.Fprintf(w, "%s\n\n", m.App)
		var rows [][]string
		for _, e := range all {
			rows = append(rows, e.row())
		}
		terminal.Columns(w, []string{"ENVIRONMENT", "VERSION", "SINCE", "ROLLOUT"}, rows)
	})
	for _, e := range all {
		if err == nil && e.Error != nil {
			return &failure{code: codeFailed, exit: exitFailed, told: true, message: "not every environment could be asked"}
		}
	}
	return err
}

func (e inEnvironment) row() []string {
	if e.Error != nil {
		return []string{e.Environment, "?", "-", e.Error.Message}
	}
	since, doing := "-", "-"
	if !e.Since.IsZero() {
		since = terminal.Ago(e.Since)
	}
	switch {
	case e.Rollout == "":
		doing = "nothing was rolled out there yet"
	case e.Bringing != "":
		doing = fmt.Sprintf("%s of %s is %s", e.Rollout, e.Bringing, e.Status)
		for _, what := range e.Waits {
			doing += ", waits for " + what
		}
	}
	return []string{e.Environment, terminal.OrDash(e.Version), since, doing}
}

// lookInto asks one environment.
func lookInto(ctx context.Context, c *command, m *release.Manifest, p local.Place, e *inEnvironment) {
	err := errors.New("the manifest does not say where its bus is")
	if p.Known() {
		err = askEnvironment(ctx, c, m, p, e)
	}
	if err != nil {
		f := explain(err)
		e.Error = &protocol.ServiceError{Code: f.code, Message: f.message, Hint: f.hint}
	}
}

func askEnvironment(ctx context.Context, c *command, m *release.Manifest, p local.Place, e *inEnvironment) error {
	r, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer r.Close()
	client := api.NewClient(r.Conn())
	for before := ""; ; {
		page, err := client.List(ctx, api.ListRequest{App: m.App, Before: before, Limit: 20})
		if err != nil {
			return err
		}
		for _, v := range page.Rollouts {
			if e.Rollout == "" {
				e.Rollout, e.Status, e.Waits = v.ID, v.Status, v.Waits
				if v.Status != rollout.Completed {
					e.Bringing = v.Release.Version
				}
			}
			if v.Status == rollout.Completed {
				e.Version, e.Since = v.Release.Version, v.Ended
				return nil
			}
		}
		if before = page.Next; before == "" {
			return nil
		}
	}
}

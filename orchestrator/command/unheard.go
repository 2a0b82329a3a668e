package command

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/golive-dev/golive/orchestrator/tasks"
	"github.com/golive-dev/golive/relay/protocol"
)

// wanted is a script that somebody has to be there for, in one direction.
type wanted struct {
	script protocol.Script
	revert bool
}

func (w wanted) start() string { return w.script.Subject(protocol.StartVerb(w.revert)) }

// Times for a setup service that is being started, by golive up or whoever else can.
const (
	startWithin  = 12 * time.Second // to listen: a command has 20 s in all
	revertWithin = time.Second      // to listen to the start of a revert, once it does to that of the script
	lookAgain    = 100 * time.Millisecond
)

// unheard gives those of the scripts to whose start nobody listens, and which of them still
// have a setup service that is being started. Where it is not there, whoever can start it is
// asked to, and waited for.
func (c *base) unheard(ctx context.Context, app string, all []wanted) (missing, late []wanted, err error) {
	missing, err = c.notHeard(ctx, all)
	if err != nil || len(missing) == 0 {
		return missing, nil, err
	}
	absent, err := c.absent(ctx, missing)
	if err != nil || len(absent) == 0 {
		return missing, nil, err
	}
	starting, err := c.Setup.Want(ctx, app, starts(absent))
	if err != nil {
		return nil, nil, err
	}
	late = slices.DeleteFunc(absent, func(w wanted) bool { return !slices.Contains(starting, w.start()) })
	if len(late) == 0 {
		return missing, nil, nil
	}
	if late, err = c.awaitStarted(ctx, late); err != nil {
		return nil, nil, err
	}
	missing, err = c.notHeard(ctx, missing)
	return missing, late, err
}

// notHeard gives those of the scripts to whose start nobody listens.
func (c *base) notHeard(ctx context.Context, all []wanted) (missing []wanted, err error) {
	for _, w := range all {
		listened, err := c.Setup.Listened(ctx, w.start())
		if err != nil {
			return nil, err
		}
		if !listened {
			missing = append(missing, w)
		}
	}
	return missing, nil
}

// absent gives those of the missing whose setup service is not there. One that is, and does not
// listen to the start of a revert, has none.
func (c *base) absent(ctx context.Context, missing []wanted) ([]wanted, error) {
	var absent []wanted
	for _, w := range missing {
		there, err := w.revert, error(nil)
		if there {
			there, err = c.Setup.Listened(ctx, wanted{script: w.script}.start())
		}
		if err != nil {
			return nil, err
		}
		if !there {
			absent = append(absent, w)
		}
	}
	return absent, nil
}

// awaitStarted blocks until the setup services of scripts listen to their starts, or turn out to
// have no revert script, for a while at most. It gives those that are late.
func (c *base) awaitStarted(ctx context.Context, late []wanted) ([]wanted, error) {
	there := make(map[wanted]time.Time) // since when their setup service is
	for deadline := time.Now().Add(startWithin); len(late) > 0 && time.Now().Before(deadline) && ctx.Err() == nil; {
		tasks.Pause(ctx, lookAgain)
		missing, err := c.notHeard(ctx, late)
		if err != nil {
			return nil, err
		}
		absent, err := c.absent(ctx, missing)
		if err != nil {
			return nil, err
		}
		late = slices.DeleteFunc(missing, func(w wanted) bool {
			if slices.Contains(absent, w) {
				return false
			}
			if there[w].IsZero() {
				there[w] = time.Now()
			}
			return time.Since(there[w]) > revertWithin
		})
	}
	return late, ctx.Err()
}

// starts lists the starts of scripts, each once.
func starts(all []wanted) []string {
	var subjects []string
	for _, w := range all {
		if s := w.start(); !slices.Contains(subjects, s) {
			subjects = append(subjects, s)
		}
	}
	return subjects
}

// refuseUnheard refuses what cannot be done while nobody listens to the starts of scripts.
func refuseUnheard(code, message, hint string, missing, late []wanted) error {
	if len(late) > 0 {
		hint = "the setup service of " + services(late) + " is being started: ask again when it listens"
	}
	return &protocol.ServiceError{Code: code, Message: message, Hint: hint, Unheard: starts(missing)}
}

// services names the setup services that scripts are in, each once.
func services(all []wanted) string {
	var names []string
	for _, w := range all {
		if name := w.script.Name + " " + w.script.Version; !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

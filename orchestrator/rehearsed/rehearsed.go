// Package rehearsed keeps in an environment what came of rehearsals of its releases, so that a plan
// can say how long a release took in one, and a deploy can be refused that has not passed any.
//
// There is one [Outcome] of each release, by its digest: the newest that was told. Orchestrators
// alone write it ([Store.Tell]). What is told comes from the machine of whoever has rehearsed, and
// nobody checks whether it is true: [Outcome.Validate] only bounds it. The time of it is the
// environment's.
package rehearsed

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// Limits of an outcome, and of how many an environment keeps.
const (
	MaxSteps    = 2000                // of one outcome
	MaxHeld     = 1000                // streams of one outcome
	MaxText     = 256                 // bytes of the id of a step, of the name of a stream, of who has rehearsed
	MaxTook     = 30 * 24 * time.Hour // of a step, or of the time offline
	MaxOutcomes = 10_000              // of an environment: so many releases
	Kept        = bus.RehearsalsKept  // after which an outcome is forgotten
)

// Outcome is what came of a rehearsal of a release.
type Outcome struct {
	ID       string `json:"id"` // of the rehearsal, a UUID v7 that whoever rehearses has made
	App      string `json:"app"`
	Version  string `json:"version"`
	Digest   string `json:"digest"`             // of the release, SHA-256 in hex
	Passed   bool   `json:"passed"`             // the rollout has completed and, if there was a drill, that has held
	Drilled  bool   `json:"drilled,omitempty"`  // it was gone back and forward again, too
	Snapshot string `json:"snapshot"`           // id of the one that it was on
	Partial  bool   `json:"partial,omitempty"`  // on some of its data only
	Commit   string `json:"commit,omitempty"`   // of git, that the release was taken from; empty: not known
	Downtime Took   `json:"downtime,omitempty"` // of the app
	Steps    []Step `json:"steps,omitempty"`    // that have run
	Held     []Held `json:"held,omitempty"`     // how much data there was

	By string    `json:"by,omitempty"` // who has told it; the bus's word where it has users
	At time.Time `json:"at,omitzero"`  // when it was told, by the environment's clock
}

// Took is a time that something took.
type Took = rollout.Duration

// Step is how long a step took.
type Step struct {
	ID      string `json:"id"`
	Took    Took   `json:"took"`
	Records int64  `json:"records,omitempty"` // that its script has dealt with
	Offline bool   `json:"offline,omitempty"` // the app was offline for as long as it took
}

// Held is how many messages a stream of the copy has held.
type Held struct {
	Stream   string `json:"stream"`
	Messages uint64 `json:"messages"`
}

// Validate refuses what no rehearsal tells. By and At may be anything: they are set by who keeps it.
func (o Outcome) Validate() error {
	if id, err := uuid.Parse(o.ID); err != nil || id.Version() != 7 || id.String() != o.ID {
		return fmt.Errorf("its id %q is no UUID v7 in lower case", rollout.Clip(o.ID))
	}
	if id, err := uuid.Parse(o.Snapshot); err != nil || id.String() != o.Snapshot {
		return fmt.Errorf("its snapshot %q is no UUID in lower case", rollout.Clip(o.Snapshot))
	}
	if err := cmp.Or(protocol.ValidateName(o.App), protocol.ValidateVersion(o.Version)); err != nil {
		return err
	}
	if err := validateDigest(o.Digest); err != nil {
		return err
	}
	switch {
	case len(o.Commit) > 64 || strings.Trim(o.Commit, "0123456789abcdef") != "":
		return fmt.Errorf("its commit %q is no id of git", rollout.Clip(o.Commit))
	case len(o.Steps) > MaxSteps:
		return fmt.Errorf("it has %d steps, at most %d are allowed", len(o.Steps), MaxSteps)
	case len(o.Held) > MaxHeld:
		return fmt.Errorf("it has %d streams, at most %d are allowed", len(o.Held), MaxHeld)
	}
	return o.validateSteps()
}

func (o Outcome) validateSteps() error {
	if err := bounded("its downtime", o.Downtime); err != nil {
		return err
	}
	for _, s := range o.Steps {
		if err := readable("the id of a step", s.ID); err != nil {
			return err
		}
		if err := bounded("step "+s.ID, s.Took); err != nil {
			return err
		}
		if s.Records < 0 {
			return fmt.Errorf("step %s has %d records", s.ID, s.Records)
		}
	}
	for _, h := range o.Held {
		if err := readable("the name of a stream", h.Stream); err != nil {
			return err
		}
	}
	return nil
}

// validateDigest refuses what is no SHA-256 in hex, in lower case.
func validateDigest(digest string) error {
	if raw, err := hex.DecodeString(digest); err != nil || len(raw) != 32 || strings.ToLower(digest) != digest {
		return fmt.Errorf("the digest %q of the release is no SHA-256 in hex", rollout.Clip(digest))
	}
	return nil
}

func readable(what, text string) error {
	if text == "" || len(text) > MaxText || strings.ContainsFunc(text, unicode.IsControl) {
		return fmt.Errorf("%s must be 1 to %d bytes that can be printed, found %q", what, MaxText, rollout.Clip(text))
	}
	return nil
}

func bounded(what string, took Took) error {
	if took < 0 || time.Duration(took) > MaxTook {
		return fmt.Errorf("%s took %s, which must be from 0 to %s", what, time.Duration(took), MaxTook)
	}
	return nil
}

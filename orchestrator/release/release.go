// Package release reads golive.yaml, the manifest that says of which service
// versions an app version consists and what has to run when it goes live.
//
// A [Manifest] that [Load] or [Parse] returns is valid through and through: names,
// versions, phases, dependencies, limits. What is not valid comes back as [Errors],
// all mistakes of the file at once, each with line, column, key and what is allowed.
// No input, however odd, makes it panic or take long.
//
// What is different in an environment stands in the manifest, too, or in a file beside it:
// [LoadFor] reads the manifest as it is there, and [Manifest.Settings] tells which value
// comes from where.
//
// It never runs a command, never looks whether a program exists, and reads no file
// but the manifest and those of environments beside it.
package release

import (
	"github.com/golive-dev/golive/orchestrator/rollout"
)

// FileName is how the manifest is called in its folder.
const FileName = "golive.yaml"

// DefaultData is where golive up keeps what it keeps, unless the manifest says otherwise.
const DefaultData = ".golive"

// Manifest is one app version with all that its golive.yaml says. It is not to be
// changed after it was read.
type Manifest struct {
	App      string
	Version  string
	Strategy rollout.Strategy
	Services []Service // in the order of the file
	Setup    Setup     // the app's own setup service
	Seed     []string  // makes data for golive up --seed, without a shell; nil: there is no such command
	Data     string    // where golive up keeps what it keeps; relative to Dir unless absolute

	// RetryAfter is what callers of a service under maintenance are told to wait
	// before they try again, in whole seconds. It has an effect with [rollout.Downtime], and
	// with steps that put services under maintenance.
	RetryAfter rollout.Duration

	// MustNotSkip lists versions of the app, none newer than this one, that an
	// environment must have completed before a later one may be rolled out there.
	MustNotSkip []string

	Steps      []Step       // what happens, in its order, where that is more than the phases; nil: the phases alone
	AutoRevert bool         // a check that fails behind the gate takes the rollout backward
	Requires   *Requirement // what must have happened before; nil: nothing

	Environment  Environment // the one that it was loaded for
	Environments []string    // names of those that it knows, in order of names

	Dir  string // absolute folder of the manifest, where its commands run
	Path string // absolute path of the file that was read

	settings []Setting
	buses    map[string]Environment // all that it knows, by name
}

// Setup is the app's own setup service. The zero value says that the app has none.
type Setup struct {
	Command  []string // how it is started, without a shell
	External bool     // it is already running
}

// Exists reports whether the app has a setup service.
func (s Setup) Exists() bool { return s.External || len(s.Command) > 0 }

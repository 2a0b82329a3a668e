package release

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// DefaultData is where golive up keeps what it keeps, unless the manifest says otherwise.
const DefaultData = ".golive"

// Limits of the keys at the top of the manifest.
const (
	MaxMustNotSkip = 100         // versions of the app that must not be skipped
	MinRetryAfter  = time.Second // that callers are told to wait at least
	MaxRetryAfter  = time.Hour   // that callers are told to wait at most
)

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
	Reports  string    // where reports of rollouts are written; relative to Dir unless absolute; empty: nowhere

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

	Snapshot rollout.SnapshotWhen // when a rollout takes one of the data of its services; empty: the default

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

// seedWanted is what the command that makes data should look like.
const seedWanted = "a command, a list like [go, run, ./seed]"

// external is the app's setup service that is already running.
const external = "external"

// manifest reads the whole manifest.
func (r *reader) manifest(v value) *Manifest {
	m := &Manifest{Strategy: rollout.Parallel, RetryAfter: rollout.Duration(rollout.DefaultRetryAfter), Data: DefaultData}
	m.Environment.Snapshots.Keep = DefaultKeepSnapshots
	v.fields("a manifest, a map with app, version and services", manifestFields(m, r.environment))
	for _, check := range r.checks {
		check()
	}
	return m
}

// manifestFields are the keys at the top of the manifest, in the order of its reference.
func manifestFields(m *Manifest, environment bool) []field {
	fields := []field{
		{key: "app", required: "todo-app", fixed: true, read: func(v value) { m.App = readName(v) }},
		{key: "version", required: "0.0.1", fixed: true, read: func(v value) { m.Version = readVersion(v) }},
		{key: "strategy", byDefault: string(rollout.Parallel), read: func(v value) { m.Strategy = readStrategy(v) }},
		{key: "retryAfter", byDefault: rollout.DefaultRetryAfter.String(), read: func(v value) { m.RetryAfter = readRetryAfter(v) }},
		{key: "mustNotSkip", fixed: true, read: func(v value) { m.MustNotSkip = readMustNotSkip(v, m) }},
		{key: "requires", fixed: true, read: func(v value) { m.Requires = readRequires(v, m) }},
		{key: "services", read: func(v value) { m.Services = readServices(v) }},
		{key: "setup", read: func(v value) { m.Setup = readAppSetup(v) }},
		{key: "steps", read: func(v value) { m.Steps = readSteps(v, m) }},
		{key: "autoRevert", byDefault: "false", read: func(v value) { m.AutoRevert = readTruth(v) }},
		{key: "seed", read: func(v value) { m.Seed = readCommand(v, seedWanted) }},
		{key: "data", byDefault: DefaultData, read: func(v value) {
			m.Data = readFolder(v, "a folder like "+DefaultData, "leave the key out for "+DefaultData)
		}},
		{key: "reports", read: func(v value) { m.Reports = readFolder(v, "a folder like reports", "leave the key out for none") }},
		{key: "source", read: func(v value) { m.Environment.Source = readSource(v) }},
		{key: "snapshot", byDefault: string(rollout.BeforeOffline), read: func(v value) { m.Snapshot = readSnapshotWhen(v) }},
		{key: "approvals", read: func(v value) { m.Environment.Approvals = readApprovals(v) }},
		{key: "snapshots", read: func(v value) { m.Environment.Snapshots = readSnapshots(v) }},
		{key: "mask", read: func(v value) { m.Environment.Mask = readMask(v) }},
		{key: "environments", fixed: true, read: readEnvironments},
	}
	if environment {
		fields = append(fields, busFields(&m.Environment)...)
	}
	return fields
}

// Release is what a rollout has to know of the manifest. What a command or a check runs is
// no part of it: agents have that from the manifest itself.
func (m *Manifest) Release() rollout.Release {
	r := rollout.Release{
		App: m.App, Version: m.Version, Strategy: m.Strategy, RetryAfter: m.RetryAfter,
		Setup: m.Setup.Exists(), Digest: m.Digest(), MustNotSkip: m.MustNotSkip,
		AutoRevert: m.AutoRevert, Environment: m.Environment.Name, Approvals: m.Environment.Approvals, Snapshot: m.Snapshot,
	}
	if m.Requires != nil {
		r.Requires = &rollout.Requirement{Version: m.Requires.Version}
	}
	for _, s := range m.Steps {
		r.Workflow = append(r.Workflow, s.item())
	}
	for _, s := range m.Services {
		r.Services = append(r.Services, s.Service)
	}
	return r
}

// manifestDigest is what counts of a manifest.
type manifestDigest struct {
	App         string           `json:"app"`
	Version     string           `json:"version"`
	Strategy    rollout.Strategy `json:"strategy"`
	Services    []serviceDigest  `json:"services"`
	Setup       bool             `json:"setup"`
	RetryAfter  time.Duration    `json:"retryAfter,omitempty"`
	MustNotSkip []string         `json:"mustNotSkip,omitempty"`

	Steps      []stepDigest         `json:"steps,omitempty"`
	AutoRevert bool                 `json:"autoRevert,omitempty"`
	Requires   *Requirement         `json:"requires,omitempty"`
	Approvals  *approvalsDigest     `json:"approvals,omitempty"`
	Snapshot   rollout.SnapshotWhen `json:"snapshot,omitempty"` // empty: the default
}

// digestManifest is what counts of a manifest.
func digestManifest(m *Manifest) manifestDigest {
	d := manifestDigest{
		App: m.App, Version: m.Version, Strategy: m.Strategy, Setup: m.Setup.Exists(),
		MustNotSkip: slices.Sorted(slices.Values(m.MustNotSkip)),
		AutoRevert:  m.AutoRevert, Requires: m.Requires, Approvals: digestApprovals(m.Environment.Approvals),
		Snapshot: m.Snapshot,
	}
	for _, s := range m.Steps {
		d.Steps = append(d.Steps, digestStep(s))
	}
	d.RetryAfter = unless(time.Duration(m.RetryAfter), rollout.DefaultRetryAfter)
	for _, s := range m.Services {
		d.Services = append(d.Services, digestService(s))
	}
	slices.SortFunc(d.Services, func(a, b serviceDigest) int { return strings.Compare(a.Name, b.Name) })
	return d
}

// readName reads the name of an app.
func readName(v value) string {
	name, ok := v.text("a name like todo-app")
	if !ok {
		return ""
	}
	v.breaks(v.begin(), protocol.ValidateName(name))
	return name
}

// readStrategy reads the app's strategy.
func readStrategy(v value) rollout.Strategy {
	return oneOf(v, "strategy", rollout.Strategies())
}

// readRetryAfter reads how long callers are told to wait.
func readRetryAfter(v value) rollout.Duration {
	hint := fmt.Sprintf("leave the key out for %v", rollout.DefaultRetryAfter)
	wait, text, ok := readDuration(v, "a duration of whole seconds like 30s or 2m", "the units are h, m and s")
	switch {
	case !ok:
	case wait < MinRetryAfter:
		v.report(hint, "a time to wait is at least %v, found %s", MinRetryAfter, quote(text))
	case wait > MaxRetryAfter:
		v.report(hint, "a time to wait is at most %vh, found %s", MaxRetryAfter.Hours(), quote(text))
	case wait%time.Second != 0:
		up := fmt.Sprintf("write %ds", wait/time.Second+1)
		v.report(up, "a time to wait must be whole seconds, found %s", quote(text))
	}
	return rollout.Duration(wait)
}

// readFolder reads the name of a folder; without tells how there is none of one's own.
func readFolder(v value, want, without string) string {
	folder, ok := v.text(want)
	if !ok {
		return ""
	}
	switch {
	case strings.TrimSpace(folder) == "":
		v.report(without, "the name of the folder must not be empty")
	case strings.ContainsRune(folder, 0):
		v.report("", "the name of a folder cannot hold the character NUL")
	}
	return folder
}

// readAppSetup reads the app's own setup service: a command or the word external.
func readAppSetup(v value) Setup {
	const want = "a command, a list like [go, run, ./setup], or the word " + external
	plain, ok := v.plain()
	if !ok {
		return Setup{}
	}
	text, ok := textOf(plain.node)
	switch {
	case !ok:
		return Setup{Command: readCommand(plain, want)}
	case text != external:
		hint := cmp.Or(didYouMean(text, []string{external}), asCommand(text))
		plain.report(hint, "expected %s, found %s", want, describe(plain.node))
	}
	return Setup{External: true}
}

// readMustNotSkip reads over which versions of the app no rollout may jump.
func readMustNotSkip(v value, m *Manifest) []string {
	return readVersions(v, MaxMustNotSkip, func(item value, version string) {
		if protocol.ValidateVersion(m.Version) != nil {
			return // which is reported where it stands
		}
		if rollout.CompareVersions(version, m.Version) > 0 {
			item.report("remove it here: it belongs in the manifests from that version on",
				"%s is newer than the app's version %s", quote(version), quote(m.Version))
		}
	})
}

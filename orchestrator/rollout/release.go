package rollout

import (
	"fmt"
	"slices"
	"time"

	"github.com/golive-dev/golive/relay/protocol"
)

// Release is one version of an app with what its manifest says of the rollout. It is
// what a deploy request carries.
type Release struct {
	App        string    `json:"app"`
	Version    string    `json:"version"`
	Strategy   Strategy  `json:"strategy"`
	Services   []Service `json:"services"`
	Setup      bool      `json:"setup"`                // whether the app has a setup script of its own
	RetryAfter Duration  `json:"retryAfter,omitempty"` // what callers are told under maintenance, in whole seconds; 0: [DefaultRetryAfter]
	Digest     string    `json:"digest,omitempty"`     // of the manifest; tells two releases of one version apart

	// MustNotSkip lists versions of the app, up to this one, over which no rollout may jump.
	MustNotSkip []string `json:"mustNotSkip,omitempty"`

	Workflow    []Item       `json:"workflow,omitempty"`    // what happens, in its order, where that is more than the phases; empty: the phases alone
	AutoRevert  bool         `json:"autoRevert,omitempty"`  // a check that fails behind the gate takes the rollout backward
	Requires    *Requirement `json:"requires,omitempty"`    // what must have happened before; nil: nothing
	Approvals   Policy       `json:"approvals,omitzero"`    // of the environment
	Environment string       `json:"environment,omitempty"` // its name, as told to commands; empty: it has none

	Snapshot SnapshotWhen `json:"snapshot,omitempty"` // when a snapshot is taken, where services say where their data is

	Source *Source `json:"source,omitempty"` // the commit that it was taken from; nil: not known
}

// DefaultRetryAfter is what callers of a service under maintenance are told to wait.
const DefaultRetryAfter = 5 * time.Second

// Limits of retries.
const (
	DefaultBackoff = time.Second     // before the first retry, unless the release says otherwise
	MaxBackoff     = 5 * time.Minute // to which the pause before a retry grows
	MaxRetries     = 100             // of one script, command or check by itself
	MaxLost        = 5               // so many workers of one step may die, one after the other and none further than those before, until it has failed
)

// Strategy says what the previous version does during the offline phase.
type Strategy string

// The strategies.
const (
	Parallel Strategy = "parallel" // it serves until the new version is online
	Downtime Strategy = "downtime" // it is under maintenance from the offline phase on
)

// Strategies lists the strategies, the default first.
func Strategies() []Strategy { return []Strategy{Parallel, Downtime} }

// Service is one service of a release.
type Service struct {
	Name       string           `json:"name"`
	Version    string           `json:"version"`
	Migrations []protocol.Phase `json:"migrations,omitempty"` // phases that it has scripts for
	DependsOn  []string         `json:"dependsOn,omitempty"`
	Timeout    Duration         `json:"timeout,omitempty"`    // of each attempt of its scripts; 0: none
	Retries    int              `json:"retries,omitempty"`    // how often a script that has failed is tried again by itself
	Backoff    Duration         `json:"backoff,omitempty"`    // before the first retry, doubled before each further one; 0: [DefaultBackoff]
	Instances  int              `json:"instances"`            // that must confirm before it counts as online; 0: its route is only recorded
	KeepOnline []string         `json:"keepOnline,omitempty"` // versions that stay online beside this one
	Pace       *protocol.Pace   `json:"pace,omitempty"`       // of its scripts; nil: as their author has chosen
	State      *Data            `json:"state,omitempty"`      // where its data is; nil: snapshots hold none of it
}

// Duration is a duration that JSON has as text: "1m30s".
type Duration = protocol.Duration

// Validate reports what is wrong with a release that came over the wire.
func (r Release) Validate() error {
	if err := protocol.ValidateName(r.App); err != nil {
		return fmt.Errorf("app: %w", err)
	}
	if err := protocol.ValidateVersion(r.Version); err != nil {
		return fmt.Errorf("app %s: %w", r.App, err)
	}
	if !slices.Contains(Strategies(), r.Strategy) {
		return fmt.Errorf("app %s: strategy %q is neither parallel nor downtime", r.App, r.Strategy)
	}
	if r.RetryAfter < 0 || time.Duration(r.RetryAfter)%time.Second != 0 {
		return fmt.Errorf("app %s: retryAfter is %s, it must be whole seconds and not negative", r.App, time.Duration(r.RetryAfter))
	}
	if err := r.Source.validate(); err != nil {
		return fmt.Errorf("app %s: %w", r.App, err)
	}
	if err := r.Snapshot.validate(); err != nil {
		return fmt.Errorf("app %s: %w", r.App, err)
	}
	for _, v := range r.MustNotSkip {
		if err := protocol.ValidateVersion(v); err != nil {
			return fmt.Errorf("mustNotSkip: %w", err)
		}
	}
	seen := make(map[string]bool)
	for _, s := range r.Services {
		if seen[s.Name] {
			return fmt.Errorf("service %s is listed twice", s.Name)
		}
		seen[s.Name] = true
		if err := s.validate(); err != nil {
			return fmt.Errorf("service %q: %w", s.Name, err)
		}
	}
	if len(r.Services) == 0 && !r.Setup {
		return fmt.Errorf("release %s %s holds no service and no setup script: there is nothing to bring live", r.App, r.Version)
	}
	if _, err := r.ordered(); err != nil {
		return err
	}
	return r.validateWorkflow()
}

func (s Service) validate() error {
	if err := protocol.ValidateName(s.Name); err != nil {
		return err
	}
	if err := protocol.ValidateVersion(s.Version); err != nil {
		return err
	}
	if err := s.State.validate(); err != nil {
		return err
	}
	if s.Instances < 0 {
		return fmt.Errorf("instances is %d, at least 0 is needed", s.Instances)
	}
	if s.Timeout < 0 {
		return fmt.Errorf("timeout is %s, it must not be negative", time.Duration(s.Timeout))
	}
	if s.Retries < 0 || s.Retries > MaxRetries {
		return fmt.Errorf("retries is %d, it must be from 0 to %d", s.Retries, MaxRetries)
	}
	if s.Backoff < 0 || time.Duration(s.Backoff) > MaxBackoff {
		return fmt.Errorf("backoff is %s, it must be at most %s", time.Duration(s.Backoff), MaxBackoff)
	}
	if s.Pace != nil {
		if err := ValidatePace(*s.Pace); err != nil {
			return fmt.Errorf("pace: %w", err)
		}
	}
	for _, v := range s.KeepOnline {
		if err := protocol.ValidateVersion(v); err != nil {
			return fmt.Errorf("keepOnline: %w", err)
		}
		if v == s.Version {
			return fmt.Errorf("keepOnline: %s is the version that goes online itself", v)
		}
	}
	for _, p := range s.Migrations {
		if !slices.Contains(protocol.ServicePhases(), p) {
			return fmt.Errorf("migrations: unknown phase %q: valid are before, offline, online", p)
		}
	}
	return nil
}

// ordered lists the services so that each comes after those it depends on, and
// otherwise in the release's own order.
func (r Release) ordered() ([]Service, error) {
	byName := make(map[string]Service)
	for _, s := range r.Services {
		byName[s.Name] = s
	}
	var order []Service
	state := make(map[string]int) // 1: being visited, 2: placed
	var place func(Service) error
	place = func(s Service) error {
		switch state[s.Name] {
		case 1:
			return fmt.Errorf("service %s depends on itself by way of dependsOn", s.Name)
		case 2:
			return nil
		}
		state[s.Name] = 1
		for _, d := range s.DependsOn {
			dependency, known := byName[d]
			if !known {
				return fmt.Errorf("service %s depends on %q, which the release does not hold", s.Name, d)
			}
			if err := place(dependency); err != nil {
				return err
			}
		}
		state[s.Name] = 2
		order = append(order, s)
		return nil
	}
	for _, s := range r.Services {
		if err := place(s); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// versions of the release's services by name.
func (r Release) versions() map[string]string {
	v := make(map[string]string, len(r.Services))
	for _, s := range r.Services {
		v[s.Name] = s.Version
	}
	return v
}

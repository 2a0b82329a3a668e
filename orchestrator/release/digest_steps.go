package release

import (
	"reflect"
	"slices"
	"time"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// stepDigest is what counts of a step for the digest: all of it, defaults left out.
type stepDigest struct {
	Phase    protocol.Phase    `json:"phase,omitempty"`
	Traffic  rollout.Move      `json:"traffic,omitempty"`
	Services []string          `json:"services,omitempty"`
	Name     string            `json:"name,omitempty"`
	Approval *questionDigest   `json:"approval,omitempty"`
	Command  *commandDigest    `json:"command,omitempty"`
	Check    *checkDigest      `json:"check,omitempty"`
	On       map[string]string `json:"on,omitempty"`
	Hosts    int               `json:"hosts,omitempty"`
	Percent  int               `json:"percent,omitempty"`
	AtOnce   int               `json:"atOnce,omitempty"`
	Timeout  time.Duration     `json:"timeout,omitempty"`
	Retries  int               `json:"retries,omitempty"`
	Backoff  time.Duration     `json:"backoff,omitempty"`
}

// questionDigest is what counts of an approval.
type questionDigest struct {
	Text      string        `json:"text"`
	Checklist []string      `json:"checklist,omitempty"`
	Deadline  time.Duration `json:"deadline,omitempty"`
}

// commandDigest is what counts of a command.
type commandDigest struct {
	Args     []string `json:"args,omitempty"`
	Shell    string   `json:"shell,omitempty"`
	Backward bool     `json:"backward,omitempty"`
	Status   bool     `json:"status,omitempty"`
}

// checkDigest is what counts of a check.
type checkDigest struct {
	Args       []string      `json:"args,omitempty"`
	Shell      string        `json:"shell,omitempty"`
	HTTP       string        `json:"http,omitempty"`
	Expect     int           `json:"expect,omitempty"`
	Message    string        `json:"message,omitempty"`
	Payload    string        `json:"payload,omitempty"`
	Contains   string        `json:"contains,omitempty"`
	Tries      int           `json:"tries,omitempty"`
	Pause      time.Duration `json:"pause,omitempty"`
	HealthyFor time.Duration `json:"healthyFor,omitempty"`
	Within     time.Duration `json:"within,omitempty"`
}

// approvalsDigest is what counts of a policy.
type approvalsDigest struct {
	Required   bool          `json:"required,omitempty"`
	By         []string      `json:"by,omitempty"`
	Count      int           `json:"count,omitempty"`
	NotStarter bool          `json:"notStarter,omitempty"`
	Deadline   time.Duration `json:"deadline,omitempty"`
}

// digestStep is what counts of a step.
func digestStep(s Step) stepDigest {
	d := stepDigest{
		Phase: s.Phase, Traffic: s.Traffic, Services: slices.Sorted(slices.Values(s.Services)), Name: s.Name,
		On: s.On, Hosts: s.Need.Hosts, Percent: unless(s.Need.Percent, 100), AtOnce: s.AtOnce,
		Timeout: time.Duration(s.Timeout), Retries: s.Retries, Backoff: unless(time.Duration(s.Backoff), rollout.DefaultBackoff),
	}
	if a := s.Approval; a != nil {
		d.Approval = &questionDigest{a.Text, a.Checklist, time.Duration(a.Deadline)}
	}
	if s.Command != nil {
		d.Command = (*commandDigest)(s.Command)
	}
	if c := s.Check; c != nil {
		d.Check = &checkDigest{
			c.Args, c.Shell, c.HTTP, c.Expect, c.Message, c.Payload, c.Contains,
			unless(c.Tries, 1), unless(c.Pause, defaultPause), c.HealthyFor, unless(c.Within, defaultWithin),
		}
	}
	return d
}

// digestApprovals is what counts of a policy; nil if it says nothing.
func digestApprovals(a rollout.Policy) *approvalsDigest {
	d := approvalsDigest{a.Required, slices.Sorted(slices.Values(a.By)), unless(a.Count, 1), a.NotStarter, time.Duration(a.Deadline)}
	if reflect.ValueOf(d).IsZero() {
		return nil
	}
	return &d
}

package rollout

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/golive-dev/golive/relay/protocol"
)

// Data is where the state of a service is: what a snapshot of the app holds of it.
type Data struct {
	Streams []string `json:"streams,omitempty"`
	KV      []string `json:"kv,omitempty"`      // key-value buckets
	Objects []string `json:"objects,omitempty"` // object stores

	Messages bool              `json:"messages,omitempty"` // the service itself takes and puts it, over the bus
	Command  bool              `json:"command,omitempty"`  // a command takes and puts it, that an agent runs
	On       map[string]string `json:"on,omitempty"`       // labels of the one agent that runs it; nil: of any, if there is one only
	Timeout  Duration          `json:"timeout,omitempty"`  // of each take, check and put by the service or the command; 0: [DefaultStateTimeout]
	MaxMB    int               `json:"maxMB,omitempty"`    // megabytes of what the service or the command gives, at most; 0: [DefaultStateMB]
}

// Limits of the state that a service or a command takes and puts.
const (
	DefaultStateTimeout = 30 * time.Minute
	MaxStateTimeout     = 24 * time.Hour
	DefaultStateMB      = 10 << 10 // ten gigabytes
	MaxStateMB          = 1 << 20  // a terabyte
)

// Kept reports whether any of the state is outside of JetStream.
func (d *Data) Kept() bool { return d != nil && (d.Messages || d.Command) }

// MaxData is how many streams and buckets of each kind a service may have in its snapshots.
const MaxData = 100

var streamName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,200}$`)

// ValidateStream reports what is wrong with the name of a stream or a bucket that holds the data
// of a service. golive's own are refused: what has happened cannot be put back.
func ValidateStream(name string) error {
	switch {
	case !streamName.MatchString(name):
		return fmt.Errorf("%q is no name of a stream or a bucket: those have 1 to 200 letters, digits, - and _", Clip(name))
	case name == protocol.Stream, strings.HasPrefix(name, "golive-"), strings.HasPrefix(name, "KV_golive-"), strings.HasPrefix(name, "OBJ_golive-"):
		return fmt.Errorf("%s is golive's own, and no data of a service", name)
	}
	return nil
}

// validate reports what is wrong with where the data is.
func (d *Data) validate() error {
	if d == nil {
		return nil
	}
	for kind, names := range map[string][]string{"streams": d.Streams, "kv": d.KV, "objects": d.Objects} {
		if len(names) > MaxData {
			return fmt.Errorf("state has %d %s, at most %d are allowed", len(names), kind, MaxData)
		}
		seen := make(map[string]bool)
		for _, name := range names {
			if err := ValidateStream(name); err != nil {
				return fmt.Errorf("state: %w", err)
			}
			if seen[name] {
				return fmt.Errorf("state lists %s twice", name)
			}
			seen[name] = true
		}
	}
	switch timeout := time.Duration(d.Timeout); {
	case timeout < 0 || timeout > MaxStateTimeout:
		return fmt.Errorf("state has the timeout %s, it must be at most %s", timeout, MaxStateTimeout)
	case d.MaxMB < 0 || d.MaxMB > MaxStateMB:
		return fmt.Errorf("state has maxMB %d, it must be at most %d", d.MaxMB, MaxStateMB)
	case len(d.On) > MaxLabels:
		return fmt.Errorf("state has %d labels, at most %d are allowed", len(d.On), MaxLabels)
	}
	return nil
}

// KeepsState reports whether a release says of any service that it, or a command, takes and puts its
// state.
func (r Release) KeepsState() bool {
	for _, s := range r.Services {
		if s.State.Kept() {
			return true
		}
	}
	return false
}

// HasData reports whether a release says of any service where its state is.
func (r Release) HasData() bool {
	for _, s := range r.Services {
		if s.State != nil {
			return true
		}
	}
	return false
}

package rollout

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/golive-dev/golive/relay/protocol"
)

// Data is where the state of a service is kept in JetStream: what a snapshot of the app holds of
// it.
type Data struct {
	Streams []string `json:"streams,omitempty"`
	KV      []string `json:"kv,omitempty"`      // key-value buckets
	Objects []string `json:"objects,omitempty"` // object stores
}

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
	return nil
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

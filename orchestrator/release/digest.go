package release

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/golive-dev/golive/orchestrator/rollout"
)

// Digest identifies the release that the manifest describes, as SHA-256 in hex. It
// does not depend on commands and folders, which belong to the host, nor on the
// order of the file. A key that was added later counts only where it does not have
// its default, so that the digests of older manifests stay what they were. The commands
// of steps do count, as those who run them must agree on what they are; where the bus of
// an environment is does not, but all else that it says.
func (m *Manifest) Digest() string {
	canonical := struct {
		App         string           `json:"app"`
		Version     string           `json:"version"`
		Strategy    rollout.Strategy `json:"strategy"`
		Services    []serviceDigest  `json:"services"`
		Setup       bool             `json:"setup"`
		RetryAfter  time.Duration    `json:"retryAfter,omitempty"`
		MustNotSkip []string         `json:"mustNotSkip,omitempty"`

		Steps      []stepDigest     `json:"steps,omitempty"`
		AutoRevert bool             `json:"autoRevert,omitempty"`
		Requires   *Requirement     `json:"requires,omitempty"`
		Approvals  *approvalsDigest `json:"approvals,omitempty"`
	}{
		App: m.App, Version: m.Version, Strategy: m.Strategy, Setup: m.Setup.Exists(),
		MustNotSkip: slices.Sorted(slices.Values(m.MustNotSkip)),
		AutoRevert:  m.AutoRevert, Requires: m.Requires, Approvals: digestApprovals(m.Environment.Approvals),
	}
	for _, s := range m.Steps {
		canonical.Steps = append(canonical.Steps, digestStep(s))
	}
	canonical.RetryAfter = unless(time.Duration(m.RetryAfter), rollout.DefaultRetryAfter)
	for _, s := range m.Services {
		canonical.Services = append(canonical.Services, digestService(s))
	}
	slices.SortFunc(canonical.Services, func(a, b serviceDigest) int { return strings.Compare(a.Name, b.Name) })
	text, _ := json.Marshal(canonical) // text, numbers and lists always have a JSON form
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// unless is a value, and zero for the default.
func unless[T comparable](v, byDefault T) T {
	if v == byDefault {
		return *new(T)
	}
	return v
}

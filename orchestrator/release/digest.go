package release

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/golive-dev/golive/relay/protocol"
)

// Digest identifies the release that the manifest describes, as SHA-256 in hex. It
// does not depend on commands and folders, which belong to the host, nor on the
// order of the file.
func (m *Manifest) Digest() string {
	type service struct {
		Name       string           `json:"name"`
		Version    string           `json:"version"`
		Migrations []protocol.Phase `json:"migrations"`
		DependsOn  []string         `json:"dependsOn"`
		Timeout    time.Duration    `json:"timeout"`
		Instances  int              `json:"instances"`
	}
	canonical := struct {
		App      string    `json:"app"`
		Version  string    `json:"version"`
		Strategy Strategy  `json:"strategy"`
		Services []service `json:"services"`
		Setup    bool      `json:"setup"`
	}{App: m.App, Version: m.Version, Strategy: m.Strategy, Setup: m.Setup.Exists()}
	for _, s := range m.Services {
		canonical.Services = append(canonical.Services, service{
			Name: s.Name, Version: s.Version, Timeout: s.Timeout, Instances: s.Instances,
			Migrations: append([]protocol.Phase{}, s.Migrations...),
			DependsOn:  append([]string{}, slices.Sorted(slices.Values(s.DependsOn))...),
		})
	}
	slices.SortFunc(canonical.Services, func(a, b service) int { return strings.Compare(a.Name, b.Name) })
	text, _ := json.Marshal(canonical) // text, numbers and lists always have a JSON form
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

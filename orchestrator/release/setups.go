package release

import (
	"slices"

	"github.com/golive-dev/golive/relay/protocol"
)

// SetupService is a setup service that a manifest gives a command for.
type SetupService struct {
	Owner   string // the service or app whose scripts it has
	Service string // empty: it is the app's own
	Version string // of the service, or of the app
	Command []string
}

// SetupServices lists the setup services that the manifest gives a command for: those of its
// services in their order, and then the app's own.
func (m *Manifest) SetupServices() []SetupService {
	var all []SetupService
	for _, s := range m.Services {
		if s.Setup != nil {
			all = append(all, SetupService{s.Name, s.Name, s.Version, s.Setup})
		}
	}
	if m.Setup.Command != nil {
		all = append(all, SetupService{m.App, "", m.Version, m.Setup.Command})
	}
	return all
}

// ListensTo reports whether a subject is that of the start of one of its scripts, in either
// direction: the setup service may listen to it.
func (s SetupService) ListensTo(subject string) bool {
	phases := protocol.ServicePhases()
	if s.Service == "" {
		phases = []protocol.Phase{protocol.Setup}
	}
	return slices.ContainsFunc(phases, func(p protocol.Phase) bool {
		script := protocol.Script{Name: s.Owner, Version: s.Version, Phase: p}
		return subject == script.Subject(protocol.Start) || subject == script.Subject(protocol.RevertStart)
	})
}

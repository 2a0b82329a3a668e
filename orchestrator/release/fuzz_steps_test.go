package release_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// FuzzEnvironment finds either a manifest with an environment beside it that keeps what
// the package promises, or problems in that environment or about both.
func FuzzEnvironment(f *testing.F) {
	full := ""
	for _, seed := range seeds(f) {
		full = cmp.Or(full, seed)
		f.Add(seed)
	}
	for _, seed := range []string{"nats: nats://b\ncreds: c", "services: {web: {pace: {rate: 1}}}", "strategy: parallel", "approvals: {by: [x]}", "steps: []"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m, err := release.ParseBeside(full, text)
		if err == nil {
			checkManifest(t, m)
			return
		}
		var problems release.Errors
		if !errors.As(err, &problems) || len(problems) == 0 {
			t.Fatalf("no problems: %v", err)
		}
		for _, p := range problems {
			if p.File != "golive.beside.yaml" && (p.File != "golive.yaml" || !strings.HasSuffix(p.Message, "(in the environment beside)")) {
				t.Errorf("not of the environment: %v", p)
			}
		}
	})
}

// checkEnvironments holds that a manifest that is valid is so in each of its environments.
func checkEnvironments(t *testing.T, m *release.Manifest, text string) {
	if len(m.Environments) > 50 || !slices.IsSorted(m.Environments) || m.Environment.Name != "" || m.Environment.NATS+m.Environment.Creds+m.Environment.Context != "" {
		t.Errorf("not valid: %+v", m)
	}
	for _, name := range m.Environments[:min(len(m.Environments), 3)] {
		in, err := release.ParseFor("golive.yaml", []byte(text), name)
		if err != nil {
			t.Fatalf("not in the environment %s: %v", name, err)
		}
		checkManifest(t, in)
		bus, known := m.Bus(name)
		if in.Environment.Name != name || !known || bus.NATS != in.Environment.NATS || protocol.ValidateName(name) != nil {
			t.Errorf("the environment %s is %+v, its bus %+v", name, in.Environment, bus)
		}
		if in.App != m.App || in.Version != m.Version || len(in.Services) != len(m.Services) || !slices.Equal(in.MustNotSkip, m.MustNotSkip) ||
			!slices.Equal(in.Environments, m.Environments) {
			t.Errorf("another release: %+v", in)
		}
		for i, s := range in.Services {
			if s.Name != m.Services[i].Name || s.Version != m.Services[i].Version {
				t.Errorf("another service: %+v", s)
			}
		}
		u, err := url.Parse(in.Environment.NATS)
		if err == nil && u.User != nil {
			if _, secret := u.User.Password(); secret {
				t.Errorf("a password in %q", in.Environment.NATS)
			}
		}
		if in.Environment.Context != "" && in.Environment.NATS+in.Environment.Creds != "" {
			t.Errorf("two buses: %+v", in.Environment)
		}
	}
}

func checkPolicy(t *testing.T, m *release.Manifest) {
	a := m.Environment.Approvals
	if len(a.By) > 100 || a.Count < 0 || a.Count > 100 || a.By != nil && a.Count > len(a.By) || a.Deadline != 0 && (time.Duration(a.Deadline) < time.Second || time.Duration(a.Deadline) > 2160*time.Hour) {
		t.Errorf("not valid: %+v", a)
	}
	for i, user := range a.By {
		if user == "" || strings.TrimSpace(user) != user || slices.Contains(a.By[:i], user) {
			t.Errorf("approved by %q", a.By)
		}
	}
	if q := m.Requires; q != nil && (!q.Completed || rollout.CompareVersions(q.Version, m.Version) >= 0) {
		t.Errorf("%s requires %+v", m.Version, q)
	}
}

func checkSettings(t *testing.T, m *release.Manifest) {
	seen := map[string]bool{}
	for _, s := range m.Settings() {
		if s.Key == "" || s.Value == "" || strings.ContainsAny(s.Value, "\n\r") || (s.File == "") != (s.Line == 0) || seen[s.Key] ||
			s.Within != "" && s.Within != m.Environment.Name {
			t.Errorf("a setting of %q: %+v", m.Environment.Name, s)
		}
		seen[s.Key] = true
	}
	if !seen["app"] || !seen["version"] || !seen["strategy"] || !seen["data"] {
		t.Errorf("settings are missing: %+v", m.Settings())
	}
}

func checkSteps(t *testing.T, m *release.Manifest) {
	if len(m.Steps) > 200 || m.Steps != nil && len(m.Steps) == 0 {
		t.Errorf("%d steps", len(m.Steps))
	}
	names, phases := map[string]bool{}, []protocol.Phase{}
	for _, s := range m.Steps {
		checkStep(t, m, s)
		if s.Name != "" && names[s.Name] {
			t.Errorf("%s twice", s.Name)
		}
		names[s.Name] = true
		if s.Phase != "" {
			phases = append(phases, s.Phase)
		}
	}
	if m.Steps != nil {
		checkPhases(t, m, phases)
		checkMoves(t, m)
	}
}

func checkPhases(t *testing.T, m *release.Manifest, phases []protocol.Phase) {
	var must, may []protocol.Phase
	for _, phase := range []protocol.Phase{protocol.Before, protocol.Offline, protocol.Online} {
		has := slices.ContainsFunc(m.Services, func(s release.Service) bool { return slices.Contains(s.Migrations, phase) })
		if has || phase == protocol.Online && len(m.Services) > 0 {
			must = append(must, phase)
		}
		if has || phase == protocol.Online && len(m.Services) > 0 || phase == protocol.Offline && m.Strategy == rollout.Downtime {
			may = append(may, phase)
		}
	}
	if m.Setup.Exists() {
		must, may = append(must, protocol.Setup), append(may, protocol.Setup)
	}
	if !slices.Equal(phases, must) && !slices.Equal(phases, may) {
		t.Errorf("phases %q, must be %q or %q", phases, must, may)
	}
}

// checkMoves plays the moves of traffic.
func checkMoves(t *testing.T, m *release.Manifest) {
	state := map[string]string{}
	for _, s := range m.Services {
		state[s.Name] = "before"
	}
	opened, offline := false, false
	for _, step := range m.Steps {
		services := step.Services
		if services == nil {
			for _, s := range m.Services {
				if step.Traffic != rollout.MaintenanceOff || state[s.Name] == "on" {
					services = append(services, s.Name)
				}
			}
		}
		switch {
		case step.Phase == protocol.Offline:
			offline = true
		case step.Phase == protocol.Online:
			opened = true
		case step.Traffic == rollout.Open:
			if opened || len(m.Services) == 0 || step.Services != nil {
				t.Errorf("opened wrongly: %+v", m.Steps)
			}
			opened = true
		}
		if opened && (step.Phase == protocol.Offline || step.Phase == protocol.Before || step.Traffic == rollout.MaintenanceOn || step.Traffic == rollout.MaintenanceOff) {
			t.Errorf("too late: %+v", step)
		}
		for _, name := range services {
			move := map[rollout.Move][2]string{rollout.MaintenanceOn: {"before", "on"}, rollout.MaintenanceOff: {"on", "off"}, rollout.Drain: {"", "drained"}}[step.Traffic]
			if move[1] == "" {
				continue
			}
			if state[name] != move[0] || step.Traffic == rollout.MaintenanceOn && offline && m.Strategy == rollout.Downtime {
				t.Errorf("%s of %s, which is %s", step.Traffic, name, state[name])
			}
			state[name] = move[1]
		}
	}
}

func checkStep(t *testing.T, m *release.Manifest, s release.Step) {
	kinds := 0
	for _, is := range []bool{s.Phase != "", s.Traffic != "", s.Approval != nil, s.Command != nil, s.Check != nil} {
		if is {
			kinds++
		}
	}
	works := s.Command != nil || s.Check != nil
	named := works || s.Approval != nil
	valid := kinds == 1 && named == (s.Name != "") && (!named || protocol.ValidateName(s.Name) == nil && s.Name != "approval") &&
		(s.Traffic != "" || s.Services == nil) &&
		(works || s.On == nil && s.Timeout == 0 && s.Retries == 0 && s.Backoff == 0) &&
		(s.On != nil || s.Need == rollout.Need{} && s.AtOnce == 0) && len(s.On) <= 16 && (s.On == nil || len(s.On) > 0) &&
		s.Need.Hosts >= 0 && s.Need.Hosts <= 1000 && s.Need.Percent >= 0 && s.Need.Percent <= 100 && (s.Need.Hosts == 0 || s.Need.Percent == 0) &&
		s.AtOnce >= 0 && s.AtOnce <= 1000 && s.Timeout >= 0 && time.Duration(s.Timeout) <= 720*time.Hour && s.Retries >= 0 && s.Retries <= 100 &&
		(s.Backoff == 0 || s.Retries > 0 && time.Duration(s.Backoff) >= 100*time.Millisecond && time.Duration(s.Backoff) <= 5*time.Minute)
	if !valid {
		t.Errorf("not valid: %+v", s)
	}
	if a := s.Approval; a != nil && (strings.TrimSpace(a.Text) == "" || len(a.Text) > 2000 || len(a.Checklist) > 100 || slices.Contains(a.Checklist, "") ||
		a.Deadline != 0 && (time.Duration(a.Deadline) < time.Second || time.Duration(a.Deadline) > 2160*time.Hour)) {
		t.Errorf("not valid: %+v", a)
	}
	if c := s.Command; c != nil {
		checkCommand(t, c.Args)
		if (c.Args == nil) == (c.Shell == "") || strings.ContainsRune(c.Shell, 0) {
			t.Errorf("not valid: %+v", c)
		}
	}
	if s.Check != nil {
		checkCheck(t, m, s.Check)
	}
}

func checkCheck(t *testing.T, m *release.Manifest, c *release.Check) {
	checkCommand(t, c.Args)
	looks := 0
	for _, is := range []bool{c.Args != nil, c.Shell != "", c.HTTP != "", c.Message != ""} {
		if is {
			looks++
		}
	}
	valid := looks == 1 && (c.HTTP != "" || c.Expect == 0) && (c.Message != "" || c.Payload == "") && (c.HTTP+c.Message != "" || c.Contains == "") &&
		c.Tries >= 0 && c.Tries <= 1000 && (c.Pause == 0 || c.Pause >= 100*time.Millisecond && c.Pause <= time.Hour) &&
		c.HealthyFor >= 0 && c.HealthyFor <= 24*time.Hour && c.Within >= 0 && c.Within <= time.Hour && c.Expect >= 0 && c.Expect <= 599 &&
		(c.Payload == "" || json.Valid([]byte(c.Payload)))
	if !valid {
		t.Errorf("not valid: %+v", c)
	}
	if c.HTTP != "" {
		if u, err := url.Parse(c.HTTP); err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
			t.Errorf("looks at %q", c.HTTP)
		}
	}
	if c.Message != "" {
		service, _, err := protocol.SplitMessage(c.Message)
		if err != nil || !slices.ContainsFunc(m.Services, func(s release.Service) bool { return s.Name == service }) {
			t.Errorf("asks %q: %v", c.Message, err)
		}
	}
}

package release_test

import (
	"testing"

	"github.com/golive-dev/golive/orchestrator/release"
)

func TestWhichSetupServiceListensToAStart(t *testing.T) {
	m := release.Manifest{
		App: "shop", Version: "2.0.0", Setup: release.Setup{Command: []string{"./setup"}},
		Services: []release.Service{{Setup: []string{"./search-setup"}}, {}},
	}
	m.Services[0].Name, m.Services[0].Version = "search", "1.0.0"
	m.Services[1].Name, m.Services[1].Version = "stock", "1.0.0"
	for start, want := range map[string]string{
		"deployment-search-1.0.0-offline-start":       "search",
		"deployment-search-1.0.0-online-revert-start": "search",
		"shop-2.0.0-setup-revert-start":               "shop",
		"shop-2.0.0-setting-up":                       "shop",
		"deployment-search-1.0.1-offline-start":       "",
		"deployment-stock-1.0.0-offline-start":        "", // whose setup service runs already, or which has none
		"deployment-search-1.0.0-offline-done":        "",
		"shop-1.0.0-setting-up":                       "",
	} {
		got := ""
		for _, s := range m.SetupServices() {
			if s.ListensTo(start) {
				got += s.Owner
			}
		}
		if got != want {
			t.Errorf("to %s listens %q, want %q", start, got, want)
		}
	}
}

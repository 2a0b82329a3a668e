package relay_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/relaytest"
)

func TestAContextOfTheNatsCommandLineSaysWhereTheBusIs(t *testing.T) {
	bus := relaytest.Start(t)
	folder := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", folder)
	must(t, os.MkdirAll(filepath.Join(folder, "nats", "context"), 0o700))
	must(t, os.WriteFile(filepath.Join(folder, "nats", "context", "prod.json"), fmt.Appendf(nil, `{"url": %q}`, bus.URL()), 0o600))
	t.Setenv(relay.EnvContext, "prod")
	r, err := relay.Connect(within(t, patience), relay.FromEnvironment())
	must(t, err)
	defer r.Close()
	if got := r.Conn().ConnectedUrl(); got != bus.URL() {
		t.Errorf("connected to %s, the context says %s", got, bus.URL())
	}
	_, err = relay.Connect(within(t, patience), relay.Config{Context: "staging"})
	if err == nil || !strings.Contains(err.Error(), `the bus of the nats context "staging": unknown context`) {
		t.Errorf("an unknown context: %v", err)
	}
}

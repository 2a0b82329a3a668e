package orchestrator_test

import (
	"os"
	"testing"

	"github.com/golive-dev/golive/relay/relaytest"
)

// envPart makes this test binary a part of an environment of real processes: see [part].
const envPart = "GOLIVE_TEST_PART"

func TestMain(m *testing.M) {
	if p := os.Getenv(envPart); p != "" {
		os.Exit(play(p))
	}
	relaytest.Parallel(6)
	os.Exit(m.Run())
}

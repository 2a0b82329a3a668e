package orchestrator_test

import (
	"os"
	"testing"
)

// envPart makes this test binary a part of an environment of real processes: see [part].
const envPart = "GOLIVE_TEST_PART"

func TestMain(m *testing.M) {
	if p := os.Getenv(envPart); p != "" {
		os.Exit(play(p))
	}
	os.Exit(m.Run())
}

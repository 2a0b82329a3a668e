package agent_test

import (
	"os"
	"testing"

	"github.com/golive-dev/golive/relay/relaytest"
)

func TestMain(m *testing.M) {
	relaytest.Parallel(6)
	os.Exit(m.Run())
}

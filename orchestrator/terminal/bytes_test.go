package terminal_test

import (
	"testing"

	"github.com/golive-dev/golive/orchestrator/terminal"
)

func TestBytesAreTold(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 999: "999 B", 1000: "1.0 kB", 9949: "9.9 kB", 9950: "10 kB", 999_499: "999 kB", 999_500: "1.0 MB",
		34_000_000: "34 MB", 1_060_000_000: "1.1 GB", 5_000_000_000_000_000: "5000 TB",
	} {
		if got := terminal.Bytes(n); got != want {
			t.Errorf("%d is told as %s, want %s", n, got, want)
		}
	}
}

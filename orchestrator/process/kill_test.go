//go:build linux || darwin

package process

import (
	"context"
	"syscall"
	"testing"
)

func TestStopWithoutTimeSaysSIGKILLOnly(t *testing.T) {
	t.Parallel()
	p, err := Start(Command{Args: []string{"sleep", "600"}})
	if err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Stop(over); err != nil {
		t.Error(err)
	}
	<-p.Done()
	if how := p.cmd.ProcessState.Sys().(syscall.WaitStatus).Signal(); how != syscall.SIGKILL {
		t.Errorf("it was ended by %s", how)
	}
}

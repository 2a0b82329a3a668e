package agent_test

import (
	"bytes"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/transfer"
)

// A disk that is full fails a take and a put, says so, and leaves nothing; what is to be put is not
// put in part.
func TestAFullDiskOfAnAgent(t *testing.T) {
	h := newStateHost(t, `echo $1 >>calls
if [ $1 = take ]; then head -c 2000000 /dev/zero >$GOLIVE_SNAPSHOT_DIR/big; fi`)
	if err := syscall.Mount("tmpfs", h.scratch, "tmpfs", 0, "size=1m,mode=0700"); err != nil {
		t.Skipf("a small disk can be had by root alone: %v", err)
	}
	t.Cleanup(func() { must(t, syscall.Unmount(h.scratch, syscall.MNT_DETACH)) })
	h.run(h.config())
	h.claim(h.claimed(protocol.StateTake))
	if _, err := transfer.Fetch(t.Context(), h.ask(protocol.StateTake), io.Discard); err == nil || !strings.Contains(err.Error(), "No space left on device") {
		t.Errorf("the take says %v", err)
	}
	h.tidy()
	big, archive := t.TempDir(), new(bytes.Buffer)
	must(t, os.WriteFile(big+"/big", make([]byte, 2_000_000), 0o600))
	must(t, transfer.Pack(t.Context(), big, archive))
	h.claim(h.claimed(protocol.StatePut))
	a := h.ask(protocol.StatePut)
	a.Order.Most = 10 << 20
	if _, err := transfer.Deliver(t.Context(), a, archive); err == nil || !strings.Contains(err.Error(), "no space left on device") {
		t.Errorf("the put says %v", err)
	}
	h.tidy()
	if got := h.file("calls"); got != "take\n" {
		t.Errorf("the command was called with %s", got)
	}
}

package fleet

import (
	"fmt"
	"strings"

	"github.com/golive-dev/golive/relay/protocol"
)

// FailedError says that too few hosts have succeeded.
type FailedError struct {
	Hosts     []protocol.Host // all of the attempt; those that were not begun are waiting
	Need      int             // so many had to succeed
	Done      int             // so many did
	Cancelled bool            // the attempt was told to stop, for another reason than its time
	Late      bool            // its time was over: a host noticed, or the orchestrator
}

// maxReasons is how many hosts an error tells the reasons of.
const maxReasons = 5

// Error names the hosts that have failed, and why: with the last line that they have
// printed.
func (e *FailedError) Error() string {
	var reasons []string
	for _, h := range e.Hosts {
		if h.Status == protocol.HostFailed || h.Status == protocol.HostLost {
			reasons = append(reasons, reason(h))
		}
	}
	if more := len(reasons) - maxReasons; more > 0 {
		reasons = append(reasons[:maxReasons], fmt.Sprintf("and %d more", more))
	}
	switch {
	case len(reasons) > 0:
	case e.Late:
		return "its time was over before a host had begun"
	case e.Cancelled:
		return "cancelled before a host had begun"
	}
	text := fmt.Sprintf("%d of %d hosts had to succeed, %d did", e.Need, len(e.Hosts), e.Done)
	if len(e.Hosts) == 1 {
		text = "the host did not succeed"
	}
	if len(reasons) == 0 {
		return text
	}
	return text + ": " + strings.Join(reasons, "; ")
}

const maxReason = 300 // bytes of what one host says

func reason(h protocol.Host) string {
	text := h.Name + ": " + h.Error
	if last := lastLine(h.Output); last != "" && h.Exit != nil {
		text += ": " + last
	}
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "") + "…"
	}
	return text
}

func lastLine(output string) string {
	output = strings.TrimSpace(output)
	return strings.TrimSpace(output[strings.LastIndexByte(output, '\n')+1:])
}

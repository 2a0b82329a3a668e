package api

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// Timeout bounds one command: longer than an election of the cluster.
const Timeout = 20 * time.Second

// transferTime is how much longer than [Timeout] a client waits for an answer.
const transferTime = 5 * time.Second

// Features are what a request may say in its field needs that it relies on: an orchestrator
// that does not know one refuses the request, instead of doing it without.
func Features() []string {
	return []string{"approvals", "autoRevert", "checks", "commands", "phases", "rehearsed", "requires", "snapshot", "source", "state", "state-keepers", "traffic-steps"}
}

// needsOf lists what a release relies on that orchestrators of before did not have.
func needsOf(r rollout.Release) []string {
	needs := make(map[string]bool)
	for _, item := range r.Workflow {
		switch {
		case item.Approval != nil:
			needs["approvals"] = true
		case item.Work != nil && item.Work.Check:
			needs["checks"] = true
		case item.Work != nil:
			needs["commands"] = true
		case item.Traffic != "":
			needs["traffic-steps"] = true
		}
	}
	if r.Approvals.Required {
		needs["approvals"] = true
	}
	needs["autoRevert"], needs["requires"], needs["source"], needs["state"] = r.AutoRevert, r.Requires != nil, r.Source != nil, r.HasData()
	needs["snapshot"], needs["rehearsed"], needs["state-keepers"] = r.TakesSnapshot(), r.Approvals.Rehearsed > 0, r.KeepsState()
	var all []string
	for need, is := range needs {
		if is {
			all = append(all, need)
		}
	}
	slices.Sort(all)
	return all
}

// Large requests are compressed: a header says so.
const (
	HeaderEncoding = "Content-Encoding"
	Gzipped        = "gzip"
	MaxRequest     = 64 << 20 // bytes of one that is not compressed any more
)

func compress(data []byte) ([]byte, error) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(data)
	err = errors.Join(err, w.Close())
	return b.Bytes(), err
}

func refused(code, hint, format string, args ...any) error {
	return &protocol.ServiceError{Code: code, Message: fmt.Sprintf(format, args...), Hint: hint}
}

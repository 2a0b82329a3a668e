package local

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	"github.com/golive-dev/golive/orchestrator/process"
	"github.com/golive-dev/golive/orchestrator/report"
	"github.com/golive-dev/golive/orchestrator/terminal"
)

// records is the folder that tells which programs of the app run.
func (u Up) records() string { return filepath.Join(u.Data, "processes") }

// stopRemains stops what an up on the same data has left running that was killed, and blocks
// until that is gone: else there would be two of each. An up that runs keeps what it has.
func (u Up) stopRemains(atOnce context.Context) error {
	left, doubts, err := process.Remains(u.records())
	if err != nil {
		return err
	}
	for _, doubt := range doubts {
		u.Talk.Say(terminal.Yellow, "!", "%s, which an earlier golive up had started: it is left alone, look at it yourself", doubt)
	}
	if len(left) == 0 {
		return nil
	}
	names := make([]string, len(left))
	for i, p := range left {
		names[i] = fmt.Sprintf("%s (process group %d)", p.Name(), p.Pid())
	}
	u.Talk.Say(terminal.Yellow, "▪", "stopping what an earlier golive up has left: %s", strings.Join(names, ", "))
	errs := make([]error, len(left))
	var stopping sync.WaitGroup
	for i, p := range left {
		stopping.Go(func() { errs[i] = p.Stop(atOnce) })
	}
	stopping.Wait()
	for _, err := range errs {
		if err != nil {
			return &report.Failure{Code: report.CodeFailed, Message: "an earlier golive up has left what cannot be stopped: " + err.Error(),
				Hint: "end it, then golive up again"}
		}
	}
	return nil
}

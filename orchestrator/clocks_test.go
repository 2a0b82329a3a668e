package orchestrator_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
	"github.com/golive-dev/golive/sdk"
)

// Building a command whose clock is another takes a minute, because the standard library is built
// anew.
var clocksApart = flag.Bool("clocks", false, "run orchestrators whose clocks are an hour apart")

// envClock says by how many seconds the clock of a command of buildApart is ahead.
const envClock = "GOLIVE_TEST_CLOCK"

// buildApart builds the command golive with a time.Now that is ahead by [envClock].
func buildApart(t *testing.T) string {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	must(err)
	dir, original := t.TempDir(), filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	source, err := os.ReadFile(original)
	must(err)
	const reads = "\tsec, nsec, mono := runtimeNow()\n"
	if strings.Count(string(source), reads) < 1 {
		t.Fatalf("%s is another than this test knows", original)
	}
	text := strings.Replace(string(source), reads, reads+"\tsec += secondsAhead\n", 1)
	text = strings.Replace(text, "import (\n", "import (\n\t\"syscall\"\n", 1) + `
var secondsAhead = func() (n int64) {
	text, _ := syscall.Getenv("` + envClock + `")
	sign := int64(1)
	for _, c := range []byte(text) {
		if c == '-' {
			sign = -1
		} else {
			n = 10*n + int64(c-'0')
		}
	}
	return sign * n
}()
`
	changed, overlay, binary := filepath.Join(dir, "time.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "golive")
	must(os.WriteFile(changed, []byte(text), 0o600))
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {original: changed}})
	must(err)
	must(os.WriteFile(overlay, replace, 0o600))
	if out, err := exec.Command("go", "build", "-overlay", overlay, "-o", binary, "./cmd/golive").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

// apart runs the command with a clock that is ahead, until the test ends.
func (e *environment) apart(binary, url string, ahead time.Duration) *lockedBuffer {
	out := new(lockedBuffer)
	e.run("golive serve", func(ctx context.Context) error {
		cmd := exec.CommandContext(ctx, binary, "serve", "--nats", url, "--heartbeat", "1s")
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", envClock, int(ahead.Seconds())))
		cmd.Stdout, cmd.Stderr = out, out
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		if err := cmd.Run(); ctx.Err() == nil {
			return fmt.Errorf("it has ended: %w\n%s", err, out)
		}
		return nil
	})
	return out
}

// Three orchestrators an hour apart do what one does: no attempt is too late before it is, no
// reminder comes early or late, and what people are told is right. Each says that its clock is
// wrong.
func TestOrchestratorsAnHourApart(t *testing.T) {
	if !*clocksApart {
		t.Skip("it builds the standard library anew: ask for it with -clocks")
	}
	bus := relaytest.Start(t)
	binary := buildApart(t)
	e := environmentOn(t, bus.Connect)
	logs := make(map[time.Duration]*lockedBuffer)
	for _, ahead := range []time.Duration{-time.Hour, 0, time.Hour} {
		logs[ahead] = e.apart(binary, bus.URL(), ahead)
	}
	e.until("all orchestrators are there, and tell of their clocks", func() bool {
		v, err := e.client.Version(t.Context())
		return err == nil && len(v.Clocks) == 2
	})
	for ahead, log := range logs {
		if told := strings.Contains(log.String(), "this machine's clock is not as the bus's"); told != (ahead != 0) {
			t.Errorf("the orchestrator that is %s ahead says so: %t", ahead, told)
		}
	}

	var runs atomic.Int64
	for n := range 4 { // so that each of them has its turn at each
		version := fmt.Sprintf("0.0.%d", n+1)
		e.setup(sdk.SetupService{Service: "todo-search", Version: version, Offline: func(ctx context.Context, _ *sdk.Run) error {
			d, ok := ctx.Deadline()
			if left := time.Until(d); !ok || left < 25*time.Second || left > 31*time.Second {
				t.Errorf("an attempt has %s left (%t), want thirty seconds", left, ok)
			}
			if runs.Add(1)%2 == 1 {
				return errors.New("try again")
			}
			return nil
		}})
		release := asking(rollout.Question{Text: "Shall it?", Deadline: rollout.Duration(2 * time.Second)}, rollout.Policy{})
		release.Version = version
		service := &release.Services[0]
		service.Version, service.Timeout, service.Retries, service.Instances = version, rollout.Duration(30*time.Second), 1, 0
		began := time.Now()
		id := e.deploy(release)
		e.running(id, "confirm", 1)
		asked := time.Now()
		e.await(id, "reminded", func(s api.RolloutStory) bool {
			step, _ := s.Step("confirm")
			return step.Approval.Reminded >= 1
		})
		if after := time.Since(asked); after < time.Second || after > 6*time.Second {
			t.Errorf("somebody is reminded after %s, want two seconds", after)
		}
		e.must(e.approve(e.client, id, "confirm", 0, "ann"))
		story := e.await(id, "its script has been tried again", func(s api.RolloutStory) bool {
			step, _ := s.Step("todo-search/offline")
			return step.Status == rollout.StepDone || s.Status == rollout.Failed
		})
		if step, _ := story.Step("todo-search/offline"); step.Status != rollout.StepDone || step.Attempt != 2 {
			t.Fatalf("the script is %s at attempt %d: %v", step.Status, step.Attempt, step.Error)
		}
		e.dated(story, began)
		_, err := e.client.Abort(t.Context(), api.AbortRequest{RolloutRequest: api.RolloutRequest{Rollout: id}, Force: true})
		if story = e.show(id); err != nil && !story.Status.Final() {
			t.Fatal(err)
		}
	}

	// A script that says nothing is too late when it is, and not before.
	release := other("shop")
	release.Services[0].Timeout = rollout.Duration(3 * time.Second)
	starts := e.starts("deployment-shop-store-1.0.0-offline-start")
	id := e.deploy(release)
	var m protocol.StartMessage
	e.must(json.Unmarshal(next(e, "the start", starts).Data, &m))
	if left := time.Duration(m.Left); left < 2*time.Second || left > 3*time.Second {
		t.Errorf("the start says that %s are left, want three seconds", left)
	}
	asked := time.Now()
	e.awaitStatus(id, rollout.Failed)
	if after := time.Since(asked); after < 2*time.Second || after > 10*time.Second {
		t.Errorf("the script is too late after %s, want three seconds", after)
	}

	for _, ahead := range []time.Duration{-time.Hour, time.Hour} {
		for _, args := range [][]string{{"status"}, {"history"}, {"show", id}, {"ledger"}} {
			cmd := exec.CommandContext(t.Context(), binary, append(args, "--nats", bus.URL())...)
			cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", envClock, int(ahead.Seconds())))
			var out, told bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &told
			if err := cmd.Run(); err != nil {
				t.Errorf("golive %v: %v\n%s", args, err, told.String())
			}
			if wrong := regexp.MustCompile(`(?:^|\s)-\d+[smhd]|\b\d+h`).FindString(out.String()); wrong != "" {
				t.Errorf("golive %v on a machine that is %s ahead tells %q:\n%s", args, ahead, wrong, out.String())
			}
			if !strings.Contains(told.String(), "The clock of this machine is 1h0m0s") {
				t.Errorf("golive %v on a machine that is %s ahead does not say so: %q", args, ahead, told.String())
			}
			if args[0] == "status" && strings.Count(told.String(), "The clock of the orchestrator on") != 2 {
				t.Errorf("golive status tells of the orchestrators: %q", told.String())
			}
		}
	}
}

// dated checks that a rollout's events are dated by the bus, which has the clock of this test.
func (e *environment) dated(s api.RolloutStory, began time.Time) {
	e.t.Helper()
	before := began.Add(-100 * time.Millisecond)
	for _, event := range s.Events {
		if event.At.Before(before) || event.At.After(time.Now().Add(100*time.Millisecond)) {
			e.t.Errorf("%s of %s is dated %s, after what was at %s", event.Type, event.Step, event.At, before)
		}
		before = event.At.Add(-100 * time.Millisecond)
	}
}

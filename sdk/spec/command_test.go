package spec_test

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
	"github.com/golive-dev/golive/sdk/spec"
)

// TestMain lets the test binary be a setup service as well.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "crashing-setup" {
		crashOnStart()
	}
	if len(os.Args) == 2 && os.Args[1] == "bare-setup" {
		if err := bareSetup(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	relaytest.Parallel(6)
	os.Exit(m.Run())
}

// bareSetup is the setup service of the seed without any library of ours: it follows
// relay/protocol/README.md with nats.go alone.
func bareSetup() error {
	nc, err := nats.Connect(os.Getenv("GOLIVE_NATS_URL"))
	if err != nil {
		return err
	}
	defer nc.Close()
	listen := func(name string, script func(start *nats.Msg) error) error {
		_, err := nc.QueueSubscribe(name, name, func(m *nats.Msg) {
			if err := script(m); err != nil {
				fmt.Fprintln(os.Stderr, "setup:", err)
			}
		})
		return err
	}
	err = listen("deployment-todo-search-0.0.1-offline-start", func(start *nats.Msg) error {
		return start.Respond([]byte("nothing to do\ndeployment-todo-search-0.0.1-offline-done\n"))
	})
	if err != nil {
		return err
	}
	err = listen("deployment-todo-search-0.0.1-online-start", func(start *nats.Msg) error { return bareOnline(nc, start) })
	if err != nil {
		return err
	}
	fmt.Println("bare setup service is listening")
	_, err = io.Copy(io.Discard, os.Stdin) // until whoever has started it is gone
	return err
}

// crashOnStart listens until it is told to do something.
func crashOnStart() {
	nc, err := nats.Connect(os.Getenv("GOLIVE_NATS_URL"))
	if err != nil {
		os.Exit(1)
	}
	for _, phase := range []string{"offline", "online"} {
		if _, err := nc.Subscribe("deployment-todo-search-0.0.1-"+phase+"-start", func(*nats.Msg) { os.Exit(3) }); err != nil {
			os.Exit(1)
		}
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

func bareOnline(nc *nats.Conn, start *nats.Msg) error {
	todos, err := nc.Request("todos.list", nil, 5*time.Second)
	if err != nil {
		return err
	}
	for object := range strings.SplitSeq(strings.Trim(string(todos.Data), "[]"), "},") {
		if err := nc.Publish("todo-search.add", []byte(strings.TrimSuffix(object, "}")+"}")); err != nil {
			return err
		}
	}
	done := nats.NewMsg("deployment-todo-search-0.0.1-online-done")
	done.Header.Set("Golive-Rollout", start.Header.Get("Golive-Rollout"))
	done.Header.Set("Golive-Attempt", start.Header.Get("Golive-Attempt"))
	_, err = nc.RequestMsg(done, 5*time.Second)
	return err
}

func bareSuite(args ...string) spec.Suite {
	return spec.Suite{
		Command: args, Service: "todo-search", Version: "0.0.1",
		Phases:   []protocol.Phase{protocol.Offline, protocol.Online},
		Features: []string{"testdata/todo-search.feature"}, Doubles: doubles(),
	}
}

func TestASetupServiceInAnotherProcess(t *testing.T) {
	t.Parallel()
	spec.Run(t, bareSuite(os.Args[0], "bare-setup"))
}

func TestTheOutputOfACommandIsShown(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	if err := bareSuite(os.Args[0], "bare-setup").Run(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "bare setup service is listening\n") {
		t.Errorf("got %s", out.String())
	}
}

func TestACommandThatCrashesInAScript(t *testing.T) {
	t.Parallel()
	err := bareSuite(os.Args[0], "crashing-setup").Run(t.Context(), io.Discard)
	mustSay(t, err, "todo-search 0.0.1 offline has not answered: the setup service has ended, and shall listen until it is stopped: exit status 3")
}

// A shell that starts a program and goes away leaves it to us.
func TestNothingOfACommandIsLeft(t *testing.T) {
	t.Parallel()
	relaytest.Long(t)
	pids := t.TempDir() + "/pid"
	suite := bareSuite("sh", "-c", `trap "" TERM; sleep 600 & echo $! > "$0"; "$1" bare-setup; wait`, pids, os.Args[0])
	if err := suite.Run(t.Context(), io.Discard); err != nil {
		t.Fatal(err)
	}
	pid, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	state := "/proc/" + strings.TrimSpace(string(pid)) + "/stat"
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("there is no /proc here")
	}
	until(t, func() bool {
		stat, err := os.ReadFile(state)
		return err != nil || strings.Contains(string(stat), ") Z ") // gone, or dead and not yet noticed
	})
}

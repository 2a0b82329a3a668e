package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// envFirst is set where this test binary plays golive in a container of its own.
const envFirst = "GOLIVE_TEST_FIRST"

// TestFirstRole is what runs there: the first process, and golive, which that starts.
func TestFirstRole(t *testing.T) {
	switch {
	case os.Getenv(envFirst) == "":
	case isFirst():
		code, err := beFirst()
		fmt.Fprintln(os.Stderr, "the first process ends:", err)
		os.Exit(code)
	default:
		os.Exit(playContained())
	}
}

// playContained leaves processes behind, waits until nothing is left of them, and gets the
// signal that it has the first process be sent; 7 says that all went well.
func playContained() int {
	orphans := exec.Command("sh", "-c", "for i in 1 2 3 4 5; do (setsid sh -c 'exit 3' &); (sh -c 'exit 0' &); done")
	if err := orphans.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for tries := 0; len(others()) > 0; tries++ {
		if tries == 500 {
			fmt.Fprintln(os.Stderr, "still there:", others())
			return 2
		}
		<-look.C
	}
	told := make(chan os.Signal, 2)
	signal.Notify(told, syscall.SIGTERM)
	if err := syscall.Kill(1, syscall.SIGTERM); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 3
	}
	select {
	case <-told:
		return 7
	case <-time.After(20 * time.Second):
		return 4
	}
}

// others are the processes beside the first one and this one, zombies included.
func others() []string {
	paths, _ := filepath.Glob("/proc/[0-9]*/stat")
	var all []string
	for _, path := range paths {
		text, err := os.ReadFile(path)
		pid, _, _ := strings.Cut(string(text), " ")
		if err == nil && pid != "1" && pid != fmt.Sprint(os.Getpid()) {
			all = append(all, string(text))
		}
	}
	return all
}

func TestAsTheFirstProcessGoliveLeavesNoZombies(t *testing.T) {
	space := []string{"unshare", "--fork", "--pid", "--mount-proc"}
	if os.Getuid() != 0 {
		space = append(space, "--user", "--map-root-user")
	}
	if out, err := exec.Command(space[0], append(space[1:], "true")...).CombinedOutput(); err != nil {
		t.Skipf("there are no containers here: %v: %s", err, out)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(space[0], append(space[1:], self, "-test.run=^TestFirstRole$")...)
	cmd.Env = append(os.Environ(), envFirst+"=1", "GORACE=atexit_sleep_ms=0")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	_ = cmd.Run() // the exit code tells
	if code := cmd.ProcessState.ExitCode(); code != 7 {
		t.Errorf("it ends with code %d:\n%s", code, said.String())
	}
}

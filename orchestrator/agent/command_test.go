package agent_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/relay/protocol"
)

func TestCommand(t *testing.T) {
	h := newHost(t, release.Step{Name: "migrate"}, release.Step{Name: "line", Command: &release.Command{Shell: `echo "$1" "$#" "$0" "$TOKEN"`}})
	h.manifest.Steps[0].Command = &release.Command{
		Args:     []string{"sh", h.script("migrate", `pwd -P; echo "$@"; env | grep ^GOLIVE_ | sort; echo to stderr >&2`), "a b", "$HOME;"},
		Backward: true,
	}
	h.matches()
	h.record()
	c := h.config()
	c.Environment = []string{"TOKEN=t", "GOLIVE_HOST=forged"}
	var mu sync.Mutex
	told := make(map[string][]string)
	c.Output = func(step string, _ int, line string) {
		mu.Lock()
		defer mu.Unlock()
		told[step] = append(told[step], line)
	}
	h.run(c)
	got := h.do("migrate", false)
	sid, err := unix.Getsid(0)
	must(t, err)
	session := strconv.Itoa(sid)
	dir, err := os.Readlink(h.manifest.Dir)
	if err != nil {
		dir = h.manifest.Dir
	}
	want := strings.Join([]string{
		dir, "a b $HOME; forward",
		"GOLIVE_APP=todo-app", "GOLIVE_APP_VERSION=2.0.0", "GOLIVE_ATTEMPT=1", "GOLIVE_DIRECTION=forward", "GOLIVE_ENVIRONMENT=production",
		"GOLIVE_HOST=web-1", "GOLIVE_ROLLOUT=" + h.state.ID, "GOLIVE_STEP=migrate", "GOLIVE_SUPERVISED=1", "GOLIVE_SUPERVISED_FD=3", "GOLIVE_SUPERVISED_SESSION=" + session, "to stderr",
	}, "\n")
	if got.Status != protocol.HostDone || got.Output != want || got.Cut || *got.Exit != 0 || got.Error != "" || got.Attempt != 1 ||
		got.Started.IsZero() || got.Ended.IsZero() || got.Name != "web-1" {
		t.Errorf("%+v", got)
	}
	if got := h.do("line", false); got.Output != "forward 1 golive t" {
		t.Errorf("%+v", got)
	}
	mu.Lock()
	if strings.Join(told["migrate"], "\n") != want || !slices.Equal(told["line"], []string{"forward 1 golive t"}) {
		t.Errorf("told %v", told)
	}
	mu.Unlock()
	h.state.Steps[0].Revert = true
	h.record()
	if got := h.do("migrate", true); !strings.Contains(got.Output, "a b $HOME; backward\n") || !strings.Contains(got.Output, "GOLIVE_DIRECTION=backward") {
		t.Errorf("%+v", got)
	}
}

func TestCommandsThatFail(t *testing.T) {
	h := newHost(t,
		release.Step{Name: "code", Command: &release.Command{Shell: "echo one; echo two; exit 7"}},
		release.Step{Name: "missing", Command: &release.Command{Args: []string{"./missing"}}},
		release.Step{Name: "signal", Command: &release.Command{Shell: "kill -9 $$"}},
		release.Step{Name: "rest", Command: &release.Command{Shell: "sleep 60 & echo $! >pid"}},
	)
	h.record()
	h.run(h.config())
	if got := h.do("code", false); got.Status != protocol.HostFailed || got.Error != "exit code 7" || *got.Exit != 7 || got.Output != "one\ntwo" {
		t.Errorf("%+v", got)
	}
	if got := h.do("missing", false); got.Status != protocol.HostFailed || !strings.Contains(got.Error, "there is no program") || got.Exit != nil {
		t.Errorf("%+v", got)
	}
	if got := h.do("signal", false); got.Status != protocol.HostFailed || got.Error != "ended by a signal: killed" || got.Exit != nil {
		t.Errorf("%+v", got)
	}
	began := time.Now()
	if got := h.do("rest", false); got.Status != protocol.HostDone || time.Since(began) > 20*time.Second {
		t.Errorf("%+v", got)
	}
}

// Nobody is there to answer a command that asks, which it learns at once.
func TestACommandThatAsksIsNotAnswered(t *testing.T) {
	h := newHost(t,
		release.Step{Name: "asks", Command: &release.Command{Shell: `printf "Continue? [y/N] "; read a || echo "nobody answers"`}},
		release.Step{Name: "reads", Command: &release.Command{Shell: "cat"}},
		release.Step{Name: "looks", Check: &release.Check{Shell: "cat"}},
	)
	h.record()
	h.run(h.config())
	if got := h.do("asks", false); got.Status != protocol.HostDone || got.Output != "Continue? [y/N] nobody answers" {
		t.Errorf("%+v", got)
	}
	for _, step := range []string{"reads", "looks"} {
		if got := h.do(step, false); got.Status != protocol.HostDone || got.Output != "" {
			t.Errorf("%+v", got)
		}
	}
}

// A question of a command that has got something to wait for is shown while it waits.
func TestAQuestionIsShown(t *testing.T) {
	h := newHost(t, release.Step{Name: "asks", Command: &release.Command{Shell: `mkfifo line; printf "Continue? "; read a <line; echo "it is $a"`}})
	h.record()
	c := h.config()
	lines := make(chan string, 10)
	c.Output = func(_ string, _ int, line string) { lines <- line }
	h.run(c)
	if code := h.tell("run", h.order("asks")); code != "" {
		t.Fatal("refused:", code)
	}
	select {
	case got := <-lines:
		if got != "Continue? " {
			t.Fatalf("it shows %q", got)
		}
	case <-time.After(patience):
		t.Fatal("the question is not shown")
	}
	must(t, os.WriteFile(filepath.Join(h.manifest.Dir, "line"), []byte("y\n"), 0))
	if got := h.await(h.key(1, false), ended); got.Status != protocol.HostDone || got.Output != "Continue? \nit is y" {
		t.Errorf("%+v", got)
	}
}

// What a program leaves behind is stopped, and that is said.
func TestWhatIsLeftBehindIsNoted(t *testing.T) {
	const told = " stopped (sleep): start what is to go on with setsid or systemd-run"
	h := newHost(t,
		release.Step{Name: "one", Command: &release.Command{Shell: "sleep 600 & echo up"}},
		release.Step{Name: "three", Command: &release.Command{Shell: "sleep 600 & sleep 600 & sleep 600 & exit 3"}},
		release.Step{Name: "none", Command: &release.Command{Shell: "sleep 0 & wait"}},
		release.Step{Name: "looks", Check: &release.Check{Shell: "sleep 600 &"}},
		release.Step{Name: "daemon", Command: &release.Command{Shell: `setsid sh -c 'echo $$ >pid; exec sleep 600' >/dev/null & while ! test -s pid; do :; done`}},
	)
	h.record()
	h.run(h.config())
	for step, want := range map[string]string{
		"one":    "1 process that it had left behind was" + told,
		"three":  "3 processes that it had left behind were" + told,
		"none":   "",
		"looks":  "1 process that it had left behind was" + told,
		"daemon": "",
	} {
		if got := h.do(step, false); got.Note != want || (got.Status == protocol.HostDone) != (step != "three") {
			t.Errorf("%s: %+v, want note %q", step, got, want)
		}
	}
	pid, err := strconv.Atoi(strings.TrimSpace(h.file("pid")))
	must(t, err)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Errorf("a process that has gone to a session of its own was ended: %v", err)
	}
}

func TestStatus(t *testing.T) {
	for name, c := range map[string]struct {
		status   string // what status does
		revert   bool
		want     protocol.HostStatus
		note     string
		error    string
		directed string // with what it was called
	}{
		"done already":          {status: "exit 0", want: protocol.HostDone, note: "had been done already", directed: "status "},
		"not done yet":          {status: "exit 1", want: protocol.HostDone, directed: "status forward "},
		"nothing to undo":       {status: "exit 3", revert: true, want: protocol.HostDone, note: "there was nothing to undo", directed: "status "},
		"to be undone":          {status: "exit 0", revert: true, want: protocol.HostDone, directed: "status backward "},
		"not found":             {status: "exit 127", want: protocol.HostFailed, error: "status: exit code 127", directed: "status "},
		"not executable":        {status: "exit 126", revert: true, want: protocol.HostFailed, error: "status: exit code 126", directed: "status "},
		"ended by a signal":     {status: "kill -9 $$", revert: true, want: protocol.HostFailed, error: "status: ended by a signal: killed", directed: "status "},
		"terminated, not asked": {status: "kill -15 $$", want: protocol.HostFailed, error: "status: ended by a signal: terminated", directed: "status "},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, release.Step{Name: "migrate"})
			h.manifest.Steps[0].Command = &release.Command{
				Args:   []string{"sh", h.script("migrate", "printf '%s ' $1 >>called\nif test $1 = status; then "+c.status+"; fi")},
				Status: true, Backward: true,
			}
			h.matches()
			h.state.Steps[0].Revert = c.revert
			h.record()
			h.run(h.config())
			got := h.do("migrate", c.revert)
			if got.Status != c.want || got.Note != c.note || got.Error != c.error || h.file("called") != c.directed {
				t.Errorf("%+v, called %q", got, h.file("called"))
			}
			if (got.Exit != nil) != (c.want == protocol.HostDone && c.note == "") {
				t.Error("exit code", got.Exit)
			}
		})
	}
}

func TestOutputIsCut(t *testing.T) {
	h := newHost(t, release.Step{Name: "migrate", Command: &release.Command{Shell: "cat text"}})
	h.record()
	h.run(h.config())
	long := strings.Repeat("a", protocol.MaxHostOutput)
	for attempt, c := range []struct {
		text, want string
		cut        bool
	}{
		{"", "", false},
		{long, long, false},
		{long + "\n", long, false},
		{"b" + long, long, true},
		{"b\n" + long, long, true},
		{long + "é", long[:protocol.MaxHostOutput-2] + "é", true},
		{"é" + long[1:], "" + long[1:], true}, // half a character is left out
		{"a\xff\xfeb\n\nc", "a\uFFFDb\n\nc", false},
		{strings.Repeat("line\n", 100_000), strings.Repeat("line\n", 100_000)[500_000-protocol.MaxHostOutput-1 : 499_999], true},
	} {
		must(t, os.WriteFile(h.manifest.Dir+"/text", []byte(c.text), 0o600))
		h.state.Steps[0].Attempt = attempt + 1
		h.state.Steps[0].Number = attempt + 1
		h.record()
		o := h.order("migrate")
		o.Attempt = attempt + 1
		if code := h.tell("run", o); code != "" {
			t.Fatal(code)
		}
		got := h.await(h.key(attempt+1, false), ended)
		if got.Output != c.want || got.Cut != c.cut {
			t.Errorf("case %d: %d bytes, cut: %t, ends with %.20q", attempt, len(got.Output), got.Cut, got.Output[max(0, len(got.Output)-20):])
		}
	}
}

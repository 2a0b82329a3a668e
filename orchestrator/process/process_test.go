//go:build linux || darwin

package process_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/process"
)

// command runs a role.
func command(role string, env ...string) process.Command {
	return process.Command{Name: role, Args: []string{os.Args[0]}, Env: append(env, envRole+"="+role)}
}

// start starts a command that is stopped, at the latest, with the test.
func start(t *testing.T, c process.Command) *process.Process {
	t.Helper()
	p, err := process.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		now, cancel := context.WithCancel(context.Background())
		cancel()
		if err := p.Stop(now); err != nil {
			t.Error(err)
		}
		mustBeDone(t, p)
	})
	return p
}

// output runs a command to its end and returns its output and its error.
func output(t *testing.T, c process.Command) ([]string, error) {
	t.Helper()
	var lines []string
	c.Output = func(line string) { lines = append(lines, line) }
	p := start(t, c)
	mustBeDone(t, p)
	return lines, p.Err()
}

func mustBeDone(t *testing.T, p *process.Process) {
	t.Helper()
	select {
	case <-p.Done():
	case <-time.After(patience):
		t.Fatal("not done")
	}
}

// stop stops a process and returns how long that took.
func stop(t *testing.T, p *process.Process) time.Duration {
	t.Helper()
	began := time.Now()
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	return time.Since(began)
}

func numbers(from, to int) []string {
	var lines []string
	for i := from; i <= to; i++ {
		lines = append(lines, strconv.Itoa(i))
	}
	return lines
}

func TestOutputComesLineByLineInOrder(t *testing.T) {
	t.Parallel()
	lines, err := output(t, command("count"))
	if want := numbers(1, 100); err != nil || !slices.Equal(lines, want) {
		t.Errorf("got %q, error %v", lines, err)
	}
}

func TestOutputWithoutFinalNewline(t *testing.T) {
	t.Parallel()
	lines, err := output(t, command("unterminated"))
	if want := []string{"one", "", "three"}; err != nil || !slices.Equal(lines, want) {
		t.Errorf("got %q, error %v", lines, err)
	}
}

func TestLongLineIsCut(t *testing.T) {
	t.Parallel()
	lines, err := output(t, command("long-line"))
	a := strings.Repeat("a", process.MaxLine)
	want := []string{a, a, a[:10], strings.Repeat("b", process.MaxLine), "short"}
	if err != nil || !slices.Equal(lines, want) {
		t.Errorf("got %d lines, error %v", len(lines), err)
	}
}

func TestExitErrorTellsCodeAndLastLines(t *testing.T) {
	t.Parallel()
	c := command("count-exit-3")
	c.Name = "todo-search setup"
	p := start(t, c) // its output is discarded
	mustBeDone(t, p)

	var exit *process.ExitError
	if err := p.Err(); !errors.As(err, &exit) || err.Error() != "todo-search setup exited with code 3" {
		t.Fatalf("got error %v", err)
	}
	if exit.Name != "todo-search setup" || exit.Code != 3 || exit.Signal != 0 {
		t.Errorf("got %+v", exit)
	}
	if want := numbers(101-process.TailLines, 100); !slices.Equal(exit.Tail, want) {
		t.Errorf("got tail %q", exit.Tail)
	}
}

func TestExitErrorTellsSignal(t *testing.T) {
	t.Parallel()
	_, err := output(t, command("killed"))
	var exit *process.ExitError
	if !errors.As(err, &exit) || err.Error() != "killed was ended by a signal: killed" {
		t.Fatalf("got error %v", err)
	}
	if exit.Code != -1 || exit.Signal != syscall.SIGKILL || !slices.Equal(exit.Tail, []string{"last words"}) {
		t.Errorf("got %+v", exit)
	}
}

func TestProgramRunsInItsFolderWithItsEnvironment(t *testing.T) {
	t.Parallel()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c := command("environment", "GREETING=hello")
	c.Dir = dir
	lines, err := output(t, c)
	if want := []string{dir, "hello 1"}; err != nil || !slices.Equal(lines, want) {
		t.Errorf("got %q, error %v", lines, err)
	}
}

func TestWhatCannotBeStarted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "notes.txt")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name    string
		command process.Command
		is      error
		says    string
	}{
		{"no program of this name", process.Command{Name: "todos", Args: []string{"golive-no-such"}}, exec.ErrNotFound,
			`start todos: there is no program "golive-no-such" in PATH: install it, or give its path in the command`},
		{"no program at this path", process.Command{Name: "todos", Args: []string{"./bin/todos"}, Dir: dir}, fs.ErrNotExist,
			"start todos: there is no program " + dir + "/bin/todos: build it, or correct its path in the command"},
		{"a file that is no program", process.Command{Name: "todos", Args: []string{file}}, fs.ErrPermission,
			"start todos: " + file + " may not be executed: make it executable (chmod +x)"},
		{"no command", process.Command{Name: "todos"}, nil,
			"start todos: its command is empty: give a program and its arguments"},
		{"no such folder", process.Command{Args: []string{os.Args[0]}, Dir: dir + "/gone"}, fs.ErrNotExist,
			"start " + os.Args[0] + ": there is no folder " + dir + "/gone to run it in"},
		{"a file for a folder", process.Command{Name: "todos", Args: []string{os.Args[0]}, Dir: file}, syscall.ENOTDIR,
			"start todos: " + file + ", where it is to run, is not a folder"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := process.Start(test.command)
			if p != nil || err == nil || !strings.HasPrefix(err.Error(), test.says) {
				t.Fatalf("got %v, error %v", p, err)
			}
			if test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("%v is not %v", err, test.is)
			}
		})
	}
}

func TestProgramNoticesThatGoliveWasKilled(t *testing.T) {
	t.Parallel()
	for _, role := range []string{"watchful", "minded"} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			board := newSwitchboard(t)
			golive, program := killedLater(t, board, role)
			if program.isCut(time.Millisecond) {
				t.Fatal("it ended while golive lived")
			}
			golive.kill(t)
			if !program.isCut(patience) {
				t.Error("it runs on without golive")
			}
		})
	}
}

// another is a golive in a process of its own.
type another struct{ *exec.Cmd }

// killedLater starts a golive that runs a role as its program, and waits until both are there.
func killedLater(t *testing.T, board *switchboard, role string, env ...string) (another, *call) {
	t.Helper()
	golive := another{exec.Command(os.Args[0])}
	golive.Env = append(append(os.Environ(), envRole+"=golive", envProgram+"="+role, board.env()), env...)
	if err := golive.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = golive.Process.Kill() }) // it may have been killed
	return golive, board.await(t, role, "golive")[0]
}

func (a another) kill(t *testing.T) {
	t.Helper()
	if err := a.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = a.Wait() // it was killed
}

func TestAProgramThatReadsIsAtTheEndOfItsInput(t *testing.T) {
	t.Parallel()
	c := command("reader")
	c.NoInput = true
	lines, err := output(t, c)
	if want := []string{"0 bytes"}; err != nil || !slices.Equal(lines, want) {
		t.Errorf("got %q, error %v", lines, err)
	}
}

func TestAQuestionIsShownWhileItWaits(t *testing.T) {
	t.Parallel()
	board := newSwitchboard(t)
	lines := make(chan string, 10)
	c := command("asker", board.env())
	c.Output = func(line string) { lines <- line }
	p := start(t, c)
	asker := board.await(t, "asker")[0]
	want := func(line string) {
		t.Helper()
		select {
		case got := <-lines:
			if got != line {
				t.Fatalf("it shows %q, want %q", got, line)
			}
		case <-time.After(patience):
			t.Fatalf("%q is not shown", line)
		}
	}
	want("Continue? ") // nobody has answered it
	asker.say(t, "y")
	want("y")
	want("Continue? ")
	asker.say(t, "") // what ends the line is no line of its own
	want("it ends")
	mustBeDone(t, p)
	if err := p.Err(); err != nil {
		t.Error(err)
	}
}

//go:build linux || darwin

package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// EnvSupervised is the environment variable that is 1 in every program that this
// package starts: the descriptor that EnvSupervisedFD names ends when golive does.
const EnvSupervised = "GOLIVE_SUPERVISED"

// EnvSupervisedFD is the environment variable that holds the number of a descriptor, a
// pipe that ends when golive does: 0, which is standard input, or another one for a
// [Command] with NoInput. That one is handed on to whatever the program starts, also to a
// daemon that is to stay: what is not in the session that EnvSupervisedSession names
// leaves it alone.
const (
	EnvSupervisedFD      = "GOLIVE_SUPERVISED_FD"
	EnvSupervisedSession = "GOLIVE_SUPERVISED_SESSION"
)

// DefaultGrace is how long a program that is stopped may take to end by itself,
// if its command does not say otherwise.
const DefaultGrace = 3 * time.Second

// Command is a program to run. [Start] takes what it needs from it and does not
// change it.
type Command struct {
	Name string   // how it is called in errors, such as "todo-search setup"; empty means the program
	Args []string // required; the program (a path, or a name in this process's PATH) and its arguments; no shell
	Dir  string   // the folder it runs in; empty means that of this process
	Base []string // its environment before Env, KEY=VALUE; nil means this process's own
	Env  []string // added to Base, KEY=VALUE; wins over it

	// NoInput puts standard input at its end, so that a program that asks is answered
	// at once, by nobody, and does not wait for ever. Without it standard input is a
	// pipe that says nothing and ends when golive does.
	NoInput bool

	// Output is called with each line of standard output and standard error, in the
	// order in which they were written and without the newline; one call at a time
	// for a process, from a goroutine of its own. A line longer than [MaxLine] comes
	// in several, and so does one behind whose beginning nothing came for a second,
	// such as a question. While a call lasts, no more is read and the program may have
	// to wait; it must not wait for Done. nil discards the output.
	Output func(line string)

	// Records is a folder, which is made, where a file stands as long as anything of the
	// program may run, so that [Remains] finds what a golive that was killed has left;
	// empty: none is written.
	Records string

	Grace time.Duration // from SIGTERM to SIGKILL in Stop; 0 means DefaultGrace
}

// name is how the command is called in an error.
func (c Command) name() string {
	if c.Name == "" && len(c.Args) > 0 {
		return c.Args[0]
	}
	return c.Name
}

// prepare makes the command ready to run, with its output and input still to be
// connected.
func (c Command) prepare() (*exec.Cmd, error) {
	if len(c.Args) == 0 || c.Args[0] == "" {
		return nil, errors.New("its command is empty: give a program and its arguments")
	}
	if err := checkDir(c.Dir); err != nil {
		return nil, err
	}
	cmd := exec.Command(c.Args[0], c.Args[1:]...)
	cmd.Dir = c.Dir
	cmd.Env = c.Base
	cmd.Env = append(append(cmd.Environ(), c.Env...), EnvSupervised+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if cmd.Err != nil {
		return nil, c.explain(cmd.Err)
	}
	return cmd, nil
}

// connect gives the program its standard input, and the pipe that ends when golive does.
func (c Command) connect(cmd *exec.Cmd, life *os.File) {
	if !c.NoInput {
		cmd.Stdin = life
		cmd.Env = append(cmd.Env, EnvSupervisedFD+"=0")
		return
	}
	cmd.ExtraFiles = []*os.File{life} // behind standard input, output and error; no standard input is the null device
	session, _ := unix.Getsid(0)      // of this process there is one
	cmd.Env = append(cmd.Env, EnvSupervisedFD+"=3", EnvSupervisedSession+"="+strconv.Itoa(session))
}

// checkDir says what is wrong with a folder; the system's own error would blame
// the program for it.
func checkDir(dir string) error {
	if dir == "" {
		return nil
	}
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no folder %s to run it in: %w", dir, fs.ErrNotExist)
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s, where it is to run, is not a folder: %w", dir, syscall.ENOTDIR)
	}
	return nil
}

// explain says why a program could not be started, and what to do about it if
// that can be told.
func (c Command) explain(err error) error {
	program := c.Args[0]
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return fmt.Errorf("there is no program %q in PATH: install it, or give its path in the command: %w", program, exec.ErrNotFound)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no program %s: build it, or correct its path in the command: %w", c.path(), fs.ErrNotExist)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s may not be executed: make it executable (chmod +x): %w", c.path(), fs.ErrPermission)
	}
	return err
}

// path is where the program was looked for: a relative path counts from the
// folder it runs in.
func (c Command) path() string {
	program := c.Args[0]
	if filepath.IsAbs(program) || !strings.ContainsRune(program, filepath.Separator) {
		return program
	}
	return filepath.Join(c.Dir, program)
}

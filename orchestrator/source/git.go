package source

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// Limits of what git may say.
const (
	maxOutput = 64 << 20 // bytes of an answer that is read whole
	maxError  = 4 << 10  // bytes of why it has refused
)

// endGrace is how long git's children may keep its output open when it was ended.
const endGrace = 2 * time.Second

// inherited are the variables that git gets of this process's environment: those that say where
// the person's own configuration is. Whatever else is called GIT_… could lead it elsewhere.
func inherited() []string {
	return []string{"PATH", "HOME", "XDG_CONFIG_HOME", "USER", "LOGNAME", "TMPDIR", "TZ",
		"GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_GLOBAL"}
}

// environment is what git is told.
func (r *Repository) environment() []string {
	env := []string{
		"LC_ALL=C", "GIT_TERMINAL_PROMPT=0", "GIT_OPTIONAL_LOCKS=0", "GIT_NO_REPLACE_OBJECTS=1", "GIT_NO_LAZY_FETCH=1",
		"GIT_ALLOW_PROTOCOL=none", "GIT_PAGER=cat", "GIT_EDITOR=false", "GIT_ADVICE=0",
		"GIT_CONFIG_COUNT=" + strconv.Itoa(len(r.config)),
	}
	for _, name := range inherited() {
		if value, known := os.LookupEnv(name); known {
			env = append(env, name+"="+value)
		}
	}
	for i, s := range r.config {
		n := strconv.Itoa(i)
		env = append(env, "GIT_CONFIG_KEY_"+n+"="+s.key, "GIT_CONFIG_VALUE_"+n+"="+s.value)
	}
	return env
}

// command is a call of git in the top of the work tree. When ctx ends it is killed.
func (r *Repository) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, r.git, append([]string{"--no-pager"}, args...)...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = r.top, r.environment(), endGrace
	return cmd
}

// output is what git answers, at most [maxOutput] bytes of it; more is an error.
func (r *Repository) output(ctx context.Context, args ...string) ([]byte, error) {
	return r.outputOf(ctx, nil, args...)
}

// outputOf is [Repository.output] of a git that reads input.
func (r *Repository) outputOf(ctx context.Context, input io.Reader, args ...string) ([]byte, error) {
	cmd := r.command(ctx, args...)
	out, why := &limited{most: maxOutput}, &limited{most: maxError}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = input, out, why
	err := cmd.Run()
	if err = refusal(ctx, args, err, why.String()); err == nil && out.cut {
		err = fmt.Errorf("git %s says more than %d bytes", args[0], maxOutput)
	}
	return out.Bytes(), err
}

// text is what git answers on one line.
func (r *Repository) text(ctx context.Context, args ...string) (string, error) {
	out, err := r.output(ctx, args...)
	return strings.TrimSuffix(string(out), "\n"), err
}

// refusal is why git has not done what it was asked, in its own first words.
func refusal(ctx context.Context, args []string, err error, why string) error {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case !errors.As(err, &exit):
		return fmt.Errorf("run git %s: %w", args[0], err)
	}
	lines := strings.Split(strings.TrimSpace(why), "\n")
	first := strings.TrimPrefix(strings.TrimPrefix(lines[0], "fatal: "), "error: ")
	if strings.Contains(why, "safe.directory") {
		first = "it belongs to another user: git config --global --add safe.directory FOLDER says that you trust it"
	}
	return fmt.Errorf("git %s: %s", args[0], cmp.Or(first, err.Error()))
}

// limited keeps the first bytes that are written to it.
type limited struct {
	bytes.Buffer
	most int
	cut  bool // there were more
}

// Write takes everything, and keeps what there is room for.
func (l *limited) Write(p []byte) (int, error) {
	room := l.most - l.Len()
	l.cut = l.cut || len(p) > room
	_, _ = l.Buffer.Write(p[:min(len(p), room)]) // it never fails
	return len(p), nil
}

// Package source reads from which commit a release is taken, and takes the files of a commit.
//
// It asks the git program, and has it run nothing else: no hook, no filter, no monitor of files,
// no helper, no transport and no program to show differences, whatever the configuration of the
// repository says. It sees neither the variables of git in this process's environment nor objects
// that stand in the place of others. A repository is read, never written, but by
// [Repository.Keep]. What git refuses, such as a repository of another owner, is refused.
//
// Open a folder with [Open]. [Repository.Head] and [Repository.Changes] tell how it stands,
// [Repository.Resolve] finds a commit, and [Repository.Export] writes the files of one.
package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Sentinels that callers decide on.
var (
	// ErrNone says that a folder is in no work tree of a git repository.
	ErrNone = errors.New("no git repository")
	// ErrNoGit says that there is no git program.
	ErrNoGit = errors.New("there is no program git")
	// ErrNoCommit says that there is no such commit, or none at all yet.
	ErrNoCommit = errors.New("no commit")
)

// Repository is a folder in the work tree of a git repository. It remembers no state of the
// repository, and is safe for concurrent use.
type Repository struct {
	git    string // the program
	top    string // folder of the work tree, without symbolic links
	folder string // that was opened, within the work tree, with slashes; empty: its top
	remote string // without credentials; empty: none
	config []setting
}

// setting is a setting of git that is in force whatever the repository says.
type setting struct{ key, value string }

// safe are the settings with which git runs no other program.
func safe() []setting {
	return []setting{
		{"core.fsmonitor", "false"},
		{"core.hooksPath", os.DevNull},
		{"core.commitGraph", "false"}, // it could say of a commit what is not so
		{"core.askPass", ""},
		{"core.sshCommand", "false"},
		{"credential.helper", ""},
		{"commit.gpgSign", "false"},
		{"gc.auto", "0"},
		{"maintenance.auto", "false"},
		{"safe.bareRepository", "explicit"},
	}
}

// Open finds the repository that a folder is in. The error is [ErrNone] if it is in none,
// [ErrNoGit] if it is and there is no git program; any other says why git does not read the
// repository. Open runs git twice; like all calls of this package that take a context it blocks
// until git has answered or ctx ends.
func Open(ctx context.Context, folder string) (*Repository, error) {
	folder, err := filepath.Abs(folder)
	if err == nil {
		folder, err = filepath.EvalSymlinks(folder)
	}
	if err != nil {
		return nil, fmt.Errorf("find the folder: %w", err)
	}
	if err := look(folder); err != nil {
		return nil, err
	}
	r := &Repository{top: folder, config: safe()}
	if r.git, err = exec.LookPath("git"); err != nil {
		return nil, fmt.Errorf("%w, and %s is in a git repository", ErrNoGit, folder)
	}
	top, err := r.text(ctx, "rev-parse", "--show-toplevel")
	if err != nil {
		return nil, fmt.Errorf("read the git repository of %s: %w", folder, err)
	}
	if top, err = filepath.EvalSymlinks(top); err != nil {
		return nil, fmt.Errorf("find the work tree of the git repository of %s: %w", folder, err)
	}
	within, err := filepath.Rel(top, folder)
	if err != nil || !filepath.IsLocal(within) {
		return nil, fmt.Errorf("the git repository of %s says that its work tree is %s: look at core.worktree in its configuration", folder, top)
	}
	if within != "." {
		r.folder = filepath.ToSlash(within)
	}
	r.top = top
	return r, r.configure(ctx)
}

// look is nil if there is a repository in the folder or above it, and else [ErrNone], which says
// why.
func look(folder string) error {
	for at := folder; ; at = filepath.Dir(at) {
		if _, err := os.Lstat(filepath.Join(at, ".git")); err == nil {
			return nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("look for a git repository: %w", err)
		}
		if filepath.Dir(at) == at {
			break
		}
	}
	if isBare(folder) {
		return fmt.Errorf("%w: %s is a bare repository, which has no files: clone it, and name the folder in the clone", ErrNone, folder)
	}
	return fmt.Errorf("%w: %s is in none", ErrNone, folder)
}

// isBare reports whether a folder looks like a repository without a work tree.
func isBare(folder string) bool {
	for _, name := range []string{"HEAD", "objects", "refs"} {
		if _, err := os.Stat(filepath.Join(folder, name)); err != nil {
			return false
		}
	}
	return true
}

// configure switches off the filters that the configuration names, and finds the remote.
func (r *Repository) configure(ctx context.Context) error {
	all, err := r.output(ctx, "config", "--list", "-z")
	if err != nil {
		return fmt.Errorf("read the configuration of the git repository %s: %w", r.top, err)
	}
	remotes, filters := map[string]string{}, map[string]bool{}
	for entry := range strings.SplitSeq(string(all), "\x00") {
		key, value, _ := strings.Cut(entry, "\n")
		if name, found := between(key, "remote.", ".url"); found && remotes[name] == "" {
			remotes[name] = value
		}
		if rest, found := strings.CutPrefix(key, "filter."); found {
			if dot := strings.LastIndexByte(rest, '.'); dot >= 0 {
				filters[rest[:dot]] = true
			}
		}
	}
	for name := range filters {
		for _, key := range []string{"clean", "smudge", "process"} {
			r.config = append(r.config, setting{"filter." + name + "." + key, ""})
		}
		r.config = append(r.config, setting{"filter." + name + ".required", "false"})
	}
	if url, known := remotes["origin"]; known {
		r.remote = withoutCredentials(url)
	} else if len(remotes) == 1 {
		for _, url := range remotes {
			r.remote = withoutCredentials(url)
		}
	}
	return nil
}

// between is what stands in text between a beginning and an end.
func between(text, begin, end string) (string, bool) {
	rest, begins := strings.CutPrefix(text, begin)
	middle, ends := strings.CutSuffix(rest, end)
	return middle, begins && ends
}

// Top is the folder of the work tree, absolute and without symbolic links.
func (r *Repository) Top() string { return r.top }

// Folder is the folder that was opened, within the work tree and with slashes; empty: its top.
func (r *Repository) Folder() string { return r.folder }

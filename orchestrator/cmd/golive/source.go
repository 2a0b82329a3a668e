package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/source"
	"github.com/golive-dev/golive/orchestrator/terminal"
)

// commitUsage describes the flag of commands that take a release.
const commitUsage = "take the release from this git commit: a branch, a tag or an id"

const (
	sourcePatience = time.Minute // how long git may take to tell about a folder
	namedChanges   = 20          // how many files that differ are named
)

// taking is a command that takes a release from a folder or a commit.
type taking struct{ *command }

// take reads the release in dir or, if a commit is named, that of this commit. What is read is
// told with the commit that it comes from, as far as that is known; where the environment wants
// that nothing else is deployed, it is refused if it is not.
func (c taking) take(ctx context.Context, dir, commit string) (*release.Manifest, rollout.Release, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, sourcePatience, fmt.Errorf("git has not answered for %s", sourcePatience))
	defer cancel()
	if commit != "" {
		return c.takeCommit(ctx, dir, commit)
	}
	m, err := c.load(dir)
	if err != nil {
		return nil, rollout.Release{}, err
	}
	c.manifest = m
	r := m.Release()
	s, changes, err := look(ctx, m)
	switch clean := m.Environment.Source.Clean; {
	case err == nil && clean && s.Dirty:
		return nil, r, notClean(c.command, m, changes)
	case err == nil:
		r.Source = &s
	case clean:
		return nil, r, &failure{code: codeSource, exit: exitFailed, message: unclean(c.command, m) + ", and it cannot be told for this one: " + cause(ctx, err).Error(),
			hint: hintOf(err, m.App)}
	case !errors.Is(err, source.ErrNone):
		c.talk().Say(terminal.Yellow, "!", "the commit is not recorded: %s", terminal.Flat(cause(ctx, err).Error()))
	}
	return m, r, nil
}

// cause is err or, where time has run out, what that was for.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// look tells which commit the folder of a manifest is at, and which files differ from it.
func look(ctx context.Context, m *release.Manifest) (rollout.Source, []string, error) {
	repository, err := source.Open(ctx, m.Dir)
	if err != nil {
		return rollout.Source{}, nil, err
	}
	s, err := repository.Head(ctx)
	if err != nil {
		return s, nil, err
	}
	own := []string{inFolder(m, m.Data)}
	if m.Reports != "" {
		own = append(own, inFolder(m, m.Reports))
	}
	changes, more, err := repository.Changes(ctx, own, namedChanges)
	if err != nil {
		return s, nil, err
	}
	if more {
		changes = append(changes, "and more")
	}
	if m.Environment.Source.Clean {
		modules, err := repository.Modules(ctx)
		if err == nil && len(modules) > 0 {
			err = fmt.Errorf("git does not tell what has changed in the submodule %s", modules[0])
		}
		if err != nil {
			return s, nil, err
		}
	}
	s.Dirty = len(changes) > 0
	return s, changes, nil
}

// inFolder is a path that is relative to the folder of a manifest unless it is absolute.
func inFolder(m *release.Manifest, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(m.Dir, path)
}

// unclean says what is wanted of the folder of a manifest.
func unclean(c *command, m *release.Manifest) string {
	where := c.short(m.Path)
	if m.Environment.Name != "" {
		where = m.Environment.Name
	}
	return fmt.Sprintf("%s takes releases only from a folder in which nothing differs from its commit (source: {clean: true})", where)
}

// notClean refuses a folder that differs from its commit.
func notClean(c *command, m *release.Manifest, changes []string) error {
	var names []string
	for _, name := range changes {
		names = append(names, "\n  "+terminal.Flat(name))
	}
	return &failure{code: codeSource, exit: exitFailed,
		message: unclean(c, m) + ", and these do:" + strings.Join(names, ""),
		hint:    "commit them, put them into .gitignore, or take what is committed: golive deploy --commit HEAD"}
}

// takeCommit reads the release of a commit. The files of the commit are in a temporary folder
// meanwhile.
func (c taking) takeCommit(ctx context.Context, dir, commit string) (*release.Manifest, rollout.Release, error) {
	copied, err := os.MkdirTemp("", "golive-commit-")
	if err != nil {
		return nil, rollout.Release{}, err
	}
	defer os.RemoveAll(copied)
	m, s, err := c.loadCommit(ctx, dir, commit, copied, false)
	return c.taken(ctx, m, s, commit, err)
}

// takeTree reads the release of a commit, and leaves all files of the commit in the empty folder
// tree: programs of the manifest run there. What else is relative to the manifest is relative to
// dir.
func (c taking) takeTree(ctx context.Context, dir, commit, tree string) (*release.Manifest, rollout.Release, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, sourcePatience, fmt.Errorf("git has not answered for %s", sourcePatience))
	defer cancel()
	m, s, err := c.loadCommit(ctx, dir, commit, tree, true)
	m, r, err := c.taken(ctx, m, s, commit, err)
	if err != nil {
		return nil, r, err
	}
	there := *m
	there.Dir = filepath.Join(tree, filepath.FromSlash(s.Folder))
	return &there, r, nil
}

// taken is the release of a commit that was read; err is why it could not be.
func (c taking) taken(ctx context.Context, m *release.Manifest, s rollout.Source, commit string, err error) (*release.Manifest, rollout.Release, error) {
	var problems release.Errors
	var given *failure
	switch {
	case errors.As(err, &problems), errors.As(err, &given):
		return nil, rollout.Release{}, err
	case errors.Is(err, source.ErrNoCommit):
		return nil, rollout.Release{}, &failure{code: codeMisused, exit: exitMisused, message: "--commit: " + err.Error(),
			hint: "git log --oneline lists commits"}
	case err != nil:
		return nil, rollout.Release{}, &failure{code: codeSource, exit: exitFailed, message: "--commit " + commit + ": " + cause(ctx, err).Error(),
			hint: hintOf(err, "the app")}
	}
	c.manifest = m
	r := m.Release()
	r.Source = &s
	return m, r, nil
}

// hintOf is what helps where it is not known which commit an app is at, or one cannot be read.
func hintOf(err error, app string) string {
	switch {
	case errors.Is(err, source.ErrNone):
		return "deploy from the folder of " + app + " in a work tree of its git repository"
	case errors.Is(err, source.ErrNoGit):
		return "install git, so that it is found in PATH"
	case errors.Is(err, source.ErrNoCommit):
		return "commit it: git add, git commit"
	}
	return ""
}

// loadCommit reads the manifest of a commit, as if it stood in dir. The files of the commit, of
// the folder of the manifest or all, are in the empty folder to then, at their paths.
func (c taking) loadCommit(ctx context.Context, dir, commit, to string, all bool) (*release.Manifest, rollout.Source, error) {
	folder, file := c.absolute(dir), ""
	if info, err := os.Stat(folder); err == nil && info.Mode().IsRegular() {
		folder, file = filepath.Split(folder)
	}
	repository, err := source.Open(ctx, folder)
	if err != nil {
		return nil, rollout.Source{}, err
	}
	s, err := repository.Resolve(ctx, commit)
	if err != nil {
		return nil, s, err
	}
	wanted := s.Folder
	if all {
		wanted = ""
	}
	if err := repository.Export(ctx, s.Commit, wanted, to); err != nil {
		return nil, s, err
	}
	m, err := release.LoadCopy(filepath.Join(to, filepath.FromSlash(s.Folder), file), folder, c.env)
	if err != nil {
		return nil, s, problems(c.command, err, fmt.Sprintf("commit %s has no manifest in the folder %s", s.Commit[:12], c.short(folder)))
	}
	return m, s, nil
}

// problems are those of a manifest with its file as the person has named it; missing says that
// there is none.
func problems(c *command, err error, missing string) error {
	var problems release.Errors
	if errors.As(err, &problems) {
		for i := range problems {
			problems[i].File = c.short(problems[i].File)
		}
		return problems
	}
	message := err.Error()
	if errors.Is(err, fs.ErrNotExist) && missing != "" {
		message = missing
	}
	return &failure{code: codeManifest, exit: exitMisused, message: message}
}

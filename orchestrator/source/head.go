package source

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/golive-dev/golive/orchestrator/rollout"
)

// Head is the commit that the work tree is at. Dirty of it is not filled in: see
// [Repository.Changes]. The error is [ErrNoCommit] if there is none yet.
func (r *Repository) Head(ctx context.Context) (rollout.Source, error) {
	s, err := r.Resolve(ctx, "HEAD")
	if errors.Is(err, ErrNoCommit) {
		err = fmt.Errorf("%w: the git repository %s has none yet", ErrNoCommit, r.top)
	}
	return s, err
}

// Resolve finds the commit that ref names: a branch, a tag, an id or its beginning, or any other
// form that git knows. The error is [ErrNoCommit] if it names none.
func (r *Repository) Resolve(ctx context.Context, ref string) (rollout.Source, error) {
	if ref == "" || strings.HasPrefix(ref, "-") || strings.ContainsFunc(ref, unicode.IsControl) {
		return rollout.Source{}, fmt.Errorf("%w: %q cannot name one", ErrNoCommit, ref)
	}
	id, err := r.text(ctx, "rev-parse", "--verify", "--quiet", "--end-of-options", ref+"^{commit}")
	if ctx.Err() != nil {
		return rollout.Source{}, ctx.Err()
	}
	s := rollout.Source{Commit: id, Remote: clip(r.remote, rollout.MaxRemote), Folder: r.folder}
	if err != nil || !isID(id) {
		why := fmt.Sprintf("%q names none in the git repository %s", ref, r.top)
		if shallow, _ := r.text(ctx, "rev-parse", "--is-shallow-repository"); shallow == "true" {
			why += ", which is shallow: git fetch --unshallow brings the rest"
		}
		return rollout.Source{}, fmt.Errorf("%w: %s", ErrNoCommit, why)
	}
	if len(s.Folder) > rollout.MaxFolder {
		return s, fmt.Errorf("the name of the folder in the git repository has %d bytes, at most %d are allowed", len(s.Folder), rollout.MaxFolder)
	}
	describe, err := r.text(ctx, "describe", "--always", "--tags", "--abbrev=12", id)
	s.Describe = clip(describe, rollout.MaxDescribe)
	return s, err
}

// isID reports whether text is the whole id of an object.
func isID(id string) bool {
	return (len(id) == 40 || len(id) == 64) && strings.Trim(id, "0123456789abcdef") == ""
}

// clip is text that fits, without characters that are not shown.
func clip(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, ""))
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "")
	}
	return text
}

// Changes are the files of the folder that differ from the commit that the work tree is at, with
// their paths from the top of the work tree: at most most, and whether there are more. A file that
// git does not know is one, unless it is ignored; a folder of such files is named as one. Folders
// in except, absolute paths, do not count where they are below the folder that was opened.
//
// A file whose content a filter would change counts if git has to look into it, because no filter
// is run. What changes in a submodule is not seen: [Repository.Modules] tells whether there are
// some.
func (r *Repository) Changes(ctx context.Context, except []string, most int) (files []string, more bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	args := append([]string{"status", "--porcelain=v1", "-z", "--untracked-files=normal", "--ignore-submodules=dirty", "--no-renames", "--"}, r.pathspecs(except)...)
	cmd := r.command(ctx, args...)
	why := &limited{most: maxError}
	cmd.Stderr = why
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, false, fmt.Errorf("run git status: %w", err)
	}
	entries := bufio.NewScanner(io.LimitReader(out, maxOutput))
	entries.Split(untilZero)
	for entries.Scan() {
		if len(files) == most {
			more = true
			break
		}
		if entry := entries.Text(); len(entry) > 3 { // two letters, a space and the path
			files = append(files, entry[3:])
		}
	}
	if more {
		cancel() // the rest does not matter
		_ = cmd.Wait()
		return files, true, nil
	}
	_, _ = io.Copy(io.Discard, out) // an answer that is not read would keep git
	if err := refusal(ctx, args, cmd.Wait(), why.String()); err != nil {
		return nil, false, fmt.Errorf("compare %s with its commit: %w", filepath.Join(r.top, r.folder), err)
	}
	return files, false, entries.Err()
}

// pathspecs are the folder, but for those in except that are below it.
func (r *Repository) pathspecs(except []string) []string {
	all := []string{":(top,literal)" + r.folder}
	if r.folder == "" {
		all[0] = ":(top)"
	}
	for _, folder := range except {
		if real, err := filepath.EvalSymlinks(folder); err == nil {
			folder = real
		}
		within, err := filepath.Rel(filepath.Join(r.top, r.folder), folder)
		if err == nil && filepath.IsLocal(within) && within != "." {
			all = append(all, ":(top,exclude,literal)"+path.Join(r.folder, filepath.ToSlash(within)))
		}
	}
	return all
}

// untilZero splits at bytes 0.
func untilZero(data []byte, end bool) (int, []byte, error) {
	if i := bytes.IndexByte(data, 0); i >= 0 {
		return i + 1, data[:i], nil
	}
	if end && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

// Modules are the submodules in the folder, with their paths from the top of the work tree.
func (r *Repository) Modules(ctx context.Context) ([]string, error) {
	out, err := r.output(ctx, append([]string{"ls-files", "-s", "-z", "--"}, r.pathspecs(nil)...)...)
	if err != nil {
		return nil, fmt.Errorf("look for submodules in %s: %w", filepath.Join(r.top, r.folder), err)
	}
	var all []string
	for entry := range strings.SplitSeq(string(out), "\x00") {
		if info, name, found := strings.Cut(entry, "\t"); found && strings.HasPrefix(info, modeModule+" ") {
			all = append(all, name)
		}
	}
	return all, nil
}

// withoutCredentials is the address of a repository without a user, a password and whatever could
// be a token. An address that cannot be taken apart is left out.
func withoutCredentials(remote string) string {
	if !strings.Contains(remote, "://") {
		if user, _, found := strings.Cut(remote, "@"); found && strings.Contains(user, ":") || rollout.HasCredentials(remote) {
			return ""
		}
		return remote
	}
	u, err := url.Parse(remote)
	if err != nil {
		return ""
	}
	name := u.User.Username()
	u.User, u.RawQuery, u.Fragment, u.RawFragment, u.ForceQuery = nil, "", "", "", false
	if name != "" && slices.Contains([]string{"ssh", "git+ssh"}, u.Scheme) {
		u.User = url.User(name)
	}
	if text := u.String(); !rollout.HasCredentials(text) {
		return text
	}
	return ""
}

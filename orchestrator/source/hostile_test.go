package source_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/golive-dev/golive/orchestrator/source"
)

// TestAHostileRepositoryRunsNothing holds that no program is run that a repository names in its
// configuration, its hooks or its attributes, and that none is run by way of an include.
func TestAHostileRepositoryRunsNothing(t *testing.T) {
	r := newRepo(t)
	program, sprung := r.trap()
	r.write(".gitattributes", "* filter=evil diff=evil merge=evil\n*.x filter=e.v=il\n")
	r.write("shop/golive.yaml", "app: shop\n")
	r.write("shop/a.x", "x")
	id := r.commit()
	r.git("tag", "v1")
	included := filepath.Join(t.TempDir(), "included")
	r.must(os.WriteFile(included, []byte("[filter \"e.v=il\"]\n\tclean = "+program+"\n\tsmudge = "+program+"\n\tprocess = "+program+"\n\trequired = true\n"), 0o644))
	for key, value := range map[string]string{
		"core.fsmonitor": program, "core.hooksPath": filepath.Dir(program), "core.sshCommand": program, "core.pager": program,
		"core.editor": program, "core.askPass": program, "core.gitProxy": program, "credential.helper": program,
		"diff.external": program, "diff.evil.textconv": program, "diff.evil.command": program, "merge.evil.driver": program,
		"filter.evil.clean": program, "filter.evil.smudge": program, "filter.evil.process": program, "filter.evil.required": "true",
		"include.path": included, "tar.tar.command": program, "gpg.program": program, "alias.status": "!" + program,
		"alias.archive": "!" + program, "pager.status": program, "remote.origin.url": "ext::" + program, "remote.origin.promisor": "true",
		"remote.origin.uploadpack": program, "protocol.ext.allow": "always", "extensions.partialClone": "origin",
		"remote.origin.vcs": "evil", "uploadpack.packObjectsHook": program, "interactive.diffFilter": program,
		"trace2.eventTarget": filepath.Join(filepath.Dir(program), "trace"), "status.showUntrackedFiles": "no",
	} {
		r.git("config", key, value)
	}
	for _, hook := range []string{"post-index-change", "post-checkout", "reference-transaction", "fsmonitor-watchman"} {
		r.must(os.Symlink(program, filepath.Join(filepath.Dir(program), hook)))
		r.must(os.MkdirAll(filepath.Join(r.folder, ".git/hooks"), 0o755))
		r.must(os.Symlink(program, filepath.Join(r.folder, ".git/hooks", hook)))
	}
	r.write("shop/golive.yaml", "app: evil\n") // git has to look into it
	r.write("shop/a.x", "y")
	r.write("shop/new", "y")
	t.Setenv("GIT_EXTERNAL_DIFF", program)
	t.Setenv("GIT_DIR", "/nowhere")
	t.Setenv("GIT_SSH_COMMAND", program)
	t.Setenv("GIT_PAGER", program)
	opened := r.open("shop")
	head, err := opened.Head(t.Context())
	if err != nil || head.Commit != id || head.Describe != "v1" {
		t.Errorf("the commit is %+v (%v)", head, err)
	}
	if files, _, err := opened.Changes(t.Context(), nil, 10); err != nil || len(files) != 3 {
		t.Errorf("changed are %q (%v)", files, err)
	}
	if _, err := opened.Modules(t.Context()); err != nil {
		t.Error(err)
	}
	to := t.TempDir()
	if err := opened.Export(t.Context(), id, "shop", to); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(filepath.Join(to, "shop/golive.yaml")); err != nil || string(got) != "app: shop\n" {
		t.Errorf("exported %q (%v)", got, err)
	}
	// An object that is not there is not fetched.
	r.must(os.Unsetenv("GIT_DIR"))
	blob := r.git("rev-parse", "HEAD:shop/golive.yaml")
	r.must(os.Remove(filepath.Join(r.folder, ".git/objects", blob[:2], blob[2:])))
	if err := opened.Export(t.Context(), id, "shop", t.TempDir()); err == nil {
		t.Error("a file that is not there was exported")
	} else if !strings.Contains(err.Error(), "golive.yaml is not in the repository") {
		t.Errorf("a file that is not there gives %v", err)
	}
	if sprung() {
		t.Error("a program of the repository was run")
	}
}

func TestAWorkTreeElsewhereIsRefused(t *testing.T) {
	r := newRepo(t)
	r.write("golive.yaml", "app: shop\n")
	r.commit()
	r.git("config", "core.worktree", t.TempDir())
	if _, err := source.Open(t.Context(), r.folder); err == nil || !strings.Contains(err.Error(), "core.worktree") && !strings.Contains(err.Error(), "work tree") {
		t.Errorf("got %v", err)
	}
}

func TestObjectsInThePlaceOfOthersAreNotSeen(t *testing.T) {
	r := newRepo(t)
	r.write("golive.yaml", "app: shop\n")
	first := r.commit()
	r.write("golive.yaml", "app: evil\n")
	r.git("replace", first, r.commit())
	got, err := r.export(first, "")
	if err != nil || got["golive.yaml"] != "app: shop\n" {
		t.Errorf("got %q (%v)", got, err)
	}
}

// TestObjectsOfAnotherRepositoryAreRead shows that alternates are harmless, and go on working:
// git clone --shared makes them.
func TestObjectsOfAnotherRepositoryAreRead(t *testing.T) {
	r := newRepo(t)
	r.write("golive.yaml", "app: shop\n")
	id := r.commit()
	to := filepath.Join(t.TempDir(), "clone")
	r.git("clone", "--quiet", "--shared", r.folder, to)
	clone := &repo{t, to}
	if got, err := clone.export(id, ""); err != nil || got["golive.yaml"] != "app: shop\n" {
		t.Errorf("got %q (%v)", got, err)
	}
}

func TestLinkedWorkTreesAndModulesAreWorkTrees(t *testing.T) {
	r := newRepo(t)
	r.write("golive.yaml", "app: shop\n")
	id := r.commit()
	linked := filepath.Join(t.TempDir(), "linked")
	r.git("worktree", "add", "--quiet", linked)
	r.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", r.folder, "module")
	for _, folder := range []string{linked, filepath.Join(r.folder, "module")} {
		got, err := (&repo{t, folder}).open("").Head(t.Context())
		if err != nil || got.Commit != id || got.Folder != "" {
			t.Errorf("%s: %+v (%v)", folder, got, err)
		}
	}
}

func TestARepositoryOfAnotherOwnerIsRefused(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give a folder away")
	}
	r := newRepo(t)
	r.write("golive.yaml", "app: shop\n")
	r.commit()
	for _, name := range []string{".", ".git"} {
		r.must(os.Chown(filepath.Join(r.folder, name), 4242, 4242))
	}
	_, err := source.Open(t.Context(), r.folder)
	if err == nil || !strings.Contains(err.Error(), "belongs to another user: git config --global --add safe.directory") {
		t.Errorf("got %v", err)
	}
}

func TestABrokenConfigurationIsAClearError(t *testing.T) {
	r := newRepo(t)
	r.write("golive.yaml", "app: shop\n")
	r.commit()
	r.must(os.WriteFile(filepath.Join(r.folder, ".git/config"), []byte("[core\n"), 0o644))
	if _, err := source.Open(t.Context(), r.folder); err == nil || !strings.Contains(err.Error(), "bad config line 1") {
		t.Errorf("got %v", err)
	}
	r.must(os.WriteFile(filepath.Join(r.folder, ".git/config"), []byte("[core]\n\trepositoryFormatVersion = 99\n"), 0o644))
	if _, err := source.Open(t.Context(), r.folder); err == nil {
		t.Error("a format that git does not know is read")
	}
}

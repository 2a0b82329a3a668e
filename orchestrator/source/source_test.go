package source_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/source"
)

func TestHeadTellsTheCommit(t *testing.T) {
	r := newRepo(t)
	r.write("apps/a shop/golive.yaml", "app: shop\n")
	id := r.commit()
	r.git("tag", "v1.0.0")
	r.git("remote", "add", "origin", "https://ann:secret@example.com/shop.git?token=secret")
	opened := r.open("apps/a shop")
	got, err := opened.Head(t.Context())
	want := rollout.Source{Commit: id, Describe: "v1.0.0", Remote: "https://example.com/shop.git", Folder: "apps/a shop"}
	if err != nil || got != want {
		t.Errorf("got %+v (%v), want %+v", got, err, want)
	}
	if opened.Top() != r.folder || opened.Folder() != "apps/a shop" {
		t.Errorf("opened %q in %q", opened.Folder(), opened.Top())
	}
}

func TestRemotesLoseTheirCredentials(t *testing.T) {
	t.Parallel()
	for remote, want := range map[string]string{
		"https://example.com/shop.git":               "https://example.com/shop.git",
		"https://ghp_token@example.com/shop.git":     "https://example.com/shop.git",
		"https://ann:pass@example.com/shop.git#frag": "https://example.com/shop.git",
		"ssh://git@example.com:22/shop.git":          "ssh://git@example.com:22/shop.git",
		"ssh://git:pass@example.com/shop.git":        "ssh://git@example.com/shop.git",
		"git@example.com:shop.git":                   "git@example.com:shop.git",
		"ann:pass@example.com:shop.git":              "",
		"https://example.com/%zz?token=x":            "",
		"/srv/git/shop":                              "/srv/git/shop",
		"ext::sh -c secret":                          "ext::sh -c secret",
	} {
		r := newRepo(t)
		r.write("golive.yaml", "app: shop\n")
		r.commit()
		r.git("config", "remote.upstream.url", remote)
		got, err := r.open("").Head(t.Context())
		if err != nil || got.Remote != want {
			t.Errorf("%s became %q (%v), want %q", remote, got.Remote, err, want)
		}
		if rollout.HasCredentials(got.Remote) {
			t.Errorf("%s became %q, which an orchestrator refuses", remote, got.Remote)
		}
	}
}

func TestFoldersWithoutACommit(t *testing.T) {
	bare, empty, unborn := t.TempDir(), t.TempDir(), newRepo(t)
	unborn.folder, bare = bare, unborn.folder
	unborn.git("init", "--quiet", "--bare")
	unborn.folder, bare = bare, unborn.folder
	for folder, want := range map[string]string{
		empty:                                "is in none",
		bare:                                 "is a bare repository",
		filepath.Join(unborn.folder, ".git"): "work tree",
	} {
		_, err := source.Open(t.Context(), folder)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", folder, err, want)
		}
	}
	if _, err := source.Open(t.Context(), empty); !errors.Is(err, source.ErrNone) {
		t.Errorf("the folder in no repository gives %v", err)
	}
	if _, err := unborn.open("").Head(t.Context()); !errors.Is(err, source.ErrNoCommit) || !strings.Contains(err.Error(), "none yet") {
		t.Errorf("without a commit Head gives %v", err)
	}
	t.Setenv("PATH", empty)
	if _, err := source.Open(t.Context(), unborn.folder); !errors.Is(err, source.ErrNoGit) {
		t.Errorf("without git Open gives %v", err)
	}
	if _, err := source.Open(t.Context(), empty); !errors.Is(err, source.ErrNone) {
		t.Errorf("without git the folder in no repository gives %v", err)
	}
}

func TestResolveFindsCommitsAlone(t *testing.T) {
	r := newRepo(t)
	r.write("golive.yaml", "app: shop\n")
	first := r.commit()
	r.git("tag", "-a", "v1", "-m", "first")
	r.write("golive.yaml", "app: shop # more\n")
	second := r.commit()
	opened := r.open("")
	for ref, want := range map[string]string{
		"v1": first, "HEAD": second, "HEAD~1": first, "main": second, first[:8]: first, second: second, "refs/heads/main": second,
	} {
		if got, err := opened.Resolve(t.Context(), ref); err != nil || got.Commit != want {
			t.Errorf("%s is %s (%v), want %s", ref, got.Commit, err, want)
		}
	}
	for _, ref := range []string{
		"", "-h", "--all", "--output=x", "none", "HEAD:golive.yaml", "HEAD^{tree}", "v1..main", "^main", "HEAD\nmain", "main@{u}",
		strings.Repeat("0", 40), first + " " + second, "HEAD --", ":/none",
	} {
		if got, err := opened.Resolve(t.Context(), ref); !errors.Is(err, source.ErrNoCommit) {
			t.Errorf("%q is %s (%v)", ref, got.Commit, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := opened.Resolve(ctx, "v1"); !errors.Is(err, context.Canceled) {
		t.Errorf("when the context has ended Resolve gives %v", err)
	}
}

func TestShallowRepositoriesSaySo(t *testing.T) {
	r := newRepo(t)
	r.write("golive.yaml", "app: shop\n")
	first := r.commit()
	r.write("golive.yaml", "app: shop # more\n")
	second := r.commit()
	to := filepath.Join(t.TempDir(), "clone")
	r.git("clone", "--quiet", "--depth=1", "file://"+r.folder, to)
	clone := &repo{t, to}
	got, err := clone.open("").Head(t.Context())
	if err != nil || got.Commit != second || got.Describe != second[:12] {
		t.Errorf("the newest commit is %+v (%v)", got, err)
	}
	if _, err := clone.open("").Resolve(t.Context(), first); err == nil || !strings.Contains(err.Error(), "is shallow: git fetch --unshallow") {
		t.Errorf("an older commit gives %v", err)
	}
}

func TestChangesAreThoseOfTheFolder(t *testing.T) {
	r := newRepo(t)
	r.write(".gitignore", "*.secret\n")
	r.write("shop/golive.yaml", "app: shop\n")
	r.write("shop/[x] y.txt", "x")
	r.write("other/golive.yaml", "app: other\n")
	r.commit()
	opened := r.open("shop")
	changes := func(except ...string) []string {
		t.Helper()
		files, more, err := opened.Changes(t.Context(), except, 100)
		if err != nil || more {
			t.Fatalf("more %t: %v", more, err)
		}
		return files
	}
	r.write("other/golive.yaml", "app: another\n")
	r.write("shop/a.secret", "x")
	if got := changes(); len(got) > 0 {
		t.Errorf("nothing has changed in the folder, but %q", got)
	}
	r.write("shop/[x] y.txt", "y")
	r.write("shop/reports/new.md", "x")
	r.write("shop/new/one", "x")
	r.must(os.Remove(filepath.Join(r.folder, "shop/golive.yaml")))
	want := []string{"shop/[x] y.txt", "shop/golive.yaml", "shop/new/", "shop/reports/"}
	if got := changes(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	top := r.folder
	if got := changes(filepath.Join(top, "shop/reports"), filepath.Join(top, "shop"), filepath.Join(top, "other"), "/"); !slices.Equal(got, want[:3]) {
		t.Errorf("without the reports, got %q, want %q", got, want[:3])
	}
	for most, all := range []bool{true, true, true, true, false, false} {
		files, more, err := opened.Changes(t.Context(), nil, most)
		if err != nil || more != all || len(files) != min(most, 4) {
			t.Errorf("of at most %d: %q, more %t (%v)", most, files, more, err)
		}
	}
}

func TestThousandsOfChangesAreNotAllRead(t *testing.T) {
	r := newRepo(t)
	r.write("kept/file", "x")
	r.commit()
	for i := range 3000 {
		r.write(fmt.Sprintf("kept/%d-%s", i, strings.Repeat("x", 100)), "")
	}
	files, more, err := r.open("").Changes(t.Context(), nil, 10)
	if err != nil || !more || len(files) != 10 {
		t.Errorf("got %d, more %t (%v)", len(files), more, err)
	}
}

func TestExportIsTheCommitAndNothingElse(t *testing.T) {
	r := newRepo(t)
	r.write(".gitattributes", "hidden export-ignore\nid export-subst\n*.txt eol=crlf\n")
	r.write(".gitignore", "*.secret\n")
	r.write("shop/golive.yaml", "app: shop\n")
	r.write("shop/hidden", "not hidden")
	r.write("shop/id", "$Format:%H$")
	r.write("shop/lines.txt", "a\nb\n")
	r.write("shop/with space/\"quoted\"\ttab", "x")
	r.write("shop/big", strings.Repeat("0123456789abcdef", 1<<16))
	r.write("shop/empty", "")
	r.write("other/file", "x")
	r.must(os.Symlink("golive.yaml", filepath.Join(r.folder, "shop/link")))
	r.must(os.Symlink("../other/file", filepath.Join(r.folder, "shop/aside")))
	r.must(os.Symlink("nowhere", filepath.Join(r.folder, "shop/dangling")))
	r.write("shop/program", "#!/bin/sh\n")
	r.must(os.Chmod(filepath.Join(r.folder, "shop/program"), 0o755))
	id := r.commit()
	r.write("shop/golive.yaml", "app: changed\n")
	r.write("shop/untracked", "x")
	r.write("shop/a.secret", "x")
	r.must(os.Remove(filepath.Join(r.folder, "shop/id")))
	got, err := r.export(id, "shop")
	want := map[string]string{
		"shop/golive.yaml": "app: shop\n", "shop/hidden": "not hidden", "shop/id": "$Format:%H$", "shop/lines.txt": "a\nb\n",
		"shop/with space/\"quoted\"\ttab": "x", "shop/big": strings.Repeat("0123456789abcdef", 1<<16), "shop/empty": "",
		"shop/link": "-> golive.yaml", "shop/aside": "-> ../other/file", "shop/dangling": "-> nowhere", "shop/program": "#!/bin/sh\n",
	}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("got %q (%v)", slices.Sorted(maps.Keys(got)), err)
	}
	if got, err := r.export(id, ""); err != nil || len(got) != len(want)+3 {
		t.Errorf("as a whole, got %q (%v)", slices.Sorted(maps.Keys(got)), err)
	}
	for _, folder := range []string{"none", "shop/golive.yaml", "../x"} {
		if _, err := r.export(id, folder); err == nil || !strings.Contains(err.Error(), "has no folder") {
			t.Errorf("folder %s: %v", folder, err)
		}
	}
	if _, err := r.export("HEAD", ""); !errors.Is(err, source.ErrNoCommit) {
		t.Errorf("what is no id gives %v", err)
	}
	to := t.TempDir()
	r.must(r.open("").Export(t.Context(), id, "shop", to))
	if info, err := os.Stat(filepath.Join(to, "shop/program")); err != nil || info.Mode()&0o100 == 0 {
		t.Errorf("the program cannot be run: %v", err)
	}
	if err := r.open("").Export(t.Context(), id, "shop", to); err == nil {
		t.Error("files are overwritten")
	}
}

func TestLargeFilesAndSubmodulesAreRefused(t *testing.T) {
	r := newRepo(t)
	r.write("shop/golive.yaml", "app: shop\n")
	good := r.commit()
	pointer := "version https://git-lfs.github.com/spec/v1\noid sha256:" + strings.Repeat("a", 64) + "\nsize 123456\n"
	r.write("shop/model.bin", pointer)
	r.write("shop/text.md", "# "+pointer)
	large := r.commit()
	if _, err := r.export(large, "shop"); err == nil || !strings.Contains(err.Error(), "does not hold shop/model.bin, but pointers to large files") {
		t.Errorf("a pointer gives %v", err)
	}
	r.git("rm", "--quiet", "shop/model.bin")
	r.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", r.folder, "shop/module")
	module := r.commit()
	if _, err := r.export(module, "shop"); err == nil || !strings.Contains(err.Error(), "submodules (shop/module)") {
		t.Errorf("a submodule gives %v", err)
	}
	if got, err := r.open("shop").Modules(t.Context()); err != nil || !slices.Equal(got, []string{"shop/module"}) {
		t.Errorf("the submodules are %q (%v)", got, err)
	}
	if _, err := r.export(good, "shop"); err != nil {
		t.Errorf("the commit before gives %v", err)
	}
}

func TestLinksOutOfTheCommitAreRefused(t *testing.T) {
	for name, links := range map[string]map[string]string{
		"absolute":  {"shop/golive.yaml": "/etc/hostname"},
		"above":     {"shop/golive.yaml": "../../secret"},
		"by a link": {"a/b/up": "../..", "shop/golive.yaml": "../a/b/up/../../secret"},
	} {
		r := newRepo(t)
		r.write("a/b/c", "x")
		r.write("shop/x", "x")
		for link, target := range links {
			r.must(os.Symlink(target, filepath.Join(r.folder, link)))
		}
		id := r.commit()
		if _, err := r.export(id, ""); err == nil || !strings.Contains(err.Error(), "symbolic link shop/golive.yaml that leads out") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTreesWithNamesThatLeadElsewhereAreRefused(t *testing.T) {
	r := newRepo(t)
	r.write("x", "x")
	r.commit()
	blob := r.git("rev-parse", "HEAD:x")
	tree := func(entries string) string {
		to := filepath.Join(r.TempDir(), "entries")
		r.must(os.WriteFile(to, []byte(entries), 0o644))
		r.git("config", "core.protectHFS", "false")
		return r.git("-c", "alias.make=!git mktree --missing < '"+to+"'", "make")
	}
	deep := tree("100644 blob " + blob + "\tx\n")
	link := tree("120000 blob " + blob + "\tx\n")
	for name, entries := range map[string]string{
		"git's own":   "040000 tree " + deep + "\t.GIT\n",
		"link and in": "120000 blob " + blob + "\ty\n040000 tree " + link + "\ty\n",
	} {
		commit := r.git("commit-tree", "-m", "hostile", tree(entries))
		if got, err := r.export(commit, ""); err == nil {
			t.Errorf("%s: wrote %q", name, got)
		}
	}
}

func TestKeepCommitsTheFilesAlone(t *testing.T) {
	r := newRepo(t)
	program, sprung := r.trap()
	r.write("golive.yaml", "app: shop\n")
	r.write(".gitignore", "ignored/\n")
	first := r.commit()
	for _, hook := range []string{"pre-commit", "commit-msg", "post-commit", "prepare-commit-msg", "post-index-change", "reference-transaction"} {
		r.must(os.MkdirAll(filepath.Join(r.folder, ".git/hooks"), 0o755))
		r.must(os.Symlink(program, filepath.Join(r.folder, ".git/hooks", hook)))
	}
	r.git("config", "commit.gpgSign", "true")
	r.git("config", "gpg.program", program)
	r.write("golive.yaml", "app: changed\n")
	r.write("untracked", "x")
	r.write("reports/a [1].md", "# Report\n")
	r.write("reports/a [1].json", "{}\n")
	files := []string{filepath.Join(r.folder, "reports/a [1].md"), filepath.Join(r.folder, "reports/a [1].json")}
	r.git("-c", "core.hooksPath=/dev/null", "add", "untracked")
	id, err := r.open("").Keep(t.Context(), "Report of shop\n\n# not a comment\n", files...)
	if err != nil || id == first || len(id) != 40 {
		t.Fatalf("got %q (%v)", id, err)
	}
	if got := r.git("show", "--name-only", "--format=%s|%b", id); got != "Report of shop|# not a comment\n\n\nreports/a [1].json\nreports/a [1].md" {
		t.Errorf("the commit is %q", got)
	}
	if got := r.git("-c", "core.hooksPath=/dev/null", "status", "--porcelain"); got != "M golive.yaml\nA  untracked" {
		t.Errorf("beside it there is %q", got)
	}
	if again, err := r.open("").Keep(t.Context(), "again", files...); err != nil || again != "" {
		t.Errorf("kept twice, got %q (%v)", again, err)
	}
	r.write("ignored/a.md", "x")
	if _, err := r.open("").Keep(t.Context(), "x", filepath.Join(r.folder, "ignored/a.md")); err == nil || !strings.Contains(err.Error(), "ignored") {
		t.Errorf("an ignored file gives %v", err)
	}
	if _, err := r.open("").Keep(t.Context(), "x", filepath.Join(t.TempDir(), "a.md")); err == nil || !strings.Contains(err.Error(), "is not in the git repository") {
		t.Errorf("a file elsewhere gives %v", err)
	}
	if sprung() {
		t.Error("a program of the repository was run")
	}
}

func TestKeepMakesTheFirstCommit(t *testing.T) {
	r := newRepo(t)
	r.write("golive.yaml", "app: shop\n")
	r.write("report.md", "# Report\n")
	id, err := r.open("").Keep(t.Context(), "Report\n", filepath.Join(r.folder, "report.md"))
	if err != nil || r.git("show", "--name-only", "--format=%H", id) != id+"\n\nreport.md" {
		t.Errorf("got %q (%v)", id, err)
	}
}

// treeOf writes a commit of files that git add would not, by the lines of git ls-tree.
func (r *repo) treeOf(lines string) string {
	r.Helper()
	from := filepath.Join(r.TempDir(), "lines")
	r.must(os.WriteFile(from, []byte(lines), 0o644))
	tree := r.git("-c", "alias.make=!git mktree --missing < '"+from+"'", "make")
	return r.git("commit-tree", "-m", "made", tree)
}

// blob keeps a content in the repository, and gives its id.
func (r *repo) blob(content string) string {
	r.Helper()
	from := filepath.Join(r.TempDir(), "content")
	r.must(os.WriteFile(from, []byte(content), 0o644))
	return r.git("hash-object", "-w", from)
}

func TestTheLimitsOfAnExport(t *testing.T) {
	r := newRepo(t)
	const pointer = "version https://git-lfs.github.com/spec/v1\n"
	long := pointer + strings.Repeat("x", 1024-len(pointer))
	if _, err := r.export(r.treeOf("100644 blob "+r.blob(long)+"\tfile\n"), ""); err == nil || !strings.Contains(err.Error(), "pointers to large files") {
		t.Errorf("a pointer of 1024 bytes gives %v", err)
	}
	if got, err := r.export(r.treeOf("100644 blob "+r.blob(long+"x")+"\tfile\n"), ""); err != nil || got["file"] != long+"x" {
		t.Errorf("what is too long for a pointer gives %v", err)
	}
	var pointers strings.Builder
	for i := range 7 {
		fmt.Fprintf(&pointers, "100644 blob %s\tfile-%d\n", r.blob(long), i)
	}
	if _, err := r.export(r.treeOf(pointers.String()), ""); err == nil || !strings.Contains(err.Error(), "file-0, file-1, file-2, file-3, file-4 and 2 more") {
		t.Errorf("seven pointers give %v", err)
	}
	link := strings.Repeat("a/", 2047) + "a"
	if _, err := r.export(r.treeOf("120000 blob "+r.blob(link)+"\tlink\n"), ""); err != nil && strings.Contains(err.Error(), "has 4095 bytes") {
		t.Errorf("the longest link gives %v", err)
	}
	if _, err := r.export(r.treeOf("120000 blob "+r.blob(link+"a")+"\tlink\n"), ""); err == nil || !strings.Contains(err.Error(), "link has 4096 bytes, at most 4095 are allowed") {
		t.Errorf("a longer link gives %v", err)
	}
	if got, err := r.export(r.treeOf(""), ""); err != nil || len(got) > 0 {
		t.Errorf("nothing gives %q (%v)", got, err)
	}
}

func TestAGitThatDoesNotAnswerIsNotWaitedFor(t *testing.T) {
	r := newRepo(t)
	r.write("golive.yaml", "app: shop\n")
	id := r.commit()
	opened := r.open("")
	fifo := filepath.Join(t.TempDir(), "fifo")
	r.must(syscall.Mkfifo(fifo, 0o600))
	folder := t.TempDir()
	r.must(os.WriteFile(filepath.Join(folder, "git"), []byte("#!/bin/sh\nexec /bin/cat '"+fifo+"'\n"), 0o755))
	t.Setenv("PATH", folder)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := source.Open(ctx, r.folder); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("opened, it gives %v", err)
	}
	if err := opened.Export(ctx, id, "", t.TempDir()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("exported, it gives %v", err)
	}
	if _, _, err := opened.Changes(ctx, nil, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("asked for changes, it gives %v", err)
	}
}

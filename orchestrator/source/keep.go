package source

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
)

// Keep commits files of the work tree, given by absolute paths, and nothing else: what stands in
// the index beside them stays there. It runs no hook, does not sign, and pushes nothing. The id
// of the new commit comes back; it is empty if the files are in the newest commit as they are, so
// that keeping twice is keeping once. A file that is ignored is refused.
func (r *Repository) Keep(ctx context.Context, message string, files ...string) (string, error) {
	specs := make([]string, 0, len(files))
	for _, file := range files {
		folder, err := filepath.EvalSymlinks(filepath.Dir(file))
		if err != nil {
			return "", fmt.Errorf("find %s: %w", file, err)
		}
		within, err := filepath.Rel(r.top, filepath.Join(folder, filepath.Base(file)))
		if err != nil || !filepath.IsLocal(within) {
			return "", fmt.Errorf("%s is not in the git repository %s", file, r.top)
		}
		specs = append(specs, ":(top,literal)"+filepath.ToSlash(within))
	}
	with := func(args ...string) []string { return append(append(args, "--"), specs...) }
	if _, err := r.output(ctx, with("add")...); err != nil {
		return "", fmt.Errorf("add to git: %w", err)
	}
	if changed, err := r.text(ctx, with("status", "--porcelain=v1", "--no-renames")...); err != nil || changed == "" {
		return "", err
	}
	if _, err := r.outputOf(ctx, strings.NewReader(message), with("commit", "--quiet", "--no-verify", "--only", "--file=-", "--cleanup=verbatim")...); err != nil {
		return "", fmt.Errorf("commit: %w", err)
	}
	return r.text(ctx, "rev-parse", "--verify", "HEAD")
}

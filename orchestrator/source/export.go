package source

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// Modes of the entries of a tree.
const (
	modeProgram = "100755"
	modeLink    = "120000"
	modeModule  = "160000"
)

// named is how many files an error names.
const named = 5

// maxLink is how many bytes the target of a symbolic link may have.
const maxLink = 4095

// maxPointer is how long the pointer of a large file can be, and what it begins with.
const (
	maxPointer    = 1024
	pointerBegins = "version https://git-lfs.github.com/spec/"
)

// entry is a file of a commit.
type entry struct {
	mode, id, name string // name is the path within the folder that is exported
}

// Export writes the files of a commit, given by its whole id, into the folder to, which has to be
// there and empty: those of folder (a path from the top, with slashes; empty: all), at the same
// path below to. The files are, byte for byte, what the commit has: nothing that is ignored or
// not committed, no filter, and no attribute (such as export-ignore, export-subst or eol) changes
// them. A program may be executed, a symbolic link stays one.
//
// There is no limit to their number and size but the disk, and that their names and ids have at most
// 64 MiB together. A commit is refused whose folder has submodules or pointers to large files (LFS), whose files
// it does not hold, or a symbolic link that leads out of the tree. After an error some files may
// have been written: the folder is the caller's to remove.
func (r *Repository) Export(ctx context.Context, commit, folder, to string) error {
	if !isID(commit) {
		return fmt.Errorf("%w: %q is no whole id", ErrNoCommit, commit)
	}
	entries, err := r.entries(ctx, commit, folder)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(to)
	if err != nil {
		return fmt.Errorf("write the files of commit %s: %w", commit[:12], err)
	}
	defer root.Close()
	if err := root.MkdirAll(filepath.FromSlash(path.Join(".", folder)), 0o755); err != nil {
		return fmt.Errorf("write the files of commit %s: %w", commit[:12], err)
	}
	w := &writer{root: root, folder: folder}
	if err := r.contents(ctx, entries, w.write); err != nil {
		return fmt.Errorf("write the files of commit %s: %w", commit[:12], err)
	}
	if len(w.pointers) > 0 {
		return fmt.Errorf("commit %s does not hold %s, but pointers to large files (LFS): the release needs files that are in the commit itself", commit[:12], some(w.pointers))
	}
	return w.checkLinks()
}

// entries are the files of a folder of a commit.
func (r *Repository) entries(ctx context.Context, commit, folder string) ([]entry, error) {
	tree := commit
	if folder != "" {
		tree += ":" + folder
	}
	out, err := r.output(ctx, "ls-tree", "-r", "-z", "--full-tree", tree)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("commit %s has no folder %q: %w", commit[:12], folder, err)
	}
	var all []entry
	var modules []string
	for line := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		info, name, found := strings.Cut(line, "\t")
		fields := strings.Fields(info)
		if !found || len(fields) != 3 {
			continue // an empty folder has no line
		}
		if fields[0] == modeModule {
			modules = append(modules, path.Join(folder, name))
			continue
		}
		all = append(all, entry{mode: fields[0], id: fields[2], name: name})
	}
	if len(modules) > 0 {
		return nil, fmt.Errorf("commit %s does not hold the files of its submodules (%s): the release needs files that are in the commit itself", commit[:12], some(modules))
	}
	return all, nil
}

// some are the first of names, and how many more there are.
func some(names []string) string {
	if more := len(names) - named; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:named], ", "), more)
	}
	return strings.Join(names, ", ")
}

// contents calls write with each file and its content, in their order.
func (r *Repository) contents(ctx context.Context, entries []entry, write func(entry, *io.LimitedReader) error) error {
	reading, cancel := context.WithCancel(ctx)
	defer cancel()
	var ids bytes.Buffer
	for _, e := range entries {
		ids.WriteString(e.id + "\n")
	}
	args := []string{"cat-file", "--batch"}
	cmd := r.command(reading, args...)
	why := &limited{most: maxError}
	cmd.Stdin, cmd.Stderr = &ids, why
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return fmt.Errorf("run git cat-file: %w", err)
	}
	answers := bufio.NewReaderSize(out, 64<<10)
	for _, e := range entries {
		if err = content(answers, e, write); err != nil {
			break
		}
	}
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		cancel() // the rest does not matter
		_ = cmd.Wait()
		return err
	}
	return cmp.Or(refusal(ctx, args, cmd.Wait(), why.String()), err) // git knows best why it has ended
}

// content reads one answer of git cat-file: a line with the size, the content, a line end.
func content(from *bufio.Reader, e entry, write func(entry, *io.LimitedReader) error) error {
	line, err := from.ReadString('\n')
	if err != nil {
		return fmt.Errorf("read %s: %w", e.name, err)
	}
	fields := strings.Fields(line)
	if len(fields) != 3 || fields[0] != e.id || fields[1] != "blob" {
		return fmt.Errorf("the content of %s is not in the repository, which may be a partial clone: git fetch --refetch brings it", e.name)
	}
	size, err := strconv.ParseInt(fields[2], 10, 64)
	if err != nil {
		return fmt.Errorf("read %s: %w", e.name, err)
	}
	body := &io.LimitedReader{R: from, N: size}
	if err := write(e, body); err != nil {
		return err
	}
	if body.N > 0 {
		return fmt.Errorf("read %s: %w", e.name, io.ErrUnexpectedEOF)
	}
	_, err = from.Discard(1)
	return err
}

// writer writes the files of a commit below a folder, and nowhere else.
type writer struct {
	root     *os.Root
	folder   string
	pointers []string // to files that the commit does not hold
	links    []string
}

// write writes one file.
func (w *writer) write(e entry, body *io.LimitedReader) error {
	name := filepath.FromSlash(path.Join(w.folder, e.name))
	if !filepath.IsLocal(name) || isGits(e.name) {
		return fmt.Errorf("the commit has a file %q, whose name leads elsewhere", e.name)
	}
	if err := w.root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if e.mode == modeLink {
		return w.link(name, body)
	}
	var head []byte
	if body.N <= maxPointer {
		var err error
		if head, err = io.ReadAll(body); err != nil {
			return err
		}
		if bytes.HasPrefix(head, []byte(pointerBegins)) {
			w.pointers = append(w.pointers, filepath.ToSlash(name))
		}
	}
	perm := fs.FileMode(0o644)
	if e.mode == modeProgram {
		perm = 0o755
	}
	f, err := w.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, io.MultiReader(bytes.NewReader(head), body))
	return errors.Join(err, f.Close())
}

// isGits reports whether a path has a part that git keeps to itself.
func isGits(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if strings.EqualFold(part, ".git") {
			return true
		}
	}
	return false
}

// link makes a symbolic link. Where it leads is looked at when all files are there.
func (w *writer) link(name string, body *io.LimitedReader) error {
	if body.N > maxLink {
		return fmt.Errorf("the symbolic link %s has %d bytes, at most %d are allowed", filepath.ToSlash(name), body.N, maxLink)
	}
	target, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	w.links = append(w.links, name)
	return w.root.Symlink(string(target), name)
}

// checkLinks refuses links that lead out of the tree: what they lead to is not in the commit.
func (w *writer) checkLinks() error {
	for _, name := range w.links {
		if _, err := w.root.Stat(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("the commit has a symbolic link %s that leads out of it: the release needs files that are in the commit itself", filepath.ToSlash(name))
		}
	}
	return nil
}

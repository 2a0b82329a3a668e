package state

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Check reads the archive in dir to its end.
func (f Files) Check(ctx context.Context, dir string) error {
	return f.read(ctx, dir, func(*tar.Header, io.Reader) error { return nil })
}

// Put makes the folder what the archive in dir holds. Where there is none, its parent has to
// be there. With an error the folder is as before, but for a file system that cannot let two
// folders change places: if this process is killed between two renames there, the folder is
// missing until the next Take or Put.
func (f Files) Put(ctx context.Context, dir string) error {
	to, err := f.folder()
	if err != nil {
		return err
	}
	release, err := lock(filepath.Dir(to))
	if err != nil {
		return err
	}
	defer release()
	if err := checkPlace(to); err != nil {
		return err
	}
	fresh, old := beside(to)
	if err := errors.Join(removeTree(fresh), removeTree(old)); err != nil { // of a put that was killed
		return err
	}
	err = f.unpack(ctx, dir, fresh)
	if err == nil {
		err = syncTree(fresh)
	}
	if err == nil {
		err = replace(to, fresh, old)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("folder %s is as it was: %w", to, err), removeTree(fresh))
	}
	if err := errors.Join(removeTree(fresh), removeTree(old)); err != nil {
		return fmt.Errorf("folder %s is put back, but the one of before is still there: %w", to, err)
	}
	return nil
}

// checkPlace returns an error if the folder cannot be replaced as a whole.
func checkPlace(to string) error {
	info, err := os.Lstat(to)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is a %s, not a folder", to, kindOf(info.Mode()))
	}
	parent, err := os.Stat(filepath.Dir(to))
	if err != nil {
		return err
	}
	if info.Sys().(*syscall.Stat_t).Dev != parent.Sys().(*syscall.Stat_t).Dev {
		return fmt.Errorf("%s is a mount point, which cannot be replaced as a whole: keep the state in a folder below it", to)
	}
	return nil
}

// replace makes the folder fresh the folder to. What was to before is in fresh or old then.
func replace(to, fresh, old string) error {
	parent := filepath.Dir(to)
	if !exists(to) {
		return errors.Join(os.Rename(fresh, to), syncFolder(parent))
	}
	err := exchange(fresh, to)
	if errors.Is(err, errors.ErrUnsupported) {
		err = exchangeByRenames(to, fresh, old)
	}
	return errors.Join(err, syncFolder(parent))
}

// exchangeByRenames makes the folder fresh the folder to, and that one old.
func exchangeByRenames(to, fresh, old string) error {
	if err := os.Rename(to, old); err != nil {
		return err
	}
	if err := os.Rename(fresh, to); err != nil {
		return errors.Join(err, os.Rename(old, to))
	}
	return nil
}

// unpack makes the folder to, which is not there, of the archive in dir. Nothing is written
// outside of it, whatever the archive says.
func (f Files) unpack(ctx context.Context, dir, to string) error {
	if err := os.Mkdir(to, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(to)
	if err != nil {
		return err
	}
	defer root.Close()
	var folders, links []*tar.Header
	err = f.read(ctx, dir, func(h *tar.Header, r io.Reader) error {
		switch h.Typeflag {
		case tar.TypeDir:
			folders = append(folders, h)
			if h.Name == "." {
				return nil
			}
			return root.Mkdir(h.Name, 0o700)
		case tar.TypeSymlink:
			links = append(links, h)
			return root.Symlink(h.Linkname, h.Name)
		}
		if err := writeFile(root, h.Name, r); err != nil {
			return err
		}
		return restoreAttributes(root, h)
	})
	if err != nil {
		return err
	}
	for _, h := range links {
		if err := errors.Join(checkLink(root, h.Name, h.Linkname), restoreOwner(root, h)); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
	}
	for _, h := range slices.Backward(folders) { // a folder's time changes with what is in it
		if err := restoreAttributes(root, h); err != nil {
			return err
		}
	}
	return nil
}

func writeFile(root *os.Root, name string, r io.Reader) error {
	out, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, r)
	return errors.Join(err, out.Close())
}

// restoreAttributes gives a file or folder its owner, mode and time.
func restoreAttributes(root *os.Root, h *tar.Header) error {
	if err := restoreOwner(root, h); err != nil { // it may take bits of the mode away
		return err
	}
	if err := root.Chmod(h.Name, h.FileInfo().Mode()); err != nil {
		return err
	}
	return root.Chtimes(h.Name, h.ModTime, h.ModTime)
}

// restoreOwner gives a file its owner, which root alone can do.
func restoreOwner(root *os.Root, h *tar.Header) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return root.Lchown(h.Name, h.Uid, h.Gid)
}

// read gives each entry of the archive in dir, with a clean name, when all that can be said
// of it is right: it lies in a folder that came before, comes once, and is no more than a
// file, a folder or a link that does not lead out.
func (f Files) read(ctx context.Context, dir string, each func(*tar.Header, io.Reader) error) error {
	path := filepath.Join(dir, archiveName)
	in, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("the files of a folder: %w", err)
	}
	defer in.Close()
	t := tar.NewReader(bufio.NewReaderSize(reader{ctx, in}, 1<<20))
	seen := make(map[string]byte)
	for {
		h, err := t.Next()
		if err == io.EOF && len(seen) == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if err := checkHeader(h, seen); err != nil {
			return fmt.Errorf("%s: entry %q: %w", path, h.Name, err)
		}
		if err := each(h, t); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
		if _, err := io.Copy(io.Discard, t); err != nil {
			return fmt.Errorf("%s: %s: %w", path, h.Name, err)
		}
	}
}

// checkHeader cleans the name of an entry, and returns an error if it is not right.
func checkHeader(h *tar.Header, seen map[string]byte) error {
	name := strings.TrimSuffix(h.Name, "/")
	parent := filepath.Dir(name)
	switch {
	case len(seen) == 0 && (name != "." || h.Typeflag != tar.TypeDir):
		return errors.New("the first entry has to be the folder itself")
	case !filepath.IsLocal(name) || filepath.Clean(name) != name:
		return errors.New("its name leads out of the folder, or is written in a roundabout way")
	case seen[name] != 0:
		return errors.New("it comes twice")
	case name != "." && seen[parent] != tar.TypeDir:
		return errors.New("it lies in no folder that came before")
	case h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeDir && h.Typeflag != tar.TypeSymlink:
		return errors.New("it is no file, folder or link")
	}
	if h.Typeflag == tar.TypeSymlink {
		if err := checkTarget(name, h.Linkname); err != nil {
			return err
		}
	}
	h.Name = name
	seen[name] = h.Typeflag
	return nil
}

package state

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Files is the state in a folder: regular files with their modes and times, folders, and
// links, which stay links. As root it keeps owners, too. Files with several names become
// several files; extended attributes are not kept.
//
// Nothing is followed out of the folder: a link that leads out of it, or that is absolute,
// is refused, since what it leads to would not be in the snapshot. Sockets are left out,
// pipes and devices refused.
//
// Take fails when something has changed meanwhile: what writes has to be paused. Put makes
// the new folder next to the old one and has both change places in one step, where the
// file system can do that; else the next Put ends what was begun. So Dir must not be a mount
// point itself. A program that has files of the old folder open goes on with those: it has to
// open them anew.
type Files struct {
	Dir string // required; or a link to the folder
}

const archiveName = "files.tar"

// Take writes the folder to an archive in dir. That must not lie in the folder.
func (f Files) Take(ctx context.Context, dir string) error {
	from, err := f.folder()
	if err != nil {
		return err
	}
	if inside, err := contains(from, dir); err != nil || inside {
		return errors.Join(err, errorIf(inside, "folder %s lies in %s, which is to be taken: give one elsewhere", dir, from))
	}
	out, err := os.OpenFile(filepath.Join(dir, archiveName), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = archive(ctx, from, out)
	return errors.Join(err, out.Close())
}

// folder is Dir with its links followed, in which a put that was killed is undone if it has
// moved the old folder away.
func (f Files) folder() (string, error) {
	if f.Dir == "" {
		return "", errors.New("files: Dir is empty: name the folder of the state")
	}
	dir, err := resolve(f.Dir)
	if err != nil {
		return "", fmt.Errorf("folder %s: %w", f.Dir, err)
	}
	if _, old := beside(dir); !exists(dir) && exists(old) {
		err = os.Rename(old, dir)
	}
	return dir, err
}

// beside are the names next to a folder in which a put makes the new one and, where two
// folders cannot change places, keeps the old one for a moment.
func beside(dir string) (fresh, old string) {
	name := filepath.Join(filepath.Dir(dir), "."+filepath.Base(dir)+".golive-")
	return name + "new", name + "old"
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// contains reports whether a path lies in a folder.
func contains(folder, path string) (bool, error) {
	real, err := filepath.EvalSymlinks(path)
	if err == nil {
		real, err = filepath.Abs(real)
	}
	if err != nil {
		return false, err
	}
	rel, err := filepath.Rel(folder, real)
	return err == nil && filepath.IsLocal(rel), nil
}

func errorIf(is bool, format string, a ...any) error {
	if is {
		return fmt.Errorf(format, a...)
	}
	return nil
}

// archive writes all that is in a folder to out.
func archive(ctx context.Context, from string, out io.Writer) error {
	root, err := os.OpenRoot(from)
	if err != nil {
		return err
	}
	defer root.Close()
	buffered := bufio.NewWriterSize(out, 1<<20)
	t := tar.NewWriter(buffered)
	before, err := eachEntry(ctx, from, func(name string, info fs.FileInfo) error {
		if err := add(ctx, t, root, name, info); err != nil {
			return fmt.Errorf("%s: %w", filepath.Join(from, name), err)
		}
		return nil
	})
	if err == nil {
		err = t.Close()
	}
	if err == nil {
		err = buffered.Flush()
	}
	if err != nil {
		return err
	}
	after, err := eachEntry(ctx, from, func(string, fs.FileInfo) error { return nil })
	if err == nil && before != after {
		err = fmt.Errorf("folder %s has changed while it was copied: pause what writes to it", from)
	}
	return err
}

// eachEntry goes through a folder in the order of the names, itself first, without the
// sockets. The fingerprint is the same as long as nothing is written, added or removed.
func eachEntry(ctx context.Context, from string, do func(name string, info fs.FileInfo) error) (fingerprint [sha256.Size]byte, err error) {
	h := sha256.New()
	err = filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err == nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil || info.Mode()&fs.ModeSocket != 0 {
			return err
		}
		fmt.Fprintf(h, "%q %v %d %d\n", name, info.Mode(), info.Size(), info.ModTime().UnixNano())
		return do(name, info)
	})
	return [sha256.Size]byte(h.Sum(nil)), err
}

// add writes one file, folder or link.
func add(ctx context.Context, t *tar.Writer, root *os.Root, name string, info fs.FileInfo) error {
	link := ""
	switch mode := info.Mode(); {
	case mode&fs.ModeSymlink != 0:
		var err error
		if link, err = root.Readlink(name); err != nil {
			return err
		}
		if err := checkLink(root, name, link); err != nil {
			return err
		}
	case !mode.IsRegular() && !mode.IsDir():
		return fmt.Errorf("it is a %s, which cannot be kept: remove it, or put it elsewhere", kindOf(mode))
	}
	h, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return err
	}
	h.Name, h.Format = filepath.ToSlash(name), tar.FormatPAX
	h.Uname, h.Gname, h.AccessTime, h.ChangeTime = "", "", time.Time{}, time.Time{} // the same state is the same archive
	if info.IsDir() {
		h.Name += "/"
	}
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return nil
	}
	return copyFile(ctx, t, root, name, info)
}

// copyFile writes what a file holds, and returns an error if that has changed meanwhile.
func copyFile(ctx context.Context, out io.Writer, root *os.Root, name string, info fs.FileInfo) error {
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0) // a pipe that has come would block
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := io.Copy(out, io.LimitReader(reader{ctx, f}, info.Size()))
	if err != nil {
		return err
	}
	now, err := f.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(info, now) || n != info.Size() || now.Size() != info.Size() || !now.ModTime().Equal(info.ModTime()) {
		return errors.New("it has changed while it was copied: pause what writes to it")
	}
	return nil
}

// checkLink returns an error if a link leads out of its folder: by its words, or by way of
// other links.
func checkLink(root *os.Root, name, target string) error {
	if err := checkTarget(name, target); err != nil {
		return err
	}
	_, err := root.Stat(name)
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR):
		return nil
	case strings.Contains(err.Error(), "escapes"):
		return leadsOut(target)
	}
	return err
}

// checkTarget returns an error if the words of a link lead out of the folder.
func checkTarget(name, target string) error {
	if filepath.IsAbs(target) || !filepath.IsLocal(filepath.Join(filepath.Dir(name), target)) {
		return leadsOut(target)
	}
	return nil
}

func leadsOut(target string) error {
	return fmt.Errorf("it is a link out of the folder, to %s: what that holds would be missing; move it into the folder, or remove the link", target)
}

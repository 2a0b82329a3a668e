package transfer

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"unicode/utf8"
)

// MaxFiles is how many files a folder may hold that is packed: 100,000 and what seals them.
const MaxFiles = 100_001

// Pack writes the files of a folder to w as a tar archive, in the order of their paths: their names
// and contents, and nothing else of them. It writes nothing for a folder without files. Links,
// pipes and devices are refused, and so are names that are no UTF-8, and more than [MaxFiles]. Nobody
// may write to the folder meanwhile. It blocks until all is written, or ctx has ended.
func Pack(ctx context.Context, dir string, w io.Writer) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	archive, files := tar.NewWriter(w), 0
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return context.Cause(ctx)
		case !d.Type().IsRegular():
			return fmt.Errorf("%q is no regular file: only those are kept", name)
		case !utf8.ValidString(name):
			return fmt.Errorf("the name of %q is not UTF-8: give it another one", name)
		}
		if files++; files > MaxFiles {
			return fmt.Errorf("it holds more than %d files: pack them into fewer", MaxFiles)
		}
		return packFile(ctx, root, name, archive)
	})
	if err != nil || files == 0 {
		return err
	}
	return archive.Close()
}

func packFile(ctx context.Context, root *os.Root, name string, archive *tar.Writer) error {
	f, err := root.Open(filepath.FromSlash(name))
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: info.Size(), Mode: 0o600, Format: tar.FormatPAX}); err != nil {
		return err
	}
	if _, err := io.Copy(archive, stoppedReader{ctx, f}); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// Unpack writes the files of an archive of [Pack] into a folder, which has to be empty, and reads r
// to its end. What stays within the folder and is a regular file is written, all else refused. After
// an error the folder holds what had come until then.
func Unpack(ctx context.Context, r io.Reader, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	r = stoppedReader{ctx, r}
	archive := tar.NewReader(r)
	for files := 0; ; files++ {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		switch {
		case err != nil:
			return err
		case h.Typeflag != tar.TypeReg || !filepath.IsLocal(h.Name) || path.Clean(h.Name) != h.Name:
			return fmt.Errorf("it holds %q, which is no file of a folder", h.Name)
		case files == MaxFiles:
			return fmt.Errorf("it holds more than %d files", MaxFiles)
		}
		if err := unpackFile(root, filepath.FromSlash(h.Name), archive); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
	}
	_, err = io.Copy(io.Discard, r) // behind the end of the archive its digest is compared
	return err
}

func unpackFile(root *os.Root, name string, from io.Reader) error {
	if err := root.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	return errors.Join(err, f.Close())
}

// stoppedReader gives nothing any more when its context has ended.
type stoppedReader struct {
	ctx context.Context
	r   io.Reader
}

func (s stoppedReader) Read(p []byte) (int, error) {
	if err := context.Cause(s.ctx); err != nil {
		return 0, err
	}
	return s.r.Read(p)
}

package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Folder keeps snapshots in a folder of this machine, which it makes where it is missing. Only
// its owner may read them. All orchestrators of an environment have to see the same folder.
type Folder string

// partial is how the names of files end that are being written.
const partial = ".partial"

// String says where it is.
func (f Folder) String() string { return "folder " + string(f) }

func (f Folder) path(name string) string { return filepath.Join(string(f), filepath.FromSlash(name)) }

// Write is of [Store]. What is there when it returns survives a power cut.
func (f Folder) Write(ctx context.Context, name string, write func(io.Writer) error) (err error) {
	path := f.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(path+partial, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = write(stopped{ctx, file})
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(path+partial, path)
	}
	if err != nil {
		return errors.Join(err, gone(os.Remove(path+partial)))
	}
	return syncFolder(filepath.Dir(path))
}

// syncFolder makes durable which files are in a folder.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// gone is an error of removing something, unless it is not there.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Open is of [Store].
func (f Folder) Open(_ context.Context, name string) (io.ReadCloser, error) {
	file, err := os.Open(f.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, name)
	}
	return file, err
}

// Names is of [Store].
func (f Folder) Names(context.Context) ([]string, error) {
	var names []string
	err := f.walk(func(path, name string) error {
		if !strings.HasSuffix(name, partial) {
			names = append(names, name)
		}
		return nil
	})
	return names, err
}

func (f Folder) walk(each func(path, name string) error) error {
	err := filepath.WalkDir(string(f), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return gone(err)
		}
		name, err := filepath.Rel(string(f), path)
		if err != nil {
			return err
		}
		return each(path, filepath.ToSlash(name))
	})
	return gone(err)
}

// Remove is of [Store]. Folders that are empty then go, too.
func (f Folder) Remove(_ context.Context, name string) error {
	if err := gone(os.Remove(f.path(name))); err != nil {
		return err
	}
	for dir := filepath.Dir(f.path(name)); len(dir) > len(filepath.Clean(string(f))); dir = filepath.Dir(dir) {
		if os.Remove(dir) != nil {
			break // something is in it
		}
	}
	return nil
}

// Sweep is of [Store].
func (f Folder) Sweep(context.Context) error {
	return f.walk(func(path, name string) error {
		if strings.HasSuffix(name, partial) {
			return gone(os.Remove(path))
		}
		return nil
	})
}

// stopped is a writer that takes nothing any more when its context has ended.
type stopped struct {
	ctx context.Context
	w   io.Writer
}

func (s stopped) Write(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.w.Write(p)
}

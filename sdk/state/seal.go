package state

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// SealFile is the name of the seal in a folder. No provider may write a file of that name.
const SealFile = "golive-state.json"

// MaxFiles is how many files a folder may hold beside its seal.
const MaxFiles = 100_000

const (
	sealFormat = 1
	maxSeal    = 64 << 20 // bytes; more is not read
	named      = 5        // differences that an error names
)

var (
	// ErrUnfinished is a folder without a seal: its take has failed, was killed, or has not
	// ended yet.
	ErrUnfinished = errors.New("there is no " + SealFile + " in it, so its take did not end well: take it again")

	// ErrAltered is a folder that is not as it was when it was sealed.
	ErrAltered = errors.New("it is not as it was taken")
)

// seal says what a folder holds.
type seal struct {
	Format   int          `json:"format"`
	Snapshot string       `json:"snapshot,omitempty"`
	Files    []sealedFile `json:"files"` // in the order of their paths
}

type sealedFile struct {
	Path   string `json:"path"` // in the folder, with slashes
	Size   int64  `json:"size"` // bytes
	SHA256 string `json:"sha256"`
}

// measure reads all files of dir but the seal, in the order of their paths.
func measure(ctx context.Context, dir string) (files []sealedFile, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil || name == SealFile {
			return err
		}
		switch {
		case !d.Type().IsRegular():
			return fmt.Errorf("%w: %s is a %s, only regular files are kept", ErrAltered, path, kindOf(d.Type()))
		case !utf8.ValidString(name):
			return fmt.Errorf("the name of %q is not UTF-8: give it another one", path)
		case len(files) == MaxFiles:
			return tooMany(dir)
		}
		f := sealedFile{Path: filepath.ToSlash(name)}
		f.Size, f.SHA256, err = digest(ctx, root, name)
		files = append(files, f)
		return err
	})
	slices.SortFunc(files, func(a, b sealedFile) int { return strings.Compare(a.Path, b.Path) })
	return files, err
}

func tooMany(dir string) error {
	return fmt.Errorf("folder %s holds more than %d files: pack them into fewer", dir, MaxFiles)
}

// digest reads a file.
func digest(ctx context.Context, root *os.Root, name string) (size int64, sum string, err error) {
	f, err := root.Open(name)
	if err != nil {
		return 0, "", err
	}
	defer f.Close()
	h := sha256.New()
	size, err = io.Copy(h, reader{ctx, f})
	return size, hex.EncodeToString(h.Sum(nil)), err
}

// reader reads until its context ends.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(p)
}

// writeSeal writes the seal: whole, or not at all.
func writeSeal(dir string, s seal) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	final := filepath.Join(dir, SealFile)
	if err := writeSynced(final+".part", append(data, '\n')); err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	if err := os.Rename(final+".part", final); err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	return nil
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// readSeal reads the seal of dir.
func readSeal(dir string) (s seal, err error) {
	path := filepath.Join(dir, SealFile)
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(dir); err != nil {
			return s, fmt.Errorf("the folder to read: %w", err)
		}
		return s, fmt.Errorf("folder %s: %w", dir, ErrUnfinished)
	case err != nil:
		return s, err
	case !info.Mode().IsRegular():
		return s, fmt.Errorf("%s: %w: it is a %s", path, ErrAltered, kindOf(info.Mode().Type()))
	case info.Size() > maxSeal:
		return s, fmt.Errorf("%s: %w: it has %d bytes, more than %d", path, ErrAltered, info.Size(), maxSeal)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("%s: %w: %w", path, ErrAltered, err)
	}
	if s.Format != sealFormat {
		return s, fmt.Errorf("%s has the format %d, this program reads %d: use the version that has taken it", path, s.Format, sealFormat)
	}
	return s, nil
}

// compare says how files differ from the sealed ones.
func (s seal) compare(files []sealedFile) error {
	is := make(map[string]sealedFile, len(files))
	for _, f := range files {
		is[f.Path] = f
	}
	var found []string
	for _, want := range s.Files {
		got, there := is[want.Path]
		delete(is, want.Path)
		switch {
		case !there:
			found = append(found, fmt.Sprintf("%s is missing", want.Path))
		case got.Size != want.Size:
			found = append(found, fmt.Sprintf("%s has %d bytes, it had %d", want.Path, got.Size, want.Size))
		case got.SHA256 != want.SHA256:
			found = append(found, fmt.Sprintf("%s holds something else", want.Path))
		}
	}
	for _, f := range files {
		if _, added := is[f.Path]; added {
			found = append(found, fmt.Sprintf("%s was added", f.Path))
		}
	}
	switch n := len(found); {
	case n == 0 && len(s.Files) == 0:
		return fmt.Errorf("%w: its seal names no file", ErrAltered)
	case n == 0:
		return nil
	case n > named:
		found = append(found[:named], fmt.Sprintf("and %d more", n-named))
	}
	return fmt.Errorf("%w: %s", ErrAltered, strings.Join(found, "; "))
}

// total is the size of all files, in bytes.
func (s seal) total() (n int64) {
	for _, f := range s.Files {
		n += f.Size
	}
	return n
}

// kindOf names what a file is.
func kindOf(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "folder"
	case m&fs.ModeSymlink != 0:
		return "link"
	case m&fs.ModeSocket != 0:
		return "socket"
	case m&fs.ModeNamedPipe != 0:
		return "pipe"
	case m&fs.ModeDevice != 0:
		return "device"
	}
	return "file of an unknown kind"
}

package release

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Load reads the manifest at path: a folder that holds a golive.yaml, or the file
// itself. Mistakes in it come back as [Errors]; a manifest that is not there as an
// error that is [fs.ErrNotExist].
func Load(path string) (*Manifest, error) {
	file, err := locate(path)
	if err != nil {
		return nil, err
	}
	data, err := readFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the manifest %s: %w", file, err)
	}
	return Parse(file, data)
}

// Parse reads a manifest from data. The path is where it was found: problems name
// it, and the manifest's folder is its folder. Mistakes come back as [Errors].
func Parse(path string, data []byte) (*Manifest, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("find the folder of the manifest %s: %w", path, err)
	}
	r := &reader{file: path}
	m := &Manifest{Strategy: Parallel, RetryAfter: DefaultRetryAfter, Data: DefaultData, Path: absolute, Dir: filepath.Dir(absolute)}
	if root, ok := r.document(data); ok {
		r.manifest(root, m)
	}
	if len(r.problems) > 0 {
		r.problems.sort()
		return nil, r.problems
	}
	return m, nil
}

// locate finds the file that path means.
func locate(path string) (string, error) {
	path = filepath.Clean(path)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", missing{fmt.Sprintf("there is no file or folder %s: give the folder that holds a %s", path, FileName)}
	}
	if err != nil {
		return "", fmt.Errorf("look for a manifest: %w", err)
	}
	if !info.IsDir() {
		return path, nil
	}
	file := filepath.Join(path, FileName)
	info, err = os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", missing{noManifest(path)}
	case err != nil:
		return "", fmt.Errorf("look for a manifest: %w", err)
	case info.IsDir():
		return "", fmt.Errorf("%s is a folder: the manifest is a file of that name", file)
	}
	return file, nil
}

// noManifest says what to do about a folder without a manifest.
func noManifest(folder string) string {
	const other = "golive.yml"
	if _, err := os.Stat(filepath.Join(folder, other)); err == nil {
		return fmt.Sprintf("there is no %s in the folder %s, but a %s: rename it to %s", FileName, folder, other, FileName)
	}
	return fmt.Sprintf("there is no %s in the folder %s: write one there, or give the folder that holds it", FileName, folder)
}

// readFile reads one byte more than allowed at most: enough to refuse the file.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, MaxSize+1))
}

// missing is the error for a manifest that is not there.
type missing struct{ message string }

func (m missing) Error() string { return m.message }

func (m missing) Is(target error) bool { return target == fs.ErrNotExist }

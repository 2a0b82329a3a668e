package release

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Load reads the manifest at path: a folder that holds a golive.yaml, or the file
// itself. Mistakes in it come back as [Errors]; a manifest that is not there as an
// error that is [fs.ErrNotExist]. Nothing of an environment is in force, but mistakes
// in what any of them says are reported, too.
func Load(path string) (*Manifest, error) { return LoadFor(path, "") }

// LoadFor is [Load] for an environment that the manifest knows: by its key environments,
// or by a file like golive.staging.yaml in the manifest's folder. Without a name it is Load.
func LoadFor(path, environment string) (*Manifest, error) {
	return load(path, func(file string) string { return file }, environment)
}

// LoadCopy is [LoadFor] of a copy, at path, of a manifest and of what is beside it. The
// manifest is as if it stood in folder: problems name that, commands run there, and what is
// relative to a manifest is relative to it.
func LoadCopy(path, folder, environment string) (*Manifest, error) {
	return load(path, func(file string) string { return filepath.Join(folder, filepath.Base(file)) }, environment)
}

// load reads a manifest and the files of environments beside it, which are where at says.
func load(path string, at func(string) string, environment string) (*Manifest, error) {
	file, err := locate(path)
	if err != nil {
		return nil, err
	}
	data, err := readFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the manifest %s: %w", file, err)
	}
	beside, err := readBeside(file)
	if err != nil {
		return nil, err
	}
	for i, b := range beside {
		beside[i].path = at(b.path)
	}
	return parse(at(file), data, beside, environment)
}

// Parse reads a manifest from data. The path is where it was found: problems name
// it, and the manifest's folder is its folder. Mistakes come back as [Errors]. It reads
// no file, so that it knows the environments of the manifest itself alone.
func Parse(path string, data []byte) (*Manifest, error) { return parse(path, data, nil, "") }

// ParseFor is [Parse] for an environment that the manifest itself knows.
func ParseFor(path string, data []byte, environment string) (*Manifest, error) {
	return parse(path, data, nil, environment)
}

// parse reads a manifest and the files of environments beside it.
func parse(path string, data []byte, beside []file, environment string) (*Manifest, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("find the folder of the manifest %s: %w", path, err)
	}
	r := &reader{sources: newSources(path)}
	var m *Manifest
	if root, ok := r.document(data); ok {
		m = r.effective(root, beside, environment)
	}
	if len(r.problems) > 0 {
		return nil, inOrder(r.problems, path)
	}
	m.Path, m.Dir = absolute, filepath.Dir(absolute)
	return m, nil
}

// effective reads the manifest as it is in an environment, and as it is in all others.
func (r *reader) effective(root value, beside []file, environment string) *Manifest {
	m := r.manifest(root)
	r.blocksOf(beside)
	in := r.environments(root)
	if environment != "" {
		known, ok := in[environment]
		if !ok && in != nil {
			r.unknownEnvironment(environment)
		}
		if !ok {
			return nil
		}
		m, root = known.manifest, known.root
	}
	m.Environments = slices.Sorted(maps.Keys(in))
	m.buses = map[string]Environment{}
	for name, known := range in {
		m.buses[name] = known.manifest.Environment
	}
	if len(r.problems) == 0 {
		m.settings = settings(r.sources, root)
	}
	return m
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
		return path, checkFile(path, info)
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
	return file, checkFile(file, info)
}

// checkFile refuses what is no file with a content of its own: a pipe or a device may keep
// whoever reads it waiting for ever.
func checkFile(path string, info fs.FileInfo) error {
	if info.Mode().IsRegular() {
		return nil
	}
	what := "something else"
	switch mode := info.Mode(); {
	case mode&fs.ModeNamedPipe != 0:
		what = "a pipe"
	case mode&fs.ModeDevice != 0:
		what = "a device"
	case mode&fs.ModeSocket != 0:
		what = "a socket"
	}
	return fmt.Errorf("%s is %s: the manifest is a plain file", path, what)
}

// noManifest says what to do about a folder without a manifest.
func noManifest(folder string) string {
	const other = "golive.yml"
	if _, err := os.Stat(filepath.Join(folder, other)); err == nil {
		return fmt.Sprintf("there is no %s in the folder %s, but a %s: rename it to %s", FileName, folder, other, FileName)
	}
	return fmt.Sprintf("there is no %s in the folder %s: write one there, or give the folder that holds it", FileName, folder)
}

// file is the file of an environment beside the manifest.
type file struct {
	path        string
	environment string
	data        []byte
}

// readBeside reads the files of environments in the folder of the manifest: one more than
// allowed at most, which is enough to refuse it.
func readBeside(manifest string) ([]file, error) {
	folder := filepath.Dir(manifest)
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, fmt.Errorf("look for files of environments: %w", err)
	}
	var files []file
	for _, e := range entries {
		environment, ok := environmentOf(e.Name())
		path := filepath.Join(folder, e.Name())
		if !ok || !isFile(path) || e.Name() == filepath.Base(manifest) || len(files) > MaxEnvironments {
			continue
		}
		data, err := readFile(path)
		if err != nil {
			return nil, fmt.Errorf("read the environment %s: %w", path, err)
		}
		files = append(files, file{path, environment, data})
	}
	return files, nil
}

// isFile reports whether there is a file, no folder or pipe.
func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// environmentOf is the environment whose file is called so.
func environmentOf(name string) (string, bool) {
	ext := filepath.Ext(FileName)
	rest, prefixed := strings.CutPrefix(name, strings.TrimSuffix(FileName, ext)+".")
	environment, suffixed := strings.CutSuffix(rest, ext)
	return environment, prefixed && suffixed && environment != ""
}

// readFile reads one byte more than allowed at most: enough to refuse the file.
func readFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // it may have become a pipe
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil {
		err = checkFile(path, info)
	}
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(f, MaxSize+1))
}

// missing is the error for a manifest that is not there.
type missing struct{ message string }

func (m missing) Error() string { return m.message }

func (m missing) Is(target error) bool { return target == fs.ErrNotExist }

package transfer_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/golive-dev/golive/relay/transfer"
)

// fill writes files, and gives what content gives of them.
func fill(t *testing.T, dir string, files map[string]string) string {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return content(t, dir)
}

// content tells the names and sizes of all files of a folder.
func content(t *testing.T, dir string) string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			all = append(all, fmt.Sprintf("%s %d", strings.TrimPrefix(path, dir), info.Size()))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, ", ")
}

func TestWhatIsNoFolderIsRefused(t *testing.T) {
	t.Parallel()
	linked := t.TempDir()
	if err := os.Symlink("/etc/passwd", filepath.Join(linked, "link")); err != nil {
		t.Fatal(err)
	}
	if err := transfer.Pack(t.Context(), linked, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), `"link" is no regular file`) {
		t.Errorf("a link is packed: %v", err)
	}
	for name, h := range map[string]tar.Header{
		"above":    {Typeflag: tar.TypeReg, Name: "../above"},
		"absolute": {Typeflag: tar.TypeReg, Name: "/etc/golive"},
		"link":     {Typeflag: tar.TypeSymlink, Name: "link", Linkname: "/etc/passwd"},
		"device":   {Typeflag: tar.TypeChar, Name: "device"},
		"unclean":  {Typeflag: tar.TypeReg, Name: "a/./b"},
	} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if err := transfer.Unpack(t.Context(), &b, dir); err == nil || content(t, dir) != "" {
			t.Errorf("%s: %v, %s", name, err, content(t, dir))
		}
	}
}

// What is in use stays, and so does what is nobody's of ours.
func TestAScratchFolderOfADeadProcessIsRemoved(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	for _, dir := range []string{"golive-state-dead/files", "other"} {
		if err := os.MkdirAll(filepath.Join(parent, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	first, release, err := transfer.Scratch(parent)
	if err != nil {
		t.Fatal(err)
	}
	second, release2, err := transfer.Scratch(parent)
	if err != nil || first == second {
		t.Fatal(first, second, err)
	}
	fill(t, first, map[string]string{"a": "1"})
	if got, err := filepath.Glob(filepath.Join(parent, "*")); err != nil || len(got) != 3 {
		t.Errorf("there are %v, %v", got, err)
	}
	if err := errors.Join(release(), release2()); err != nil {
		t.Fatal(err)
	}
	if got, err := filepath.Glob(filepath.Join(parent, "*")); err != nil || len(got) != 1 {
		t.Errorf("there are %v, %v", got, err)
	}
}

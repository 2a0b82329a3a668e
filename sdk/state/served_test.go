package state_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/golive-dev/golive/sdk/state"
)

func TestAServiceTakesAndPutsWithAProvider(t *testing.T) {
	dir, scratch := filepath.Join(t.TempDir(), "data"), t.TempDir()
	write := func(text string) {
		t.Helper()
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "book"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("open")
	s := state.Served(state.Files{Dir: dir}, scratch)
	var taken bytes.Buffer
	if err := s.Take(t.Context(), "one", &taken); err != nil {
		t.Fatal(err)
	}
	write("closed")
	if err := s.Check(t.Context(), "one", bytes.NewReader(taken.Bytes())); err != nil {
		t.Fatal(err)
	}
	for name, archive := range map[string][]byte{"nothing": nil, "half": taken.Bytes()[:taken.Len()/2]} {
		if s.Check(t.Context(), "one", bytes.NewReader(archive)) == nil || s.Put(t.Context(), "one", bytes.NewReader(archive)) == nil {
			t.Errorf("%s is put", name)
		}
	}
	if err := s.Put(t.Context(), "two", bytes.NewReader(taken.Bytes())); err == nil {
		t.Error("it is put as another snapshot")
	}
	if text, _ := os.ReadFile(filepath.Join(dir, "book")); string(text) != "closed" {
		t.Errorf("a put that failed left %q", text)
	}
	if err := s.Put(t.Context(), "one", bytes.NewReader(taken.Bytes())); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(filepath.Join(dir, "book")); string(text) != "open" {
		t.Errorf("put %q", text)
	}
	if left, err := os.ReadDir(scratch); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

//go:build linux || darwin

package process

import (
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func TestEachLine(t *testing.T) {
	t.Parallel()
	full := strings.Repeat("x", MaxLine)
	for _, test := range []struct {
		name, text string
		want       []string
	}{
		{"nothing", "", nil},
		{"an empty line", "\n", []string{""}},
		{"one line", "a\n", []string{"a"}},
		{"a last line without newline", "a\nb", []string{"a", "b"}},
		{"a line as long as may be", full + "\nb\n", []string{full, "b"}},
		{"the same without newline", full, []string{full}},
		{"a longer line", full + "y\nb\n", []string{full, "y", "b"}},
		{"an empty line after a long one", full + full + "\n\nb\n", []string{full, full, "", "b"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, r := range []io.Reader{
				strings.NewReader(test.text),
				iotest.HalfReader(strings.NewReader(test.text)),
				io.MultiReader(strings.NewReader(test.text), iotest.ErrReader(errors.New("broken"))),
			} {
				var got []string
				eachLine(r, func(line string) { got = append(got, line) })
				if !slices.Equal(got, test.want) {
					t.Errorf("got %d lines, want %d", len(got), len(test.want))
				}
			}
		})
	}
}

func TestPipeIsReadToItsEndAfterTheDeadline(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close() // until then, it never ends by itself
	if _, err := w.WriteString("read late"); err != nil {
		t.Fatal(err)
	}
	if err := r.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(&pipe{file: r})
	if string(got) != "read late" || err != nil {
		t.Errorf("got %q, error %v", got, err)
	}
}

func TestPipeEndsAfterTheDeadlineThoughOthersWriteOn(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	writing := make(chan struct{})
	go func() {
		defer close(writing)
		for {
			if _, err := w.WriteString(strings.Repeat("on and on ", 1000)); err != nil {
				return // nobody reads any more
			}
		}
	}()
	if err := r.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, &pipe{file: r}); err != nil {
		t.Errorf("got error %v", err)
	}
	r.Close()
	<-writing
	w.Close()
}

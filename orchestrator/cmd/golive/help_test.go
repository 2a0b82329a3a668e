package main

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/golive-dev/golive/orchestrator/terminal"
)

func TestHelpFitsAndShowsHow(t *testing.T) {
	c := &command{Streams: terminal.Streams{Out: &bytes.Buffer{}, Err: &bytes.Buffer{}}}
	var look func(*cobra.Command)
	look = func(cmd *cobra.Command) {
		var out bytes.Buffer
		cmd.SetOut(&out)
		if err := cmd.Help(); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(out.String()) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 80 {
				t.Errorf("%s --help: a line of %d columns: %s", cmd.CommandPath(), n, line)
			}
		}
		if cmd.Example == "" {
			t.Errorf("%s --help shows no example", cmd.CommandPath())
		}
		for _, below := range cmd.Commands() {
			look(below)
		}
	}
	look(rootCommand(c))
}

package release_test

import (
	"cmp"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/golive-dev/golive/orchestrator/release"
)

// TestSettings compares the settings of the full manifest with testdata/settings.
func TestSettings(t *testing.T) {
	for _, environment := range []string{"", "staging", "dev"} {
		var b strings.Builder
		for _, s := range loadFor(t, environment).Settings() {
			fmt.Fprintf(&b, "%s: %s  # %s:%d %s\n", s.Key, s.Value, s.File, s.Line, s.Within)
		}
		file := "testdata/settings/" + cmp.Or(environment, "none") + ".txt"
		if *release.Update {
			if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil || string(want) != b.String() {
			t.Errorf("%s: %v, got\n%s", file, err, b.String())
		}
	}
}

func TestSettingsHoldNoPassword(t *testing.T) {
	m := parse(t, head+`seed: [psql, "postgres://ann:secret@db/x?a=b@c", "http://db:8080/x@y", "a https://:p@one https://q:r@two"]`)
	for _, s := range m.Settings() {
		if s.Key == "seed" && s.Value != `[psql, "postgres://ann:xxxxx@db/x?a=b@c", http://db:8080/x@y, "a https://:xxxxx@one https://q:xxxxx@two"]` {
			t.Errorf("got %s", s.Value)
		}
	}
}

func TestSettingsAreWrittenAsInYAML(t *testing.T) {
	for text, want := range map[string]string{
		"./x": "./x", "'1'": `"1"`, "'true'": `"true"`, "a b": "a b", "'a: b'": `"a: b"`, "'a #b'": `"a #b"`,
		`"a\nb"`: `"a\nb"`, "'[a'": `"[a"`, "'a, b'": `"a, b"`, "'~'": `"~"`, "1.0.0": "1.0.0", "-c": "-c", "'-1'": `"-1"`, "é": `"é"`, "'- a'": `"- a"`, "'a:'": `"a:"`,
		"'null'": `"null"`, "'1e3'": `"1e3"`, "'.inf'": `".inf"`, "'0x1f'": `"0x1f"`, "60%": "60%", "|\n  a": `"a\n"`, "'a '": `"a "`,
	} {
		m := parse(t, head+"data: "+text+"\n")
		for _, s := range m.Settings() {
			if s.Key == "data" && s.Value != want {
				t.Errorf("%s is shown as %s, want %s", text, s.Value, want)
			}
		}
	}
}

func TestSettingsCannotBeChanged(t *testing.T) {
	m := parse(t, head)
	m.Settings()[0].Value = "x"
	if m.Settings()[0].Value != "a" {
		t.Error("they can")
	}
}

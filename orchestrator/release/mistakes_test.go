package release

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the expected texts in testdata and the JSON Schema")

const (
	answerLine = "----\n" // between a manifest and its problems
	caseLine   = "====\n" // between two cases
	fileLine   = "++++ "  // before the name of a file beside the manifest
)

// TestMistakes reads transcripts: a comment, a manifest, ----, its problems; the
// next one behind ====. What stands behind a line "++++ golive.staging.yaml" is a file
// beside the manifest.
func TestMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/mistakes/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { playTranscript(t, file) })
	}
}

func playTranscript(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	cases := strings.Split(string(text), "\n"+caseLine)
	for i, c := range cases {
		comment, rest, hasComment := strings.Cut(strings.TrimSuffix(c, "\n")+"\n", "\n")
		manifest, want, hasAnswer := strings.Cut("\n"+rest, "\n"+answerLine)
		if !hasComment || !hasAnswer || !strings.HasPrefix(comment, "# ") {
			t.Fatalf("case %d of %s is not a comment, a manifest and its problems", i+1, file)
		}
		input := strings.TrimPrefix(manifest, "\n")
		got := transcript(input)
		if strings.TrimSuffix(want, "\n") != strings.TrimSuffix(got, "\n") && !*update {
			t.Errorf("%s\n%s\ngot:\n%s\nwant:\n%s", comment, input, got, want)
		}
		cases[i] = strings.TrimSuffix(comment+manifest+"\n"+answerLine+got, "\n")
	}
	if *update {
		if err := os.WriteFile(file, []byte(strings.Join(cases, "\n"+caseLine)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// transcript is what a person is told about a manifest.
func transcript(manifest string) string {
	main, rest, _ := strings.Cut("\n"+manifest, "\n"+fileLine)
	var beside []file
	for rest != "" {
		var name, text string
		name, rest, _ = strings.Cut(rest, "\n")
		text, rest, _ = strings.Cut("\n"+rest, "\n"+fileLine)
		environment, ok := environmentOf(name)
		if !ok {
			return fmt.Sprintf("%s is not the file of an environment\n", name)
		}
		beside = append(beside, file{name, environment, []byte(strings.TrimPrefix(text, "\n"))})
	}
	_, err := parse("golive.yaml", []byte(strings.TrimPrefix(main, "\n")), beside, "")
	var problems Errors
	if !errors.As(err, &problems) {
		return fmt.Sprintf("no problems: %v\n", err)
	}
	var b strings.Builder
	for _, p := range problems {
		fmt.Fprintln(&b, p.Error())
		if p.Hint != "" {
			fmt.Fprintln(&b, "    hint:", p.Hint)
		}
	}
	return b.String()
}

package terminal

import (
	"strings"
	"testing"
	"unicode"
)

// What others have written: sequences, line breaks, characters that are not shown, wide ones.
const foreign = "one\x1b[2J\x1b[31m red\ttab\r\n\u202etwo\x00 倉庫\xff\n"

func TestForeignTextIsMadeSafe(t *testing.T) {
	for _, c := range []struct{ what, got, want string }{
		{"a line", Bare("one\x1b[2J\x1b[31m red\ttab\u202e\x00 倉庫\xff\r\n"), "one red    tab 倉庫"},
		{"one line", OneLine("a\nb\n\n"), "a; b"},
		{"one line with sequences", OneLine("a\x1b[2J\n\x1b[31mb"), "a; b"},
		{"flat text", Flat(" a\n\t b\x1b[2J "), "a b"},
		{"a colored line", Colored("a\x1b[31mb\x1b[2J\x1b[1A\x1b[1;4mc\a"), "a\x1b[31mb\x1b[1;4mc\x1b[0m"},
		{"a line without colors", Colored("a\x1b[2Jb"), "ab"},
		{"text that fits", Fit("a\x1b[2J\nb", 20), "a; b"},
		{"text that does not fit", Fit("abcdef", 4), "abc…"},
		{"wide text that does not fit", Fit("倉庫倉庫", 5), "倉庫…"},
		{"Markdown", Markdown(" a\n# b\x1b[2J "), "`a # b`"},
		{"no Markdown", Markdown("\x1b[2J\n"), "-"},
		{"Markdown with bars", Markdown("a|b \\| c"), "`a¦b \\¦ c`"},
		{"Markdown with code", Markdown("a `b` ``c`"), "``` a `b` ``c` ```"},
		{"the longest Markdown", Markdown(strings.Repeat("ä", 400)), "`" + strings.Repeat("ä", 400) + "`"},
		{"longer Markdown", Markdown(strings.Repeat("ä", 401)), "`" + strings.Repeat("ä", 399) + "…`"},
		{"text without room", Fit("a", 0), "…"},
	} {
		if c.got != c.want {
			t.Errorf("%s is %q, want %q", c.what, c.got, c.want)
		}
	}
	for width := range 40 {
		got := Fit(foreign, width)
		if strings.ContainsFunc(got, unicode.IsControl) || Width(got) > max(1, width) {
			t.Errorf("in %d columns it is %q", width, got)
		}
	}
	if got := Bare(foreign); strings.ContainsFunc(got, unicode.IsControl) {
		t.Errorf("a bare line is %q", got)
	}
}

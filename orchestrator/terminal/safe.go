package terminal

import (
	"regexp"
	"strings"
	"unicode"
)

// What others have written, such as scripts, programs and releases, comes to a terminal only
// through these, each of which says what it leaves out. So there is one place to look at when
// a text shall do less harm.

// OneLine is [Bare] text on one line: errors of scripts may have several, which stand behind
// each other.
func OneLine(text string) string {
	return Bare(strings.ReplaceAll(strings.TrimRight(text, "\r\n"), "\n", "; "))
}

// Flat is [Bare] text on one line, as a person would write it there: with single spaces.
func Flat(text string) string { return Bare(strings.Join(strings.Fields(text), " ")) }

// Colored is a [Bare] line that has kept its colors, which end with it.
func Colored(line string) string {
	var b strings.Builder
	last := 0
	for _, at := range colors.FindAllStringIndex(line, -1) {
		b.WriteString(Bare(line[last:at[0]]) + line[at[0]:at[1]])
		last = at[1]
	}
	b.WriteString(Bare(line[last:]))
	if last > 0 {
		b.WriteString("\x1b[0m")
	}
	return b.String()
}

// colors are the sequences that color what a terminal shows.
var colors = regexp.MustCompile(`\x1b\[[0-9;:]*m`)

// Bare is a line without what is for terminals: sequences that move the cursor or color what is
// shown, and characters that are not shown. A tab is four spaces.
func Bare(line string) string {
	line = strings.ReplaceAll(sequences.ReplaceAllString(strings.TrimRight(line, "\r\n"), ""), "\t", "    ")
	return strings.Map(func(r rune) rune {
		if isForTerminals(r) {
			return -1
		}
		return r
	}, line)
}

// sequences are what moves the cursor of a terminal, or colors what it shows.
var sequences = regexp.MustCompile(`\x1b(\[[0-?]*[ -/]*[@-~]|[@-Z\\-_])`)

// isForTerminals reports whether a character would not be shown as one.
func isForTerminals(r rune) bool {
	return unicode.IsControl(r) || r == unicode.ReplacementChar || unicode.Is(unicode.Cf, r)
}

// maxMarkdown is how many characters of a text stand in a page of Markdown.
const maxMarkdown = 400

// Markdown is [Flat] text as code within a line of Markdown, also in the cell of a table; a dash
// where there is none. It is shown as it is: no character of it can begin a heading, a row, a
// link, a mention or HTML, in whichever way the page is rendered, because all of them leave code
// alone. A bar, which no code in a table can hold everywhere, is written ¦, and what is longer
// than 400 characters is clipped.
func Markdown(text string) string {
	text = strings.ReplaceAll(Flat(text), "|", "¦")
	if chars := []rune(text); len(chars) > maxMarkdown {
		text = string(chars[:maxMarkdown-1]) + "…"
	}
	if text == "" {
		return "-"
	}
	fence := "`"
	for strings.Contains(text, fence) { // longer than what is in the text
		fence += "`"
	}
	if text[0] == '`' || text[len(text)-1] == '`' || strings.Trim(text, " ") == "" {
		text = " " + text + " "
	}
	return fence + text + fence
}

// Fit is text on one line of at most width columns, clipped where it has to be, and without
// anything that would move the cursor.
func Fit(text string, width int) string {
	var b strings.Builder
	used, end, clipped := 0, 0, false
	for _, r := range OneLine(text) {
		if isForTerminals(r) {
			continue
		}
		n := cells(r)
		if used+n > width {
			clipped = true
			break
		}
		if used+n < width {
			end = b.Len() + len(string(r))
		}
		b.WriteRune(r)
		used += n
	}
	if !clipped {
		return b.String()
	}
	return b.String()[:end] + "…"
}

package main

import (
	"regexp"
	"strings"
	"unicode"
)

// oneLine is text without its line breaks, which errors of scripts may have.
func oneLine(text string) string {
	return strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "; ")
}

// flat is text on one line, as a person would write it there.
func flat(text string) string { return strings.Join(strings.Fields(text), " ") }

// bare is a line without characters that are for terminals.
func bare(line string) string {
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

// fit is text on one line of at most width columns, clipped where it has to be, and without
// anything that would move the cursor.
func fit(text string, width int) string {
	var b strings.Builder
	used, end, clipped := 0, 0, false
	for _, r := range oneLine(text) {
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

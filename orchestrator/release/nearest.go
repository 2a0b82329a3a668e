package release

import (
	"fmt"
	"strings"
)

// didYouMean is the hint for a word that is none of the valid ones, if it is at
// most two letters away from one of them.
func didYouMean(word string, valid []string) string {
	word = strings.ToLower(word)
	for edits := range 3 {
		for _, v := range valid {
			if edits < len(v) && within(word, strings.ToLower(v), edits) {
				return fmt.Sprintf("did you mean %s?", bare(v))
			}
		}
	}
	return ""
}

// within reports whether so many insertions, deletions and replacements make b of a.
func within(a, b string, edits int) bool {
	for a != "" && b != "" && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	switch {
	case a == "" || b == "":
		return len(a)+len(b) <= edits
	case edits == 0:
		return false
	}
	return within(a[1:], b[1:], edits-1) || within(a[1:], b, edits-1) || within(a, b[1:], edits-1)
}

// list is the valid words for a sentence, the first of them if they are many.
func list(valid []string) string {
	const most = 12
	if len(valid) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(bares(valid[:most]), ", "), len(valid)-most)
	}
	return strings.Join(bares(valid), ", ")
}

package rollout

import "strings"

// Nearest is the one of the valid words that is at most two letters away from a word, whatever
// the case of both; empty when there is none.
func Nearest(word string, valid []string) string {
	word = strings.ToLower(word)
	for edits := range 3 {
		for _, v := range valid {
			if edits < len(v) && within(word, strings.ToLower(v), edits) {
				return v
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

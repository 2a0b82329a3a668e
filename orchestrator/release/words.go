package release

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/golive-dev/golive/orchestrator/rollout"
)

// quote is text in quotes, shortened to what a line can bear, and without passwords.
func quote(text string) string { return strconv.Quote(shorten(masked(text))) }

// printable is text on one line that changes nothing on a terminal.
func printable(text string) string {
	var b strings.Builder
	for _, char := range shorten(text) {
		if unicode.IsPrint(char) {
			b.WriteRune(char)
			continue
		}
		b.WriteString(strings.Trim(strconv.QuoteRune(char), "'"))
	}
	return b.String()
}

func shorten(text string) string {
	const most = 100
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}

// word is a name that can stand in a path and in a sentence without quotes.
var word = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// bare is a name without quotes if it can stand so.
func bare(name string) string {
	if word.MatchString(name) {
		return name
	}
	return quote(name)
}

// bares are names without quotes if they can stand so.
func bares(names []string) []string {
	bares := make([]string, len(names))
	for i, name := range names {
		bares[i] = bare(name)
	}
	return bares
}

// join is the name of the place of a key in the map called parent.
func join(parent, key string) string {
	return strings.TrimPrefix(parent+"."+bare(key), ".")
}

// didYouMean is the hint for a word that is none of the valid ones, if it is at
// most two letters away from one of them.
func didYouMean(word string, valid []string) string {
	if nearest := rollout.Nearest(word, valid); nearest != "" {
		return fmt.Sprintf("did you mean %s?", bare(nearest))
	}
	return ""
}

// list is the valid words for a sentence, the first of them if they are many.
func list(valid []string) string {
	const most = 12
	if len(valid) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(bares(valid[:most]), ", "), len(valid)-most)
	}
	return strings.Join(bares(valid), ", ")
}

// orList is words for a sentence: "command, shell or check".
func orList(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

var password = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://[^/?#\s:@]*):[^/?#\s]*@`)

// masked is text without the passwords in its URLs.
func masked(text string) string { return password.ReplaceAllString(text, "$1:xxxxx@") }

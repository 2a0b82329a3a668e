package release

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// commandWanted is what a command should look like.
const commandWanted = "a command, a list like [go, run, ./web]"

// readVersion reads the version of an app or a service.
func readVersion(v value) string {
	version, ok := v.text("a version like 0.0.1")
	if !ok {
		return ""
	}
	v.breaks(v.begin(), protocol.ValidateVersion(version))
	return version
}

// oneOf reads a word that is one of a few.
func oneOf[T ~string](v value, what string, valid []T) T {
	words := texts(valid)
	text, ok := v.text("one of " + list(words))
	if ok && !slices.Contains(words, text) {
		v.report(didYouMean(text, words), "unknown %s %s: valid are %s", what, quote(text), list(words))
	}
	return T(text)
}

// readWhole reads a whole number from the least to the most.
func readWhole(v value, least, most int) (int, bool) {
	want := fmt.Sprintf("a whole number from %d to %d", least, most)
	plain, ok := v.plain()
	if !ok {
		return 0, false
	}
	number, ok := plain.node.(*ast.IntegerNode)
	if !ok {
		plain.wrong(want)
		return 0, false
	}
	n, ok := wholeOf(number) // negative ones are none
	if !ok || n < uint64(least) || n > uint64(most) {
		plain.wrongNumber(want)
		return 0, false
	}
	return int(n), true
}

// wholeOf is the number that a node holds, if it is written as whole numbers are: for one like
// 010 YAML has two meanings, and for 0x10 few people have any.
func wholeOf(n *ast.IntegerNode) (uint64, bool) {
	if !wholeNumber.MatchString(n.GetToken().Value) {
		return 0, false
	}
	whole, ok := n.Value.(uint64)
	return whole, ok
}

var wholeNumber = regexp.MustCompile(`^(0|[1-9][0-9]*)$`)

// oddNumber is a number that is written in a way that is easily misread: with a zero in front,
// or to another base than ten.
var oddNumber = regexp.MustCompile(`^[+-]?0[0-9_bBoOxX]`)

// wrongNumber is wrong, with a hint for a number that is only written in another way.
func (v value) wrongNumber(want string) {
	text := v.node.GetToken().Value
	if oddNumber.MatchString(text) || strings.ContainsAny(text, "_+") {
		v.report("write it with the digits 0 to 9 alone, and without a zero in front", "expected %s, found %s", want, describe(v.node))
		return
	}
	v.wrong(want)
}

// readTruth reads true or false.
func readTruth(v value) bool {
	plain, ok := v.plain()
	if !ok {
		return false
	}
	truth, ok := plain.node.(*ast.BoolNode)
	if !ok {
		plain.wrong("true or false")
		return false
	}
	return truth.Value
}

// readCommand reads a command: a program and its arguments.
func readCommand(v value, want string) []string {
	if node, ok := v.node.(*ast.StringNode); ok {
		v.report(asCommand(node.Value), "expected %s, found %s", want, describe(node))
		return nil
	}
	items, ok := v.items(want)
	if ok && len(items) == 0 {
		v.report("", "expected %s, found an empty list", want)
	}
	command := make([]string, len(items))
	for i, item := range items {
		command[i] = readArgument(item)
	}
	return command
}

// readStepCommand reads the command of a step or a check.
func readStepCommand(v value) []string {
	return readCommand(v, "a command, a list like [./bin/restart, web]")
}

// readShell reads a line for sh -c.
func readShell(v value) string {
	const want = `a line for sh -c like "systemctl restart web"`
	plain, ok := v.plain()
	if !ok {
		return ""
	}
	line, ok := textOf(plain.node)
	_, isList := plain.node.(*ast.SequenceNode)
	switch {
	case isList:
		plain.report("a list stands under command, and runs without a shell", "expected %s, found %s", want, describe(plain.node))
	case !ok:
		plain.wrong(want)
	case strings.TrimSpace(line) == "":
		v.report("", "the line must not be empty")
	case strings.ContainsRune(line, 0):
		v.report("", "a line for sh -c cannot hold the character NUL")
	}
	return line
}

// readArgument reads one word of a command.
func readArgument(v value) string {
	plain, ok := v.plain()
	if !ok {
		return ""
	}
	text, ok := textOf(plain.node)
	switch {
	case !ok:
		plain.report(asText(plain.node), "expected text, found %s", describe(plain.node))
	case text == "":
		plain.report("", "a word of a command must not be empty")
	case strings.ContainsRune(text, 0):
		plain.report("", "a word of a command cannot hold the character NUL")
	}
	return text
}

// readVersions reads a list of at most so many versions, and checks each one that is
// valid when all is read, as the version to compare it with may stand below.
func readVersions(v value, most int, check func(value, string)) []string {
	return readFewWords(v, "a list of versions like [0.0.1]", few{"version", most}, func(item value, version string) {
		if err := protocol.ValidateVersion(version); err != nil {
			item.breaks(item.begin(), err)
			return
		}
		v.later(func() { check(item, version) })
	})
}

// readWords reads a list of words, none twice. It is nil only if the list is empty.
func readWords(v value, want string, check func(value, string)) []string {
	return readFewWords(v, want, few{"word", maxTokens}, check)
}

// few is how many words a list may have, and what one of them is.
type few struct {
	what string
	most int
}

// readFewWords reads a list of words, none twice; it stops at the first one that is too many.
func readFewWords(v value, want string, few few, check func(value, string)) []string {
	items, ok := v.items(want)
	if ok && len(items) == 0 {
		return nil
	}
	words := []string{}
	seen := map[string]bool{}
	for _, item := range items {
		word, ok := item.text("text")
		switch {
		case !ok:
			continue
		case seen[word]:
			item.report("remove one of the two", "%s is in this list twice", quote(word))
			continue
		case len(words) == few.most:
			item.report("", "this is %s %d: at most %d are allowed", few.what, few.most+1, few.most)
			return words
		}
		seen[word] = true
		words = append(words, word)
		check(item, word)
	}
	return words
}

// asCommand is the hint for text where a command should be, if the text is plain
// enough to be taken apart.
func asCommand(text string) string {
	switch {
	case text == external:
		return "leave the key out for a service that is already running"
	case plainCommand.MatchString(text):
		return fmt.Sprintf("write [%s]", strings.Join(strings.Fields(text), ", "))
	}
	return ""
}

var plainCommand = regexp.MustCompile(`^[A-Za-z0-9_./-]{1,40} [A-Za-z0-9_./ -]{1,40}$`)

// asText is the hint for something that would be text in quotes.
func asText(node ast.Node) string {
	switch node.(type) {
	case *ast.NullNode, *ast.MappingNode, *ast.SequenceNode:
		return ""
	}
	return "put it in quotes: " + quote(node.GetToken().Value)
}

// texts are words as text.
func texts[T ~string](words []T) []string {
	texts := make([]string, len(words))
	for i, w := range words {
		texts[i] = string(w)
	}
	return texts
}

// readRetries reads how often a script is tried again. A wrong number is not 0, with
// which backoff would have no effect.
func readRetries(v value) int {
	retries, ok := readWhole(v, 0, rollout.MaxRetries)
	if !ok {
		return -1
	}
	return retries
}

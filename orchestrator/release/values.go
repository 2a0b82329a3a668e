package release

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/goccy/go-yaml/ast"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// commandWanted is what a command should look like.
const commandWanted = "a command, a list like [go, run, ./web]"

// seedWanted is what the command that makes data should look like.
const seedWanted = "a command, a list like [go, run, ./seed]"

// external is the app's setup service that is already running.
const external = "external"

// readName reads the name of an app.
func readName(v value) string {
	name, ok := v.text("a name like todo-app")
	if !ok {
		return ""
	}
	v.breaks(v.begin(), protocol.ValidateName(name))
	return name
}

// readVersion reads the version of an app or a service.
func readVersion(v value) string {
	version, ok := v.text("a version like 0.0.1")
	if !ok {
		return ""
	}
	v.breaks(v.begin(), protocol.ValidateVersion(version))
	return version
}

// readStrategy reads the app's strategy.
func readStrategy(v value) rollout.Strategy {
	return oneOf(v, "strategy", rollout.Strategies())
}

// readFolder reads the name of a folder.
func readFolder(v value) string {
	folder, ok := v.text("a folder like " + DefaultData)
	if !ok {
		return ""
	}
	switch {
	case strings.TrimSpace(folder) == "":
		v.report("leave the key out for "+DefaultData, "the name of the folder must not be empty")
	case strings.ContainsRune(folder, 0):
		v.report("", "the name of a folder cannot hold the character NUL")
	}
	return folder
}

// readAppSetup reads the app's own setup service: a command or the word external.
func readAppSetup(v value) Setup {
	const want = "a command, a list like [go, run, ./setup], or the word " + external
	plain, ok := v.plain()
	if !ok {
		return Setup{}
	}
	text, ok := textOf(plain.node)
	switch {
	case !ok:
		return Setup{Command: readCommand(plain, want)}
	case text != external:
		hint := cmp.Or(didYouMean(text, []string{external}), asCommand(text))
		plain.report(hint, "expected %s, found %s", want, describe(plain.node))
	}
	return Setup{External: true}
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

// readPhases reads the phases a service has scripts for, and puts them in the order in
// which they run. They are nil only if there are none.
func readPhases(v value) []protocol.Phase {
	valid := texts(protocol.ServicePhases())
	given := readWords(v, "a list of phases like [before, online]", func(item value, phase string) {
		if slices.Contains(valid, phase) {
			return
		}
		hint := didYouMean(phase, valid)
		if phase == string(protocol.Setup) {
			hint = "the app's own setup service stands at the top of the manifest, in the key setup"
		}
		item.report(hint, "unknown phase %s: valid are %s", quote(phase), list(valid))
	})
	if given == nil {
		return nil
	}
	phases := []protocol.Phase{}
	for _, phase := range protocol.ServicePhases() {
		if slices.Contains(given, string(phase)) {
			phases = append(phases, phase)
		}
	}
	return phases
}

// readKeepOnline reads which other versions of the service s stay online beside its own.
func readKeepOnline(v value, s *Service) []string {
	return readVersions(v, MaxKeepOnline, func(item value, version string) {
		if version == s.Version {
			item.report("remove it from the list", "%s is the service's own version, which is online anyway", quote(version))
		}
	})
}

// readMustNotSkip reads over which versions of the app no rollout may jump.
func readMustNotSkip(v value, m *Manifest) []string {
	return readVersions(v, MaxMustNotSkip, func(item value, version string) {
		if protocol.ValidateVersion(m.Version) != nil {
			return // which is reported where it stands
		}
		own, err := semver.StrictNewVersion(m.Version)
		listed, listedErr := semver.StrictNewVersion(version)
		switch {
		case cmp.Or(err, listedErr) != nil:
			incomparable(item, version, m.Version)
		case listed.GreaterThan(own):
			item.report("remove it here: it belongs in the manifests from that version on",
				"%s is newer than the app's version %s", quote(version), quote(m.Version))
		}
	})
}

// incomparable reports a version whose place before or behind the app's nobody can tell.
func incomparable(v value, version, own string) {
	v.report("", "%s cannot be compared with the app's version %s: a number in one of them is larger than %d",
		quote(version), quote(own), uint64(math.MaxUint64))
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

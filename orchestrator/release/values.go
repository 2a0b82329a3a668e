package release

import (
	"cmp"
	"errors"
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

// name reads the name of an app.
func (r *reader) name(v value) string {
	name, ok := r.text(v, "a name like todo-app")
	if !ok {
		return ""
	}
	r.breaks(r.begin(v.node), v.key, protocol.ValidateName(name))
	return name
}

// version reads the version of an app or a service.
func (r *reader) version(v value) string {
	version, ok := r.text(v, "a version like 0.0.1")
	if !ok {
		return ""
	}
	r.breaks(r.begin(v.node), v.key, protocol.ValidateVersion(version))
	return version
}

// breaks reports which rule of the protocol a name or a version breaks, if any.
func (r *reader) breaks(at position, key string, err error) {
	var invalid *protocol.InvalidError
	if errors.As(err, &invalid) {
		r.report(at, key, "", "%s %s %s", invalid.Kind, quote(invalid.Value), invalid.Rule)
	}
}

// strategy reads the app's strategy.
func (r *reader) strategy(v value) rollout.Strategy {
	return oneOf(r, v, "strategy", rollout.Strategies())
}

// folder reads the name of a folder.
func (r *reader) folder(v value) string {
	folder, ok := r.text(v, "a folder like "+DefaultData)
	if !ok {
		return ""
	}
	switch {
	case strings.TrimSpace(folder) == "":
		r.report(r.begin(v.node), v.key, "leave the key out for "+DefaultData, "the name of the folder must not be empty")
	case strings.ContainsRune(folder, 0):
		r.report(r.begin(v.node), v.key, "", "the name of a folder cannot hold the character NUL")
	}
	return folder
}

// appSetup reads the app's own setup service: a command or the word external.
func (r *reader) appSetup(v value) Setup {
	const want = "a command, a list like [go, run, ./setup], or the word " + external
	node, ok := r.plain(v)
	if !ok {
		return Setup{}
	}
	text, ok := textOf(node)
	switch {
	case !ok:
		return Setup{Command: r.command(value{node: node, key: v.key, at: v.at}, want)}
	case text != external:
		hint := cmp.Or(didYouMean(text, []string{external}), asCommand(text))
		r.report(r.begin(node), v.key, hint, "expected %s, found %s", want, describe(node))
	}
	return Setup{External: true}
}

// command reads a command: a program and its arguments.
func (r *reader) command(v value, want string) []string {
	if node, ok := v.node.(*ast.StringNode); ok {
		r.report(r.begin(node), v.key, asCommand(node.Value), "expected %s, found %s", want, describe(node))
		return nil
	}
	items, ok := r.items(v, want)
	if ok && len(items) == 0 {
		r.report(r.begin(v.node), v.key, "", "expected %s, found an empty list", want)
	}
	command := make([]string, len(items))
	for i, item := range items {
		command[i] = r.argument(item)
	}
	return command
}

// argument reads one word of a command.
func (r *reader) argument(v value) string {
	node, ok := r.plain(v)
	if !ok {
		return ""
	}
	text, ok := textOf(node)
	switch {
	case !ok:
		r.report(r.begin(node), v.key, asText(node), "expected text, found %s", describe(node))
	case text == "":
		r.report(r.begin(node), v.key, "", "a word of a command must not be empty")
	case strings.ContainsRune(text, 0):
		r.report(r.begin(node), v.key, "", "a word of a command cannot hold the character NUL")
	}
	return text
}

// phases reads the phases a service has scripts for, and puts them in the order in
// which they run. They are nil only if there are none.
func (r *reader) phases(v value) []protocol.Phase {
	valid := texts(protocol.ServicePhases())
	given := r.words(v, "a list of phases like [before, online]", func(item value, phase string) {
		if slices.Contains(valid, phase) {
			return
		}
		hint := didYouMean(phase, valid)
		if phase == string(protocol.Setup) {
			hint = "the app's own setup service stands at the top of the manifest, in the key setup"
		}
		r.report(r.begin(item.node), item.key, hint, "unknown phase %s: valid are %s", quote(phase), list(valid))
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

// keepOnline reads which other versions of the service s stay online beside its own.
func (r *reader) keepOnline(v value, s *Service) []string {
	return r.versions(v, MaxKeepOnline, func(item value, version string) {
		if version == s.Version {
			r.report(r.begin(item.node), item.key, "remove it from the list", "%s is the service's own version, which is online anyway", quote(version))
		}
	})
}

// mustNotSkip reads over which versions of the app no rollout may jump.
func (r *reader) mustNotSkip(v value, m *Manifest) []string {
	return r.versions(v, MaxMustNotSkip, func(item value, version string) {
		if protocol.ValidateVersion(m.Version) != nil {
			return // which is reported where it stands
		}
		own, err := semver.StrictNewVersion(m.Version)
		listed, listedErr := semver.StrictNewVersion(version)
		switch {
		case cmp.Or(err, listedErr) != nil:
			r.incomparable(item, version, m.Version)
		case listed.GreaterThan(own):
			r.report(r.begin(item.node), item.key, "remove it here: it belongs in the manifests from that version on",
				"%s is newer than the app's version %s", quote(version), quote(m.Version))
		}
	})
}

// incomparable reports a version whose place before or behind the app's nobody can tell.
func (r *reader) incomparable(v value, version, own string) {
	r.report(r.begin(v.node), v.key, "", "%s cannot be compared with the app's version %s: a number in one of them is larger than %d",
		quote(version), quote(own), uint64(math.MaxUint64))
}

// versions reads a list of at most so many versions, and checks each one that is
// valid when all is read, as the version to compare it with may stand below.
func (r *reader) versions(v value, most int, check func(value, string)) []string {
	return r.fewWords(v, "a list of versions like [0.0.1]", few{"version", most}, func(item value, version string) {
		if err := protocol.ValidateVersion(version); err != nil {
			r.breaks(r.begin(item.node), item.key, err)
			return
		}
		r.checks = append(r.checks, func() { check(item, version) })
	})
}

// words reads a list of words, none twice. It is nil only if the list is empty.
func (r *reader) words(v value, want string, check func(value, string)) []string {
	return r.fewWords(v, want, few{"word", maxTokens}, check)
}

// few is how many words a list may have, and what one of them is.
type few struct {
	what string
	most int
}

// fewWords reads a list of words, none twice; it stops at the first one that is too many.
func (r *reader) fewWords(v value, want string, few few, check func(value, string)) []string {
	items, ok := r.items(v, want)
	if ok && len(items) == 0 {
		return nil
	}
	words := []string{}
	seen := map[string]bool{}
	for _, item := range items {
		word, ok := r.text(item, "text")
		switch {
		case !ok:
			continue
		case seen[word]:
			r.report(r.begin(item.node), item.key, "remove one of the two", "%s is in this list twice", quote(word))
			continue
		case len(words) == few.most:
			r.report(r.begin(item.node), item.key, "", "this is %s %d: at most %d are allowed", few.what, few.most+1, few.most)
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

package release

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	"github.com/goccy/go-yaml/ast"

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
	r.breaks(begin(v.node), v.key, protocol.ValidateName(name))
	return name
}

// version reads the version of an app or a service.
func (r *reader) version(v value) string {
	version, ok := r.text(v, "a version like 0.0.1")
	if !ok {
		return ""
	}
	r.breaks(begin(v.node), v.key, protocol.ValidateVersion(version))
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
func (r *reader) strategy(v value) Strategy {
	valid := texts(Strategies())
	text, ok := r.text(v, "one of "+list(valid))
	if ok && !slices.Contains(valid, text) {
		r.report(begin(v.node), v.key, didYouMean(text, valid), "unknown strategy %s: valid are %s", quote(text), list(valid))
	}
	return Strategy(text)
}

// folder reads the name of a folder.
func (r *reader) folder(v value) string {
	folder, ok := r.text(v, "a folder like "+DefaultData)
	if !ok {
		return ""
	}
	switch {
	case strings.TrimSpace(folder) == "":
		r.report(begin(v.node), v.key, "leave the key out for "+DefaultData, "the name of the folder must not be empty")
	case strings.ContainsRune(folder, 0):
		r.report(begin(v.node), v.key, "", "the name of a folder cannot hold the character NUL")
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
		r.report(begin(node), v.key, hint, "expected %s, found %s", want, describe(node))
	}
	return Setup{External: true}
}

// command reads a command: a program and its arguments.
func (r *reader) command(v value, want string) []string {
	if node, ok := v.node.(*ast.StringNode); ok {
		r.report(begin(node), v.key, asCommand(node.Value), "expected %s, found %s", want, describe(node))
		return nil
	}
	items, ok := r.items(v, want)
	if ok && len(items) == 0 {
		r.report(begin(v.node), v.key, "", "expected %s, found an empty list", want)
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
		r.report(begin(node), v.key, asText(node), "expected text, found %s", describe(node))
	case text == "":
		r.report(begin(node), v.key, "", "a word of a command must not be empty")
	case strings.ContainsRune(text, 0):
		r.report(begin(node), v.key, "", "a word of a command cannot hold the character NUL")
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
		r.report(begin(item.node), item.key, hint, "unknown phase %s: valid are %s", quote(phase), list(valid))
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
			r.report(begin(item.node), item.key, "remove it from the list", "%s is the service's own version, which is online anyway", quote(version))
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
			r.report(begin(item.node), item.key, "", "%s cannot be compared with the app's version %s: a number in one of them is larger than %d",
				quote(version), quote(m.Version), uint64(math.MaxUint64))
		case listed.GreaterThan(own):
			r.report(begin(item.node), item.key, "remove it here: it belongs in the manifests from that version on",
				"%s is newer than the app's version %s", quote(version), quote(m.Version))
		}
	})
}

// versions reads a list of at most so many versions, and checks each one that is
// valid when all is read, as the version to compare it with may stand below.
func (r *reader) versions(v value, most int, check func(value, string)) []string {
	count := 0
	return r.words(v, "a list of versions like [0.0.1]", func(item value, version string) {
		at := begin(item.node)
		if count++; count == most+1 {
			r.report(at, item.key, "", "this is version %d: at most %d are allowed", count, most)
		}
		if err := protocol.ValidateVersion(version); err != nil {
			r.breaks(at, item.key, err)
			return
		}
		r.checks = append(r.checks, func() { check(item, version) })
	})
}

// words reads a list of words, none twice. It is nil only if the list is empty.
func (r *reader) words(v value, want string, check func(value, string)) []string {
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
			r.report(begin(item.node), item.key, "remove one of the two", "%s is in this list twice", quote(word))
			continue
		}
		seen[word] = true
		words = append(words, word)
		check(item, word)
	}
	return words
}

// timeout reads how long a script may take.
func (r *reader) timeout(v value) time.Duration {
	const (
		want    = "a duration like 90s, 10m or 1h30m"
		noLimit = "leave the key out for no limit"
	)
	timeout, text, ok := r.duration(v, want, "the units are h, m, s and ms")
	switch {
	case !ok:
	case timeout <= 0:
		r.report(begin(v.node), v.key, noLimit, "a timeout must be longer than 0, found %s", quote(text))
	case timeout > MaxTimeout:
		r.report(begin(v.node), v.key, noLimit, "a timeout is at most %vh (30 days), found %s", MaxTimeout.Hours(), quote(text))
	}
	return timeout
}

// retries reads how often a script is tried again. A wrong number is not 0, with
// which backoff would have no effect.
func (r *reader) retries(v value) int {
	retries, ok := r.number(v, MaxRetries)
	if !ok {
		return -1
	}
	return retries
}

// backoff reads the pause before the first retry of the scripts of the service s.
func (r *reader) backoff(v value, s *Service) time.Duration {
	r.checks = append(r.checks, func() { // the retries may stand below
		if s.Retries == 0 {
			r.report(v.at, v.key, "give retries, such as retries: 3, or remove backoff", "without retries this has no effect")
		}
	})
	hint := fmt.Sprintf("leave the key out for %v", DefaultBackoff)
	pause, text, ok := r.duration(v, "a duration like 500ms, 10s or 1m30s", "the units are m, s and ms")
	switch {
	case !ok:
	case pause < MinBackoff:
		r.report(begin(v.node), v.key, hint, "a pause is at least %v, found %s", MinBackoff, quote(text))
	case pause > MaxBackoff:
		r.report(begin(v.node), v.key, hint, "a pause is at most %vm, found %s", MaxBackoff.Minutes(), quote(text))
	}
	return pause
}

// retryAfter reads how long callers are told to wait.
func (r *reader) retryAfter(v value) time.Duration {
	hint := fmt.Sprintf("leave the key out for %v", DefaultRetryAfter)
	wait, text, ok := r.duration(v, "a duration of whole seconds like 30s or 2m", "the units are h, m and s")
	switch {
	case !ok:
	case wait < MinRetryAfter:
		r.report(begin(v.node), v.key, hint, "a time to wait is at least %v, found %s", MinRetryAfter, quote(text))
	case wait > MaxRetryAfter:
		r.report(begin(v.node), v.key, hint, "a time to wait is at most %vh, found %s", MaxRetryAfter.Hours(), quote(text))
	case wait%time.Second != 0:
		up := fmt.Sprintf("write %ds", wait/time.Second+1)
		r.report(begin(v.node), v.key, up, "a time to wait must be whole seconds, found %s", quote(text))
	}
	return wait
}

// duration reads a duration and the text it is written in.
func (r *reader) duration(v value, want, units string) (time.Duration, string, bool) {
	text, ok := r.text(v, want)
	if !ok {
		return 0, "", false
	}
	duration, err := time.ParseDuration(text)
	if err != nil {
		r.report(begin(v.node), v.key, units, "expected %s, found the text %s", want, quote(text))
		return 0, "", false
	}
	return duration, text, true
}

// rate reads how many records a second a script may deal with; 0 sets no limit.
func (r *reader) rate(v value) *float64 {
	const want = "a number of records a second, 0 (no limit) or more"
	node, ok := r.plain(v)
	if !ok {
		return nil
	}
	rate, ok := numberOf(node)
	if !ok || rate < 0 {
		r.wrong(v, node, want)
		return nil
	}
	return &rate
}

// numberOf is the number that a node holds. Infinity and what is no number at all are
// nodes of other kinds.
func numberOf(node ast.Node) (float64, bool) {
	switch n := node.(type) {
	case *ast.FloatNode:
		return n.Value + 0, true // not -0
	case *ast.IntegerNode:
		switch i := n.Value.(type) {
		case uint64:
			return float64(i), true
		case int64:
			return float64(i), true
		}
	}
	return 0, false
}

// inFlight reads how many batches of a script may be under way at the same time.
func (r *reader) inFlight(v value) int {
	batches, ok := r.number(v, MaxInFlight)
	if ok && batches == 0 {
		r.report(begin(v.node), v.key, "leave the key out for what its author has chosen; golive pause holds a script",
			"at least one batch must be under way, found the number 0")
	}
	return batches
}

// number reads a whole number from 0 to most.
func (r *reader) number(v value, most int) (int, bool) {
	want := fmt.Sprintf("a whole number from 0 to %d", most)
	node, ok := r.plain(v)
	if !ok {
		return 0, false
	}
	number, ok := node.(*ast.IntegerNode)
	if !ok {
		r.wrong(v, node, want)
		return 0, false
	}
	n, ok := number.Value.(uint64) // negative ones are int64
	if !ok || n > uint64(most) {
		r.wrong(v, node, want)
		return 0, false
	}
	return int(n), true
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

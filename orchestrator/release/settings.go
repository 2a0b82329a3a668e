package release

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// Settings are all values that are in force, each with where it comes from, in the order
// of the manifest's reference: those that stand in a file, and the defaults of keys that
// have one.
func (m *Manifest) Settings() []Setting { return slices.Clone(m.settings) }

// layout is what is known about a map of the manifest, or about a list of maps.
type layout struct {
	keys     []string          // in their order; others come behind, in that of the file
	defaults map[string]string // of keys
	with     map[string]string // a key that has a default only beside another one
	below    map[string]layout // the layout of a key's value; that of "" is that of every key and item
}

// manifestLayout is the layout of the whole manifest.
func manifestLayout() layout {
	var work []string
	for _, f := range stepFields(&placed{Step: &Step{}}, nil) {
		work = append(work, f.key)
	}
	check := layout{
		keys:     keys(checkFields(&Check{}, nil)),
		defaults: map[string]string{"tries": "1", "pause": defaultPause.String(), "within": defaultWithin.String()},
		with:     map[string]string{"pause": "tries"},
	}
	step := layout{
		keys:     work,
		defaults: map[string]string{"need": allHosts, "backoff": rollout.DefaultBackoff.String()},
		with:     map[string]string{"need": "on", "backoff": "retries"},
		below:    map[string]layout{"check": check},
	}
	service := layout{
		keys:     keys(serviceFields(&Service{}, nil)),
		defaults: map[string]string{"instances": "1", "retries": "0", "backoff": rollout.DefaultBackoff.String()},
		with:     map[string]string{"backoff": "retries"},
		below:    map[string]layout{"pace": {keys: keys(paceFields(&protocol.Pace{}))}},
	}
	return layout{
		keys: slices.DeleteFunc(keys(manifestFields(&Manifest{}, true)), func(key string) bool { return key == "environments" }),
		defaults: map[string]string{
			"strategy": string(rollout.Parallel), "retryAfter": rollout.DefaultRetryAfter.String(), "data": DefaultData, "autoRevert": "false",
		},
		below: map[string]layout{
			"services": {below: map[string]layout{"": service}},
			"steps":    {below: map[string]layout{"": step}},
			"requires": {keys: keys(requiresFields(&Requirement{}, nil)), defaults: map[string]string{"completed": "true"}},
			"approvals": {
				keys:     keys(approvalsFields(&rollout.Policy{})),
				defaults: map[string]string{"required": "false", "count": "1", "notStarter": "false"},
			},
		},
	}
}

// settler collects the settings of a valid manifest.
type settler struct {
	*sources
	settings []Setting
}

// settings are those of the manifest whose map at the top this is.
func settings(from *sources, root value) []Setting {
	s := &settler{sources: from}
	s.add(root, manifestLayout())
	return s.settings
}

// add adds what a value holds.
func (s *settler) add(v value, l layout) {
	switch n := v.node.(type) {
	case *ast.MappingNode:
		if len(n.Values)+len(l.defaults) > 0 {
			s.addMap(v.key, n, l)
			return
		}
	case *ast.SequenceNode:
		if slices.ContainsFunc(n.Values, func(item ast.Node) bool { _, isMap := item.(*ast.MappingNode); return isMap }) {
			for i, item := range n.Values {
				s.add(value{node: item, key: v.key + "[" + strconv.Itoa(i) + "]", at: s.begin(item)}, l.below[""])
			}
			return
		}
	}
	from := s.list[v.at.source]
	s.settings = append(s.settings, Setting{Key: v.key, Value: inline(v.node), File: from.file, Line: v.at.line, Within: from.environment})
}

// addMap adds what a map holds, and the defaults of keys that it does not.
func (s *settler) addMap(key string, m *ast.MappingNode, l layout) {
	given := map[string]value{}
	order := slices.Clone(l.keys)
	for _, pair := range m.Values {
		name, _ := textOf(pair.Key)
		given[name] = value{node: pair.Value, key: join(key, name), at: s.begin(pair.Key)}
		if len(l.keys) == 0 {
			order = append(order, name)
		}
	}
	for _, name := range order {
		v, known := given[name]
		_, beside := given[l.with[name]]
		switch {
		case known:
			s.add(v, l.under(name))
		case l.defaults[name] != "" && (beside || l.with[name] == ""):
			s.settings = append(s.settings, Setting{Key: join(key, name), Value: l.defaults[name]})
		}
	}
}

// under is the layout of a key's value.
func (l layout) under(key string) layout {
	if below, known := l.below[key]; known {
		return below
	}
	return l.below[""]
}

// inline is a value as it would be written on one line, without passwords.
func inline(node ast.Node) string {
	if text, ok := textOf(node); ok {
		return inlineText(masked(text))
	}
	var parts []string
	switch n := node.(type) {
	case *ast.MappingNode:
		for _, pair := range n.Values {
			parts = append(parts, inline(pair.Key)+": "+inline(pair.Value))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case *ast.SequenceNode:
		for _, item := range n.Values {
			parts = append(parts, inline(item))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return node.GetToken().Value
}

// plainText is text that may be able to stand without quotes, also in a list in brackets.
var plainText = regexp.MustCompile(`^-?[A-Za-z0-9_./][A-Za-z0-9_./@+%:-]*( [A-Za-z0-9_./@+%-]+)*$`)

// inlineText is text as it would be written on one line.
func inlineText(text string) string {
	if _, err := strconv.ParseFloat(text, 64); err != nil && plainText.MatchString(text) {
		tokens := lexer.Tokenize(text)
		if len(tokens) == 1 && tokens[0].Type == token.StringType && tokens[0].Value == text {
			return text
		}
	}
	return strconv.Quote(text)
}

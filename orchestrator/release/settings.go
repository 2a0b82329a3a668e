package release

import (
	"encoding/json"
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

// Setting is one effective value of a manifest, and where it comes from.
type Setting struct {
	Key    string // "services.todos.instances"
	Value  string // as it would be written in YAML, on one line; secrets in URLs masked
	File   string // as it was given to Load; empty: it is the default
	Line   int    // 0: it is the default
	Within string // the environment that says so; empty: the manifest itself, or the default
}

// Settings are all values that are in force, each with where it comes from, in the order
// of the manifest's reference: those that stand in a file, and the defaults of keys that
// have one.
func (m *Manifest) Settings() []Setting { return slices.Clone(m.settings) }

// layout is what is known about a map of the manifest, or about a list of maps.
type layout struct {
	fields []field           // its keys, in their order; without any those of the file
	below  map[string]layout // the layout of a key's value; that of "" is that of every key and item
}

// manifestLayout is the layout of the whole manifest.
func manifestLayout() layout {
	return layout{
		fields: slices.DeleteFunc(manifestFields(&Manifest{}, true), func(f field) bool { return f.key == "environments" }),
		below: map[string]layout{
			"services": {below: map[string]layout{"": {
				fields: serviceFields(&Service{}, nil),
				below: map[string]layout{
					"pace":  {fields: paceFields(&protocol.Pace{})},
					"state": {fields: stateFields(&rollout.Data{}, &Service{})},
				},
			}}},
			"steps": {below: map[string]layout{"": {
				fields: stepFields(&placed{Step: &Step{}}, nil),
				below:  map[string]layout{"check": {fields: checkFields(&Check{}, nil)}},
			}}},
			"requires":  {fields: requiresFields(&Requirement{}, nil)},
			"approvals": {fields: approvalsFields(&rollout.Policy{})},
			"source":    {fields: sourceFields(&SourcePolicy{})},
			"snapshots": {fields: snapshotsFields(&Snapshots{})},
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
		if len(n.Values) > 0 || l.hasDefaults() {
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
	order := slices.Clone(l.fields)
	for _, pair := range m.Values {
		name, _ := textOf(pair.Key)
		given[name] = value{node: pair.Value, key: join(key, name), at: s.begin(pair.Key)}
		if len(l.fields) == 0 {
			order = append(order, field{key: name})
		}
	}
	for _, f := range order {
		v, known := given[f.key]
		_, beside := given[f.with]
		switch {
		case known:
			s.add(v, l.under(f.key))
		case f.byDefault != "" && (beside || f.with == ""):
			s.settings = append(s.settings, Setting{Key: join(key, f.key), Value: f.byDefault})
		}
	}
}

// hasDefaults reports whether a key of the map has a default.
func (l layout) hasDefaults() bool {
	return slices.ContainsFunc(l.fields, func(f field) bool { return f.byDefault != "" })
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
	if number, ok := numberOf(node); ok { // it may be written in several ways
		text, _ := json.Marshal(number) // it is finite
		return string(text)
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

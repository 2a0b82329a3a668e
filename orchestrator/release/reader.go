package release

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/goccy/go-yaml/ast"
)

// reader turns nodes of YAML into values of the manifest and collects the mistakes
// on the way: after one it goes on, so that all come to light at once.
type reader struct {
	*sources
	source   int // of what has no better one: the one whose text is taken apart
	problems []found
	checks   []func() // of what can be seen only when all is read

	blocks      []block // what environments say
	environment bool    // it reads the manifest as it is in an environment
	noServices  bool    // the services could not be read, and nothing can be said about them
}

// found is a problem and the source that it is found in.
type found struct {
	Problem
	source int
}

// value is a node of the file and the name of its place.
type value struct {
	node ast.Node
	key  string   // "services.web.run"
	at   position // of its key
}

func (r *reader) report(at position, key, hint, format string, args ...any) {
	if at.source == 0 {
		at.source = r.source
	}
	s := r.list[at.source]
	r.problems = append(r.problems, found{Problem{
		File: s.file, Line: max(at.line, 1), Column: max(at.column, 1),
		Key: s.key(key), Message: fmt.Sprintf(format, args...), Hint: hint,
	}, at.source})
}

// field is a key that a map may have, and what to do with its value.
type field struct {
	key      string
	required string // a value for the hint if it is missing; "": it may be missing
	fixed    bool   // it is the same in every environment
	read     func(value)
}

// fields reads a map whose keys are known.
func (r *reader) fields(v value, want string, fields []field) {
	if entries, ok := r.entries(v, want); ok {
		r.known(v, entries, fields)
	}
}

// known reads the entries of the map v, whose keys are known.
func (r *reader) known(v value, entries []entry, fields []field) {
	given := map[string]bool{}
	for _, e := range entries {
		given[e.name] = true
		if i := indexOf(fields, e.name); i >= 0 {
			fields[i].read(e.value)
			continue
		}
		r.unknownKey(e, fields)
	}
	for _, f := range fields {
		if f.required != "" && !given[f.key] {
			r.report(v.at, join(v.key, f.key), fmt.Sprintf("add %s: %s", f.key, f.required), "this key is required and missing")
		}
	}
}

// unknownKey reports a key that is none of the fields.
func (r *reader) unknownKey(e entry, fields []field) {
	if e.value.at.source != 0 {
		fields = slices.DeleteFunc(slices.Clone(fields), func(f field) bool { return f.fixed })
	}
	valid := keys(fields)
	hint := didYouMean(e.name, valid)
	if e.value.key == e.name && slices.Contains(busKeys(), e.name) {
		hint = "it belongs to an environment: environments.NAME." + e.name
	}
	r.report(e.value.at, e.value.key, hint, "unknown key %s: valid are %s", quote(e.name), strings.Join(bares(valid), ", "))
}

// keys are the keys of the fields.
func keys(fields []field) []string {
	keys := make([]string, len(fields))
	for i, f := range fields {
		keys[i] = f.key
	}
	return keys
}

func indexOf(fields []field, key string) int {
	for i, f := range fields {
		if f.key == key {
			return i
		}
	}
	return -1
}

// entry is a key of a map and its value.
type entry struct {
	name  string
	value value
}

// entries reads a map of any keys; each key is there once.
func (r *reader) entries(v value, want string) ([]entry, bool) {
	node, ok := r.plain(v)
	if !ok {
		return nil, false
	}
	m, ok := node.(*ast.MappingNode)
	if !ok {
		r.wrong(v, node, want)
		return nil, false
	}
	var entries []entry
	first := map[string]position{}
	for _, pair := range m.Values {
		name, ok := r.key(v, pair.Key)
		if !ok {
			continue
		}
		e := entry{name, value{node: pair.Value, key: join(v.key, name), at: r.begin(pair.Key)}}
		if before, twice := first[name]; twice {
			r.twice(e.value.at, e.value.key, before)
			continue
		}
		first[name] = e.value.at
		entries = append(entries, e)
	}
	return entries, true
}

// twice reports a key that stands in the same map before.
func (r *reader) twice(at position, key string, before position) {
	r.report(at, key, "keep one of the two", "this key is there twice, first in line %d", before.line)
}

// key reads the key of a pair of the map v.
func (r *reader) key(v value, key ast.MapKeyNode) (string, bool) {
	if key.IsMergeKey() {
		r.report(r.begin(key), v.key, "write the keys out", "merge keys (<<) are not supported")
		return "", false
	}
	node, ok := r.plain(value{node: key, key: v.key})
	if !ok {
		return "", false
	}
	name, ok := node.(*ast.StringNode)
	if !ok {
		r.report(r.begin(node), v.key, "", "a key must be text, found %s", describe(node))
		return "", false
	}
	return name.Value, true
}

// items reads a list.
func (r *reader) items(v value, want string) ([]value, bool) {
	node, ok := r.plain(v)
	if !ok {
		return nil, false
	}
	sequence, ok := node.(*ast.SequenceNode)
	if !ok {
		r.wrong(v, node, want)
		return nil, false
	}
	items := make([]value, len(sequence.Values))
	for i, item := range sequence.Values {
		items[i] = value{node: item, key: fmt.Sprintf("%s[%d]", v.key, i), at: r.begin(item)}
	}
	return items, true
}

// text reads text.
func (r *reader) text(v value, want string) (string, bool) {
	node, ok := r.plain(v)
	if !ok {
		return "", false
	}
	text, ok := textOf(node)
	if !ok {
		r.wrong(v, node, want)
	}
	return text, ok
}

// plain is the value's node without what a manifest may not use: anchors, aliases
// and tags. It reports those; behind an alias there is no node.
func (r *reader) plain(v value) (ast.Node, bool) {
	node := v.node
	for {
		switch n := node.(type) {
		case *ast.AnchorNode:
			r.report(r.begin(n), v.key, "write the value out where it is needed; text that starts with & goes in quotes", "anchors (&) are not supported")
			node = n.Value
		case *ast.TagNode:
			r.report(r.begin(n), v.key, "leave the tag out; text that starts with ! goes in quotes", "tags (!) are not supported")
			node = n.Value
		case *ast.AliasNode:
			r.report(r.begin(n), v.key, "write the value out; text that starts with * goes in quotes", "aliases (*) are not supported")
			return nil, false
		case nil:
			r.report(v.at, v.key, "", "there is no value")
			return nil, false
		default:
			return node, true
		}
	}
}

// wrong reports a node of another type than wanted.
func (r *reader) wrong(v value, node ast.Node, want string) {
	r.report(r.begin(node), v.key, "", "expected %s, found %s", want, describe(node))
}

// textOf is the text that a node holds.
func textOf(node ast.Node) (string, bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		if n.Value == nil {
			return "", true
		}
		return n.Value.Value, true
	}
	return "", false
}

// describe says what a node is, for a sentence that ends with it.
func describe(node ast.Node) string {
	if text, ok := textOf(node); ok {
		return "the text " + quote(text)
	}
	switch node.(type) {
	case *ast.NullNode:
		return "nothing"
	case *ast.BoolNode:
		return "the truth value " + node.GetToken().Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "the number " + shorten(node.GetToken().Value)
	case *ast.MappingNode:
		return "a map"
	case *ast.SequenceNode:
		return "a list"
	}
	return "something else"
}

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

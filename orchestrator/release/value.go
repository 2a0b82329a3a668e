package release

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/golive-dev/golive/relay/protocol"
)

// value is a node of the manifest, the name of its place, and the reader that collects what
// is wrong with it. Each part of the manifest is read by functions that take one.
type value struct {
	r    *reader
	node ast.Node
	key  string   // "services.web.run"
	at   position // of its key
}

// begin is where the value starts, as a person sees it.
func (v value) begin() position { return v.r.begin(v.node) }

// under is the place of a key that the map v does not have.
func (v value) under(key string) value { return value{r: v.r, key: join(v.key, key), at: v.at} }

// report notes a mistake where the value starts.
func (v value) report(hint, format string, args ...any) {
	v.r.report(v.begin(), v.key, hint, format, args...)
}

// reportKey notes a mistake where the value's key stands.
func (v value) reportKey(hint, format string, args ...any) {
	v.r.report(v.at, v.key, hint, format, args...)
}

// breaks reports which rule of the protocol a name or a version breaks, if any.
func (v value) breaks(at position, err error) {
	var invalid *protocol.InvalidError
	if errors.As(err, &invalid) {
		v.r.report(at, v.key, "", "%s %s %s", invalid.Kind, quote(invalid.Value), invalid.Rule)
	}
}

// wrong reports a value of another type than wanted.
func (v value) wrong(want string) {
	v.report("", "expected %s, found %s", want, describe(v.node))
}

// later has something checked when all is read, as what it depends on may stand below.
func (v value) later(check func()) { v.r.checks = append(v.r.checks, check) }

// field is a key that a map may have, and what to do with its value.
type field struct {
	key       string
	required  string   // a value for the hint if it is missing; "": it may be missing
	fixed     bool     // it is the same in every environment
	byDefault string   // its value where it is missing, as [Manifest.Settings] tells it; "": it has none
	with      string   // the default holds only where this key is there; "": always
	of        []string // what a map must do, in which not all keys make sense, to have this one; nil: anything
	read      func(value)
}

// fields reads a map whose keys are known.
func (v value) fields(want string, fields []field) {
	if entries, ok := v.entries(want); ok {
		v.known(entries, fields)
	}
}

// known reads the entries of the map v, whose keys are known.
func (v value) known(entries []entry, fields []field) {
	given := map[string]bool{}
	for _, e := range entries {
		given[e.name] = true
		if i := indexOf(fields, e.name); i >= 0 {
			fields[i].read(e.value)
			continue
		}
		e.unknown(fields)
	}
	for _, f := range fields {
		if f.required != "" && !given[f.key] {
			v.under(f.key).reportKey(fmt.Sprintf("add %s: %s", f.key, f.required), "this key is required and missing")
		}
	}
}

// suited are the entries of a map that make sense for what it does, "" if that is not known;
// it reports the others. What is the word for such a map.
func suited(entries []entry, fields []field, what, does string) []entry {
	if does == "" {
		return entries
	}
	return slices.DeleteFunc(slices.Clone(entries), func(e entry) bool {
		i := indexOf(fields, e.name)
		if i < 0 || fields[i].of == nil || slices.Contains(fields[i].of, does) {
			return false
		}
		e.value.reportKey("remove it", "a %[1]s with %[2]s has no %[3]s: that is for %[1]ss with %[4]s", what, does, e.name, orList(fields[i].of))
		return true
	})
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
	return slices.IndexFunc(fields, func(f field) bool { return f.key == key })
}

// entry is a key of a map and its value.
type entry struct {
	name  string
	value value
}

// unknown reports a key that is none of the fields.
func (e entry) unknown(fields []field) {
	if e.value.at.source != 0 {
		fields = slices.DeleteFunc(slices.Clone(fields), func(f field) bool { return f.fixed })
	}
	valid := keys(fields)
	hint := didYouMean(e.name, valid)
	if e.value.key == e.name && slices.Contains(busKeys(), e.name) {
		hint = "it belongs to an environment: environments.NAME." + e.name
	}
	e.value.reportKey(hint, "unknown key %s: valid are %s", quote(e.name), strings.Join(bares(valid), ", "))
}

// entries reads a map of any keys; each key is there once.
func (v value) entries(want string) ([]entry, bool) {
	plain, ok := v.plain()
	if !ok {
		return nil, false
	}
	m, ok := plain.node.(*ast.MappingNode)
	if !ok {
		plain.wrong(want)
		return nil, false
	}
	var entries []entry
	first := map[string]position{}
	for _, pair := range m.Values {
		name, ok := v.name(pair.Key)
		if !ok {
			continue
		}
		e := entry{name, value{r: v.r, node: pair.Value, key: join(v.key, name), at: v.r.begin(pair.Key)}}
		if before, twice := first[name]; twice {
			v.r.twice(e.value.at, e.value.key, before)
			continue
		}
		first[name] = e.value.at
		entries = append(entries, e)
	}
	return entries, true
}

// name reads the key of a pair of the map v.
func (v value) name(key ast.MapKeyNode) (string, bool) {
	k := value{r: v.r, node: key, key: v.key}
	if key.IsMergeKey() {
		k.report("write the keys out", "merge keys (<<) are not supported")
		return "", false
	}
	plain, ok := k.plain()
	if !ok {
		return "", false
	}
	name, ok := plain.node.(*ast.StringNode)
	if !ok {
		plain.report("", "a key must be text, found %s", describe(plain.node))
		return "", false
	}
	return name.Value, true
}

// items reads a list.
func (v value) items(want string) ([]value, bool) {
	plain, ok := v.plain()
	if !ok {
		return nil, false
	}
	sequence, ok := plain.node.(*ast.SequenceNode)
	if !ok {
		plain.wrong(want)
		return nil, false
	}
	items := make([]value, len(sequence.Values))
	for i, item := range sequence.Values {
		items[i] = value{r: v.r, node: item, key: fmt.Sprintf("%s[%d]", v.key, i), at: v.r.begin(item)}
	}
	return items, true
}

// text reads text.
func (v value) text(want string) (string, bool) {
	plain, ok := v.plain()
	if !ok {
		return "", false
	}
	text, ok := textOf(plain.node)
	if !ok {
		plain.wrong(want)
	}
	return text, ok
}

// plain is the value without what a manifest may not use: anchors, aliases and tags. It
// reports those; behind an alias there is no value.
func (v value) plain() (value, bool) {
	for {
		switch n := v.node.(type) {
		case *ast.AnchorNode:
			v.report("write the value out where it is needed; text that starts with & goes in quotes", "anchors (&) are not supported")
			v.node = n.Value
		case *ast.TagNode:
			v.report("leave the tag out; text that starts with ! goes in quotes", "tags (!) are not supported")
			v.node = n.Value
		case *ast.AliasNode:
			v.report("write the value out; text that starts with * goes in quotes", "aliases (*) are not supported")
			return value{}, false
		case nil:
			v.reportKey("", "there is no value")
			return value{}, false
		default:
			return v, true
		}
	}
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

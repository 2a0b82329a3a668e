package release

import (
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// source is where a part of the manifest comes from: the manifest itself, the block of an
// environment in it, or the file of an environment beside it.
type source struct {
	file        string
	environment string // "": the manifest itself
	block       bool   // it is a block of the manifest, under the key environments
}

// key is the name of a place of the source in its file.
func (s source) key(key string) string {
	if !s.block {
		return key
	}
	return strings.TrimSuffix(join("environments", s.environment)+"."+key, ".")
}

// position is where something stands in its source; the zero position is the start.
type position struct{ line, column, source int }

// sources are all that a manifest is read from.
type sources struct {
	list []source         // the first is the manifest itself
	of   map[ast.Node]int // the place in the list of what a node comes from; a missing one comes from the manifest itself
}

// newSources are those of a manifest that says nothing of any environment.
func newSources(file string) *sources {
	return &sources{list: []source{{file: file}}, of: make(map[ast.Node]int)}
}

// add adds a source, and gives its place in the list.
func (s *sources) add(from source) int {
	s.list = append(s.list, from)
	return len(s.list) - 1
}

// mark notes of a node, and of each one below it, from which source it comes.
func (s *sources) mark(node ast.Node, source int) {
	if node == nil {
		return
	}
	s.of[node] = source
	switch n := node.(type) {
	case *ast.MappingNode:
		for _, pair := range n.Values {
			s.mark(pair.Key, source)
			s.mark(pair.Value, source)
		}
	case *ast.SequenceNode:
		for _, item := range n.Values {
			s.mark(item, source)
		}
	case *ast.AnchorNode:
		s.mark(n.Value, source)
	case *ast.TagNode:
		s.mark(n.Value, source)
	}
}

// begin is where a node starts, as a person sees it.
func (s *sources) begin(node ast.Node) position {
	if m, ok := node.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		return s.begin(m.Values[0].Key) // the map's own token is the first colon
	}
	at := positionOf(node.GetToken())
	at.source = s.of[node]
	return at
}

// positionOf is where a token stands; the zero position if that is not known.
func positionOf(tk *token.Token) position {
	if tk == nil || tk.Position == nil {
		return position{}
	}
	return position{line: tk.Position.Line, column: tk.Position.Column}
}

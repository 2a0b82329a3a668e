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

// mark remembers at each node below and with this one of which source it is: in the
// offsets of its tokens, which nobody needs once the text is taken apart.
func mark(node ast.Node, source int) {
	if node == nil {
		return
	}
	if tk := node.GetToken(); tk != nil && tk.Position != nil {
		tk.Position.Offset = source
	}
	switch n := node.(type) {
	case *ast.MappingNode:
		for _, pair := range n.Values {
			mark(pair.Key, source)
			mark(pair.Value, source)
		}
	case *ast.SequenceNode:
		for _, item := range n.Values {
			mark(item, source)
		}
	case *ast.AnchorNode:
		mark(n.Value, source)
	case *ast.TagNode:
		mark(n.Value, source)
	}
}

// begin is where a marked node starts, as a person sees it.
func begin(node ast.Node) position {
	if m, ok := node.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		return begin(m.Values[0].Key) // the map's own token is the first colon
	}
	tk := node.GetToken()
	at := positionOf(tk)
	if tk != nil && tk.Position != nil {
		at.source = tk.Position.Offset
	}
	return at
}

// positionOf is where a token stands; the zero position if that is not known.
func positionOf(tk *token.Token) position {
	if tk == nil || tk.Position == nil {
		return position{}
	}
	return position{line: tk.Position.Line, column: tk.Position.Column}
}

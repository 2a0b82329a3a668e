package release

import (
	"bytes"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// MaxSize is how many bytes the file of a manifest may have.
const MaxSize = 1 << 20

// What the YAML library needs to be guarded from. Its time grows with the square of
// the keys of a map and of the blank lines in a row, its memory with the square of
// the nesting; a manifest comes nowhere near.
const (
	maxKeys       = 10_000
	maxTokens     = 100_000
	maxNesting    = 20
	maxBlankLines = 100
)

// byteOrderMark is what some editors put before UTF-8; the YAML library takes it for text.
const byteOrderMark = "\ufeff"

// document makes the one value of a manifest's text, or reports why there is none.
func (r *reader) document(data []byte) (value, bool) {
	tokens, ok := r.tokens(data)
	if !ok {
		return value{}, false
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		r.syntax(err)
		return value{}, false
	}
	for _, doc := range file.Docs {
		if doc.Body != nil {
			r.mark(doc.Body, r.source)
			return value{r: r, node: doc.Body, at: r.begin(doc.Body)}, true
		}
	}
	if r.source == 0 {
		r.report(position{}, "", "write at least app, version and services", "the manifest is empty")
	} else {
		r.report(position{}, "", "write what is different in this environment, or remove the file", "the file is empty")
	}
	return value{}, false
}

// tokens splits data, and refuses what the parser had better not see.
func (r *reader) tokens(data []byte) (token.Tokens, bool) {
	switch {
	case len(data) > MaxSize:
		r.report(position{}, "", "", "the manifest is larger than %d bytes (1 MiB), the most that is allowed", MaxSize)
		return nil, false
	case !utf8.Valid(data):
		r.report(firstInvalid(data), "", "save it as UTF-8", "the manifest is not UTF-8 text")
		return nil, false
	}
	if line := blankLines(data); line > 0 {
		r.report(position{line: line, column: 1}, "", "", "more than %d blank lines in a row", maxBlankLines)
		return nil, false
	}
	tokens := lexer.Tokenize(strings.TrimPrefix(string(data), byteOrderMark))
	if tk := tokens.InvalidToken(); tk != nil {
		r.invalid(tk, tk.Error)
		return nil, false
	}
	return tokens, r.bounded(tokens) && r.oneDocument(tokens)
}

// syntax reports what the parser could not read.
func (r *reader) syntax(err error) {
	var at yaml.Error
	if errors.As(err, &at) {
		r.invalid(at.GetToken(), at.GetMessage())
		return
	}
	r.invalid(nil, err.Error())
}

// invalid reports what the YAML library says about a token.
func (r *reader) invalid(tk *token.Token, message string) {
	hint := "look at the indentation, quotes and brackets of this line and of the one above"
	if strings.ContainsRune(message, '\t') {
		hint = "indent with spaces, not with tabs"
	}
	r.report(positionOf(tk), "", hint, "this is not valid YAML: %s", printable(message))
}

// bounded reports whether the parser can read the tokens in a short time.
func (r *reader) bounded(tokens token.Tokens) bool {
	var keys, open, entries int
	for i, tk := range tokens {
		if i > 0 && tk.Position.Line != tokens[i-1].Position.Line {
			entries = 0
		}
		switch tk.Type {
		case token.MappingValueType:
			keys++
		case token.MappingStartType, token.SequenceStartType:
			open++
		case token.MappingEndType, token.SequenceEndType:
			open = max(open-1, 0)
		case token.SequenceEntryType:
			entries++ // "- - - a" nests too
		}
		switch {
		case keys > maxKeys:
			r.report(positionOf(tk), "", "", "more than %d keys", maxKeys)
			return false
		case i >= maxTokens:
			r.report(positionOf(tk), "", "", "more than %d words and signs", maxTokens)
			return false
		case open > maxNesting || entries > maxNesting:
			r.report(positionOf(tk), "", "", "lists and maps are nested more than %d deep", maxNesting)
			return false
		}
	}
	return true
}

// oneDocument reports whether the tokens are one document of plain maps and lists.
func (r *reader) oneDocument(tokens token.Tokens) bool {
	var content, ended bool
	for _, tk := range tokens {
		switch tk.Type {
		case token.CommentType:
		case token.DirectiveType:
			r.report(positionOf(tk), "", "remove this line", "YAML directives (%%) are not supported")
			return false
		case token.MappingKeyType:
			r.report(positionOf(tk), "", "write key: value", "keys written with ? are not supported")
			return false
		case token.DocumentEndType:
			ended = true
		case token.DocumentHeaderType:
			if content || ended {
				r.report(positionOf(tk), "", "give each manifest a file of its own", "a second YAML document starts here: a manifest is one")
				return false
			}
			content = true
		default:
			if ended {
				r.report(positionOf(tk), "", "give each manifest a file of its own", "there is text behind the end (...) of the YAML document")
				return false
			}
			content = true
		}
	}
	return true
}

// firstInvalid is where data stops being UTF-8.
func firstInvalid(data []byte) position {
	valid := data
	for i := 0; i < len(data); {
		char, size := utf8.DecodeRune(data[i:])
		if char == utf8.RuneError && size == 1 {
			valid = data[:i]
			break
		}
		i += size
	}
	line := valid[bytes.LastIndexByte(valid, '\n')+1:]
	return position{line: 1 + bytes.Count(valid, []byte{'\n'}), column: 1 + utf8.RuneCount(line)}
}

// blankLines is the line in which too many blank lines in a row end, or 0.
func blankLines(data []byte) int {
	line, ends := 1, 1 // ends: line ends since the last text
	for i, c := range data {
		switch {
		case c == '\n', c == '\r' && !bytes.HasPrefix(data[i+1:], []byte{'\n'}):
			line++
			ends++
		case c != ' ' && c != '\t' && c != '\r':
			ends = 0
		}
		if ends > maxBlankLines+1 {
			return line
		}
	}
	return 0
}

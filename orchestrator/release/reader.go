package release

import "fmt"

// reader reads a manifest once, as it is or as it is in an environment, and collects the
// mistakes on the way: after one it goes on, so that all come to light at once.
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

// report notes a mistake at a position, in the value of a key; the key "" is the file.
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

// twice reports a key that stands in the same map before.
func (r *reader) twice(at position, key string, before position) {
	r.report(at, key, "keep one of the two", "this key is there twice, first in line %d", before.line)
}

package release

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one mistake in a manifest.
type Problem struct {
	File    string // as it was given to Load or Parse, or the file of an environment beside it
	Line    int    // from 1
	Column  int    // from 1, in characters
	Key     string // "services.todo-search.migrations[0]"; "" if it is about the file as a whole
	Message string // what is wrong, and what would be right
	Hint    string // what to do about it; may be ""
}

// Error is the problem in one line, such as
//
//	golive.yaml:7:5: services.todo-search.migrations[0]: unknown phase "onlin": valid are before, offline, online
//
// The hint is not part of it: a command line prints it on a line of its own.
func (p Problem) Error() string {
	if p.Key == "" {
		return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
	}
	return fmt.Sprintf("%s:%d:%d: %s: %s", p.File, p.Line, p.Column, p.Key, p.Message)
}

// Errors are all mistakes of a manifest, in the order of its lines, then those of the
// files of environments beside it.
type Errors []Problem

// Error is a line for each problem.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// inOrder puts problems in the order in which a reader of the files meets them, each once:
// first those of the manifest itself, main, then those of the files beside it.
func inOrder(all []found, main string) Errors {
	slices.SortStableFunc(all, func(a, b found) int {
		return cmp.Or(
			beside(a.File, main)-beside(b.File, main), strings.Compare(a.File, b.File),
			cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	var problems Errors
	for _, f := range all {
		if !slices.Contains(problems[max(len(problems)-1, 0):], f.Problem) {
			problems = append(problems, f.Problem)
		}
	}
	return problems
}

// beside is 0 for the manifest itself, and 1 for a file beside it.
func beside(file, main string) int {
	if file == main {
		return 0
	}
	return 1
}

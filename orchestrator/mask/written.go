package mask

import (
	"fmt"
	"strconv"
	"strings"
)

// Written are the rules for one stream or bucket, as a manifest has them: what becomes of a field,
// by its path, and of a token, as "#1", counted from 1. Of a bucket the tokens are those of a key.
type Written map[string]Kind

// Words of [Written].
const (
	All         = "*"          // as its only path, with Pass: nothing is masked, on purpose
	Pass        = Kind("pass") // of All alone
	tokenPrefix = "#"
)

// Limits of [Written], and of how many there are.
const (
	MaxParts = 300 // streams and buckets
	MaxRules = 100 // of one of them
	MaxPath  = 256 // bytes
)

// Passes reports whether nothing is masked, on purpose.
func (w Written) Passes() bool { return len(w) == 1 && w[All] == Pass }

// Validate says which rule is wrong, and how it can be right.
func (w Written) Validate() error {
	if len(w) > MaxRules {
		return fmt.Errorf("there are %d rules, at most %d are allowed", len(w), MaxRules)
	}
	for path := range w {
		if len(path) > MaxPath {
			return fmt.Errorf("a path has %d bytes, at most %d are allowed", len(path), MaxPath)
		}
	}
	if w.Passes() {
		return nil
	}
	_, err := w.With(make([]byte, MinKey))
	return err
}

// With makes a mask of the rules, as [New] does.
func (w Written) With(key []byte) (*Mask, error) {
	rules := Rules{Fields: make(map[string]Kind), Tokens: make(map[int]Kind)}
	for path, kind := range w {
		number, isToken := strings.CutPrefix(path, tokenPrefix)
		if !isToken {
			rules.Fields[path] = kind
			continue
		}
		n, err := strconv.Atoi(number)
		if err != nil {
			return nil, fmt.Errorf("mask: %q is no token: write the first one as #1", path)
		}
		rules.Tokens[n] = kind
	}
	return New(key, rules)
}

// And are the rules of both. Where both are about the same field or token, those of w count.
func (w Written) And(other Written) Written {
	switch {
	case len(w) == 0 || w.Passes() && len(other) > 0:
		return other
	case len(other) == 0 || other.Passes():
		return w
	}
	both := make(Written)
	for path, kind := range other {
		both[path] = kind
	}
	for path, kind := range w {
		both[path] = kind
	}
	return both
}

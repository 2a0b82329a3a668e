package protocol

import (
	"encoding/json"
	"math"
	"strconv"
)

// ParseNumber reads a number from 1 on, as headers have it: decimal digits and nothing else,
// without a sign, a point or a zero before them. False says that it is none, or has more than
// 64 bits.
func ParseNumber(text string) (uint64, bool) {
	n, err := strconv.ParseUint(text, 10, 64)
	return n, err == nil && n > 0 && strconv.FormatUint(n, 10) == text
}

// ParseAttempt reads the number of an attempt, as [ParseNumber] does. The error is an
// *[InvalidError].
func ParseAttempt(text string) (int, error) {
	n, ok := ParseNumber(text)
	if !ok || n > math.MaxInt {
		return 0, &InvalidError{Kind: "attempt", Value: text, Rule: "is no number from 1"}
	}
	return int(n), nil
}

// About tells which attempt a message about a script is about: its headers say so, or else the
// fields of its payload, which may be no JSON at all. An empty rollout and attempt 0 are not
// named. What is named and cannot be is an *[InvalidError], also in a field where a header wins
// over it: a sender that is wrong about its attempt must not be taken for another one's.
func About(header map[string][]string, payload []byte) (rollout string, attempt int, err error) {
	var named struct{ Rollout, Attempt json.RawMessage }
	_ = json.Unmarshal(payload, &named) // text names nothing
	if present(named.Rollout) && json.Unmarshal(named.Rollout, &rollout) != nil {
		return "", 0, &InvalidError{Kind: "rollout", Value: string(named.Rollout), Rule: "is no text"}
	}
	if present(named.Attempt) {
		if attempt, err = ParseAttempt(string(named.Attempt)); err != nil {
			return "", 0, err
		}
	}
	if id := header[HeaderRollout]; len(id) > 0 && id[0] != "" {
		rollout = id[0]
	}
	for _, text := range header[HeaderAttempt] {
		if attempt, err = ParseAttempt(text); err != nil {
			return "", 0, err
		}
	}
	return rollout, attempt, nil
}

// present reports whether a field of JSON was there; null is absent.
func present(field json.RawMessage) bool { return len(field) > 0 && string(field) != "null" }

package protocol

import (
	"fmt"
	"regexp"
	"strings"
)

// Limits of names, in bytes.
const (
	MaxName    = 63 // of an app or a service
	MaxVersion = 64
	MaxTokens  = 4 // of a message of a service
)

// InvalidError says which rule of the protocol a name, version, message or number broke.
type InvalidError struct {
	Kind  string // "name", "version", "message", "phase", "attempt" or "rollout"
	Value string // what was given
	Rule  string // the rule that it broke, as the end of a sentence: "must start with a letter"
}

// Error says what was given and the rule it broke.
func (e *InvalidError) Error() string {
	return fmt.Sprintf("%s %q %s", e.Kind, e.Value, e.Rule)
}

var (
	nameChars     = regexp.MustCompile(`^[a-z0-9-]*$`)
	messageToken  = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	versionFormat = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)` +
		`(-(0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)(\.(0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*))*)?` +
		`(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$`)
)

// ValidateName reports whether an app or a service may be called name. The error
// is an *[InvalidError].
func ValidateName(name string) error {
	broken := func(rule string) error { return &InvalidError{Kind: "name", Value: name, Rule: rule} }
	switch {
	case name == "":
		return broken("must not be empty")
	case !nameChars.MatchString(name):
		return broken("may hold only lower-case letters, digits and hyphens")
	case len(name) > MaxName:
		return broken(fmt.Sprintf("is %d characters long, at most %d are allowed", len(name), MaxName))
	case name[0] < 'a' || name[0] > 'z':
		return broken("must start with a letter")
	case strings.HasSuffix(name, "-"):
		return broken("must not end with a hyphen")
	case strings.Contains(name, "--"):
		return broken("must not hold two hyphens in a row")
	case name == "golive" || strings.HasPrefix(name, "golive-"):
		return broken("is reserved: golive and names that start with golive- are the orchestrator's own")
	}
	return nil
}

// ValidateVersion reports whether version is a SemVer 2.0 version within the
// protocol's length. The error is an *[InvalidError].
func ValidateVersion(version string) error {
	broken := func(rule string) error { return &InvalidError{Kind: "version", Value: version, Rule: rule} }
	switch {
	case version == "":
		return broken("must not be empty")
	case version[0] == 'v' || version[0] == 'V':
		return broken("must not start with a v: write 1.0.0, not v1.0.0")
	case !versionFormat.MatchString(version):
		return broken("must be a SemVer 2.0 version such as 1.0.0 or 1.0.0-rc.1+build.5")
	case len(version) > MaxVersion:
		return broken(fmt.Sprintf("is %d characters long, at most %d are allowed", len(version), MaxVersion))
	}
	return nil
}

// ValidateMessage reports whether message can be a message of a service: the part
// behind "<service>.". The error is an *[InvalidError].
func ValidateMessage(message string) error {
	broken := func(rule string) error { return &InvalidError{Kind: "message", Value: message, Rule: rule} }
	tokens := strings.Split(message, ".")
	if len(tokens) > MaxTokens {
		return broken(fmt.Sprintf("has %d tokens, at most %d are allowed", len(tokens), MaxTokens))
	}
	for _, token := range tokens {
		if !messageToken.MatchString(token) {
			return broken("must be tokens of letters, digits, _ and -, joined by dots")
		}
	}
	return nil
}

// SplitMessage takes the name of a message of a service, such as
// "todo-search.add", apart: a service's name holds no dot. The error is an
// *[InvalidError].
func SplitMessage(name string) (service, message string, err error) {
	service, message, found := strings.Cut(name, ".")
	if !found {
		return "", "", &InvalidError{Kind: "message", Value: name, Rule: "must be written <service>.<message>, such as todos.list"}
	}
	if err := ValidateName(service); err != nil {
		return "", "", err
	}
	return service, message, ValidateMessage(message)
}

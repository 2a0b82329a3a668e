package rollout

import (
	"fmt"
	"net/url"
	"strings"
	"unicode"
)

// Limits of a [Source], in bytes.
const (
	MaxDescribe = 256
	MaxRemote   = 512
	MaxFolder   = 1024
)

// Source says from which commit of a git repository a release was taken. It tells where to look
// and is no part of what is rolled out: neither the digest of a manifest nor the id of a plan
// depends on it.
type Source struct {
	Commit   string `json:"commit"`             // its whole id, 40 or 64 hexadecimal digits
	Describe string `json:"describe,omitempty"` // the commit as git describe names it; empty: not known
	Dirty    bool   `json:"dirty,omitempty"`    // the folder differed from the commit
	Remote   string `json:"remote,omitempty"`   // where the repository comes from, without credentials; empty: from nowhere
	Folder   string `json:"folder,omitempty"`   // of the manifest within the repository, with slashes; empty: its top
}

// validate reports what is wrong with a source that came over the wire. A remote with
// credentials is refused, because what a release says is kept for years and shown to everybody.
func (s *Source) validate() error {
	if s == nil {
		return nil
	}
	if n := len(s.Commit); n != 40 && n != 64 || strings.Trim(s.Commit, "0123456789abcdef") != "" {
		return fmt.Errorf("source: commit %q is no whole id of a commit", Clip(s.Commit))
	}
	for _, text := range []struct {
		name, value string
		most        int
	}{{"describe", s.Describe, MaxDescribe}, {"remote", s.Remote, MaxRemote}, {"folder", s.Folder, MaxFolder}} {
		if len(text.value) > text.most {
			return fmt.Errorf("source: %s has %d bytes, at most %d are allowed", text.name, len(text.value), text.most)
		}
		if strings.ContainsFunc(text.value, unicode.IsControl) {
			return fmt.Errorf("source: %s holds control characters", text.name)
		}
	}
	if HasCredentials(s.Remote) {
		return fmt.Errorf("source: remote holds credentials, leave them out")
	}
	return nil
}

// HasCredentials reports whether the address of a git repository may hold a secret: a password,
// a token in the place of a user, or a query. The user of an address for ssh is none.
func HasCredentials(remote string) bool {
	if !strings.Contains(remote, "://") {
		return strings.ContainsAny(remote, "?#") || hasPassword(remote)
	}
	u, err := url.Parse(remote)
	if err != nil || u.RawQuery != "" || u.Fragment != "" {
		return true
	}
	_, secret := u.User.Password()
	return secret || u.User != nil && u.Scheme != "ssh" && u.Scheme != "git+ssh"
}

// hasPassword reports whether an address like user@host:path has a password with its user.
func hasPassword(remote string) bool {
	user, _, found := strings.Cut(remote, "@")
	return found && strings.Contains(user, ":")
}

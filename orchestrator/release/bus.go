package release

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// busKeys are the keys of an environment that the manifest itself does not have.
func busKeys() []string { return keys((&reader{}).busFields(&Environment{})) }

// busFields are the keys of an environment that tell where its bus is.
func (r *reader) busFields(e *Environment) []field {
	return []field{
		{key: "nats", read: func(v value) { e.NATS = r.natsURLs(v) }},
		{key: "creds", read: func(v value) { e.Creds = r.reference(v, "a file of credentials like secrets/staging.creds") }},
		{key: "context", read: func(v value) { e.Context = r.natsContext(v, e) }},
	}
}

// natsURLs reads where the bus is: a URL, or several with commas between.
func (r *reader) natsURLs(v value) string {
	const want = "a URL like nats://staging:4222"
	text, ok := r.text(v, want)
	if !ok {
		return ""
	}
	at := r.begin(v.node)
	for part := range strings.SplitSeq(text, ",") {
		u, err := url.Parse(strings.TrimSpace(part))
		_, secret := userOf(u)
		switch {
		case secret || masked(part) != part:
			r.report(at, v.key, "name a file with creds, or a context of the nats command line", "a URL in a manifest cannot hold a password")
		case err != nil || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) || u.Hostname() == "":
			r.report(at, v.key, natsHint(part), "expected %s, found the text %s", want, quote(part))
		}
	}
	return text
}

// userOf is the user in a URL, and whether there is a password with it.
func userOf(u *url.URL) (string, bool) {
	if u == nil || u.User == nil {
		return "", false
	}
	_, secret := u.User.Password()
	return u.User.Username(), secret
}

var hostAndPort = regexp.MustCompile(`^[A-Za-z0-9.-]+(:[0-9]+)?$`)

// natsHint is the hint for text that is a URL but for its beginning.
func natsHint(text string) string {
	if hostAndPort.MatchString(text) {
		return "write nats://" + text
	}
	return ""
}

// reference reads the name of a file.
func (r *reader) reference(v value, want string) string {
	name, ok := r.text(v, want)
	if ok && (strings.TrimSpace(name) == "" || strings.ContainsFunc(name, unicode.IsControl)) {
		r.report(r.begin(v.node), v.key, "", "expected %s, found the text %s", want, quote(name))
	}
	return name
}

var contextName = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$`)

// natsContext reads the name of a context of the nats command line.
func (r *reader) natsContext(v value, e *Environment) string {
	const want = "the name of a context of the nats command line, like prod"
	r.checks = append(r.checks, func() { // they may stand below
		if e.NATS != "" || e.Creds != "" {
			r.report(v.at, v.key, "keep one of the two", "a context says where the bus is and with which credentials: it cannot stand beside nats or creds")
		}
	})
	name, ok := r.text(v, want)
	if ok && !contextName.MatchString(name) {
		r.report(r.begin(v.node), v.key, "", "expected %s, found the text %s", want, quote(name))
	}
	return name
}

var password = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://[^/?#\s:@]*):[^/?#\s]*@`)

// masked is text without the passwords in its URLs.
func masked(text string) string { return password.ReplaceAllString(text, "$1:xxxxx@") }

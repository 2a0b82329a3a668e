package release

import (
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// busKeys are the keys of an environment that the manifest itself does not have.
func busKeys() []string { return keys(busFields(&Environment{})) }

// busFields are the keys of an environment that tell where its bus is.
func busFields(e *Environment) []field {
	return []field{
		{key: "nats", read: func(v value) { e.NATS = readNATSURLs(v) }},
		{key: "creds", read: func(v value) { e.Creds = readFileName(v, "a file of credentials like secrets/staging.creds") }},
		{key: "context", read: func(v value) { e.Context = readNATSContext(v, e) }},
		{key: "jsDomain", read: func(v value) { e.Domain = readDomain(v) }},
	}
}

// readNATSURLs reads where the bus is: a URL, or several with commas between.
func readNATSURLs(v value) string {
	const want = "a URL like nats://staging:4222"
	text, ok := v.text(want)
	if !ok {
		return ""
	}
	for part := range strings.SplitSeq(text, ",") {
		u, err := url.Parse(strings.TrimSpace(part))
		_, secret := userOf(u)
		switch {
		case secret || masked(part) != part:
			v.report("name a file with creds, or a context of the nats command line", "a URL in a manifest cannot hold a password")
		case err != nil || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) || u.Hostname() == "":
			v.report(natsHint(part), "expected %s, found the text %s", want, quote(part))
		case !isPort(u.Port()):
			v.report("write one from 1 to 65535", "there is no port %s", u.Port())
		}
	}
	return text
}

// isPort reports whether there is such a port; an empty one is that which NATS has by itself.
func isPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil && n > 0
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

// readFileName reads the name of a file.
func readFileName(v value, want string) string {
	name, ok := v.text(want)
	if ok && (strings.TrimSpace(name) == "" || strings.ContainsFunc(name, unicode.IsControl)) {
		v.report("", "expected %s, found the text %s", want, quote(name))
	}
	return name
}

var domainName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,100}$`)

// readDomain reads the name of a JetStream domain.
func readDomain(v value) string {
	const want = "the name of a JetStream domain, like hub"
	name, ok := v.text(want)
	if ok && !domainName.MatchString(name) {
		v.report("", "expected %s, found the text %s", want, quote(name))
	}
	return name
}

var contextName = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$`)

// readNATSContext reads the name of a context of the nats command line.
func readNATSContext(v value, e *Environment) string {
	const want = "the name of a context of the nats command line, like prod"
	v.later(func() { // they may stand below
		if e.NATS != "" || e.Creds != "" {
			v.reportKey("keep one of the two", "a context says where the bus is and with which credentials: it cannot stand beside nats or creds")
		}
	})
	name, ok := v.text(want)
	if ok && !contextName.MatchString(name) {
		v.report("", "expected %s, found the text %s", want, quote(name))
	}
	return name
}

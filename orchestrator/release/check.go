package release

import (
	"encoding/json"
	"net/url"
	"slices"
	"time"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// Limits of a check.
const (
	MaxTries      = 1000             // how often it may look
	MinPause      = time.Second / 10 // between two tries
	MaxPause      = time.Hour        // between two tries
	MaxHealthyFor = 24 * time.Hour   // that it must be well without a break

	minExpect, maxExpect = 100, 599 // status codes of HTTP
)

// What a check has unless the manifest says otherwise.
const (
	defaultPause  = time.Second
	defaultWithin = 10 * time.Second
)

// Check looks at something until that is well. Exactly one of Args, Shell, HTTP and Message
// is set.
type Check struct {
	Args  []string // a program; it is well if it exits with 0
	Shell string   // a line for sh -c

	HTTP   string // the URL of a GET request
	Expect int    // of HTTP: the status code; 0: any from 200 to 299

	Message string // the name of a message to a service of the release, like todos.count, at the private address of the version that the release brings
	Payload string // of Message: JSON; empty: no payload

	Contains string // of HTTP and Message: text that the answer must hold; empty: any

	Tries      int           // how often it is looked at until it has failed; 0: 1
	Pause      time.Duration // between two tries; 0: one second
	HealthyFor time.Duration // how long it must be well without a break; 0: once is enough
	Within     time.Duration // that one try may take; 0: ten seconds
}

// Where a check looks, by the keys of which it has exactly one.
const (
	looksHTTP    = "http"
	looksMessage = "message"
)

// looks are the keys of which a check has exactly one.
func looks() []string { return []string{"command", "shell", looksHTTP, looksMessage} }

// readCheck reads a look at something.
func readCheck(v value, m *Manifest) *Check {
	entries, ok := v.entries(`a check, a map like {http: "http://127.0.0.1:8080/health"}`)
	if !ok {
		return nil
	}
	c := &Check{}
	fields := checkFields(c, m)
	v.known(suited(entries, fields, "check", looksAt(v, entries)), fields)
	return c
}

// looksAt is where a check looks; "" if it does not say, or says several.
func looksAt(v value, entries []entry) string {
	at := ""
	for _, e := range entries {
		switch {
		case !slices.Contains(looks(), e.name):
		case at != "":
			e.value.reportKey("make two steps of them", "a check looks at one of %s, and this one has %s already", list(looks()), at)
		default:
			at = e.name
		}
	}
	if at == "" {
		v.reportKey("", "this check looks at nothing: give it one of %s", list(looks()))
	}
	return at
}

// checkFields are the keys of a check.
func checkFields(c *Check, m *Manifest) []field {
	return []field{
		{key: "command", read: func(v value) { c.Args = readStepCommand(v) }},
		{key: "shell", read: func(v value) { c.Shell = readShell(v) }},
		{key: "http", read: func(v value) { c.HTTP = readHTTPURL(v) }},
		{key: "expect", of: []string{looksHTTP}, read: func(v value) { c.Expect, _ = readWhole(v, minExpect, maxExpect) }},
		{key: "message", read: func(v value) { c.Message = readMessage(v, m) }},
		{key: "payload", of: []string{looksMessage}, read: func(v value) { c.Payload = readPayload(v) }},
		{key: "contains", of: []string{looksHTTP, looksMessage}, read: func(v value) { c.Contains = readProse(v, "text that the answer must hold") }},
		{key: "tries", byDefault: "1", read: func(v value) { c.Tries, _ = readWhole(v, 1, MaxTries) }},
		{key: "pause", byDefault: defaultPause.String(), with: "tries", read: func(v value) {
			c.Pause = readBetween(v, span{what: "a pause", like: "500ms, 10s or 1m30s", units: "h, m, s and ms", hint: "leave the key out for " + brief(defaultPause), least: MinPause, most: MaxPause})
		}},
		{key: "healthyFor", read: func(v value) {
			c.HealthyFor = readBetween(v, span{what: "a time to be well", like: "5s or 10m", units: "h, m, s and ms", hint: "leave the key out if once is enough", least: time.Nanosecond, most: MaxHealthyFor})
		}},
		{key: "within", byDefault: defaultWithin.String(), read: func(v value) {
			c.Within = readBetween(v, span{what: "the time of a try", like: "500ms or 10s", units: "h, m, s and ms", hint: "leave the key out for " + brief(defaultWithin), least: time.Nanosecond, most: MaxPause})
		}},
	}
}

// readHTTPURL reads the URL of a GET request.
func readHTTPURL(v value) string {
	text, ok := v.text("a URL like http://127.0.0.1:8080/health")
	if !ok {
		return ""
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || len(text) > rollout.MaxText:
		v.report("", "expected a URL like http://127.0.0.1:8080/health, found the text %s", quote(text))
	case u.User != nil:
		v.report("use a command that reads the secret where it runs", "a URL in a manifest cannot hold a user or a password")
	}
	return text
}

// readMessage reads the name of a message to a service of the release.
func readMessage(v value, m *Manifest) string {
	name, ok := v.text("a message like todos.count")
	if !ok {
		return ""
	}
	service, _, err := protocol.SplitMessage(name)
	if err != nil {
		v.breaks(v.begin(), err)
		return name
	}
	v.later(func() { // the services may stand below
		ofRelease(v, service, m)
	})
	return name
}

// readPayload reads the JSON of a message.
func readPayload(v value) string {
	text, ok := v.text(`JSON in quotes like '{"count": 1}'`)
	if ok && !json.Valid([]byte(text)) {
		v.report("", `expected JSON like '{"count": 1}', found the text %s`, quote(text))
	}
	return text
}

// checkDigest is what counts of a check.
type checkDigest struct {
	Args       []string      `json:"args,omitempty"`
	Shell      string        `json:"shell,omitempty"`
	HTTP       string        `json:"http,omitempty"`
	Expect     int           `json:"expect,omitempty"`
	Message    string        `json:"message,omitempty"`
	Payload    string        `json:"payload,omitempty"`
	Contains   string        `json:"contains,omitempty"`
	Tries      int           `json:"tries,omitempty"`
	Pause      time.Duration `json:"pause,omitempty"`
	HealthyFor time.Duration `json:"healthyFor,omitempty"`
	Within     time.Duration `json:"within,omitempty"`
}

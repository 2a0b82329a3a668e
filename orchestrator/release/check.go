package release

import (
	"encoding/json"
	"net/url"
	"slices"
	"time"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// What a check has unless the manifest says otherwise.
const (
	defaultPause  = time.Second
	defaultWithin = 10 * time.Second
)

// Where a check looks, by the keys of which it has exactly one.
const (
	looksHTTP    = "http"
	looksMessage = "message"
)

func looks() []string { return []string{"command", "shell", looksHTTP, looksMessage} }

// readCheck reads a look at something.
func readCheck(v value, m *Manifest) *Check {
	entries, ok := v.entries(`a check, a map like {http: "http://127.0.0.1:8080/health"}`)
	if !ok {
		return nil
	}
	c := &Check{}
	at := looksAt(v, entries)
	entries = slices.DeleteFunc(entries, func(e entry) bool {
		of := answersOf(e.name)
		if at == "" || of == nil || slices.Contains(of, at) {
			return false
		}
		e.value.reportKey("remove it", "a check with %s has no %s: that is for checks with %s", at, e.name, orList(of))
		return true
	})
	v.known(entries, checkFields(c, m))
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

// answersOf are the looks that a key of a check is for; nil: all.
func answersOf(key string) []string {
	switch key {
	case "expect":
		return []string{looksHTTP}
	case "payload":
		return []string{looksMessage}
	case "contains":
		return []string{looksHTTP, looksMessage}
	}
	return nil
}

// checkFields are the keys of a check.
func checkFields(c *Check, m *Manifest) []field {
	return []field{
		{key: "command", read: func(v value) { c.Args = readStepCommand(v) }},
		{key: "shell", read: func(v value) { c.Shell = readShell(v) }},
		{key: "http", read: func(v value) { c.HTTP = readHTTPURL(v) }},
		{key: "expect", read: func(v value) { c.Expect, _ = readWhole(v, 100, 599) }},
		{key: "message", read: func(v value) { c.Message = readMessage(v, m) }},
		{key: "payload", read: func(v value) { c.Payload = readPayload(v) }},
		{key: "contains", read: func(v value) { c.Contains = readProse(v, "text that the answer must hold") }},
		{key: "tries", read: func(v value) { c.Tries, _ = readWhole(v, 1, MaxTries) }},
		{key: "pause", read: func(v value) {
			c.Pause = readBetween(v, span{what: "a pause", like: "500ms, 10s or 1m30s", units: "h, m, s and ms", hint: "leave the key out for 1s", least: MinPause, most: MaxPause})
		}},
		{key: "healthyFor", read: func(v value) {
			c.HealthyFor = readBetween(v, span{what: "a time to be well", like: "5s or 10m", units: "h, m, s and ms", hint: "leave the key out if once is enough", least: time.Nanosecond, most: MaxHealthyFor})
		}},
		{key: "within", read: func(v value) {
			c.Within = readBetween(v, span{what: "the time of a try", like: "500ms or 10s", units: "h, m, s and ms", hint: "leave the key out for 10s", least: time.Nanosecond, most: MaxPause})
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

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

// check reads a look at something.
func (r *reader) check(v value, m *Manifest) *Check {
	entries, ok := r.entries(v, `a check, a map like {http: "http://127.0.0.1:8080/health"}`)
	if !ok {
		return nil
	}
	c := &Check{}
	at := r.looksAt(v, entries)
	entries = slices.DeleteFunc(entries, func(e entry) bool {
		of := answersOf(e.name)
		if at == "" || of == nil || slices.Contains(of, at) {
			return false
		}
		r.report(e.value.at, e.value.key, "remove it", "a check with %s has no %s: that is for checks with %s", at, e.name, orList(of))
		return true
	})
	r.known(v, entries, r.checkFields(c, m))
	return c
}

// looksAt is where a check looks; "" if it does not say, or says several.
func (r *reader) looksAt(v value, entries []entry) string {
	at := ""
	for _, e := range entries {
		switch {
		case !slices.Contains(looks(), e.name):
		case at != "":
			r.report(e.value.at, e.value.key, "make two steps of them", "a check looks at one of %s, and this one has %s already", list(looks()), at)
		default:
			at = e.name
		}
	}
	if at == "" {
		r.report(v.at, v.key, "", "this check looks at nothing: give it one of %s", list(looks()))
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
func (r *reader) checkFields(c *Check, m *Manifest) []field {
	return []field{
		{key: "command", read: func(v value) { c.Args = r.stepCommand(v) }},
		{key: "shell", read: func(v value) { c.Shell = r.line(v) }},
		{key: "http", read: func(v value) { c.HTTP = r.httpURL(v) }},
		{key: "expect", read: func(v value) { c.Expect, _ = r.whole(v, 100, 599) }},
		{key: "message", read: func(v value) { c.Message = r.message(v, m) }},
		{key: "payload", read: func(v value) { c.Payload = r.payload(v) }},
		{key: "contains", read: func(v value) { c.Contains = r.prose(v, "text that the answer must hold") }},
		{key: "tries", read: func(v value) { c.Tries, _ = r.whole(v, 1, MaxTries) }},
		{key: "pause", read: func(v value) {
			c.Pause = r.between(v, span{what: "a pause", like: "500ms, 10s or 1m30s", units: "h, m, s and ms", hint: "leave the key out for 1s", least: MinPause, most: MaxPause})
		}},
		{key: "healthyFor", read: func(v value) {
			c.HealthyFor = r.between(v, span{what: "a time to be well", like: "5s or 10m", units: "h, m, s and ms", hint: "leave the key out if once is enough", least: time.Nanosecond, most: MaxHealthyFor})
		}},
		{key: "within", read: func(v value) {
			c.Within = r.between(v, span{what: "the time of a try", like: "500ms or 10s", units: "h, m, s and ms", hint: "leave the key out for 10s", least: time.Nanosecond, most: MaxPause})
		}},
	}
}

// httpURL reads the URL of a GET request.
func (r *reader) httpURL(v value) string {
	text, ok := r.text(v, "a URL like http://127.0.0.1:8080/health")
	if !ok {
		return ""
	}
	at := r.begin(v.node)
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || len(text) > rollout.MaxText:
		r.report(at, v.key, "", "expected a URL like http://127.0.0.1:8080/health, found the text %s", quote(text))
	case u.User != nil:
		r.report(at, v.key, "use a command that reads the secret where it runs", "a URL in a manifest cannot hold a user or a password")
	}
	return text
}

// message reads the name of a message to a service of the release.
func (r *reader) message(v value, m *Manifest) string {
	name, ok := r.text(v, "a message like todos.count")
	if !ok {
		return ""
	}
	service, _, err := protocol.SplitMessage(name)
	if err != nil {
		r.breaks(r.begin(v.node), v.key, err)
		return name
	}
	r.checks = append(r.checks, func() { // the services may stand below
		r.ofRelease(v, service, m)
	})
	return name
}

// payload reads the JSON of a message.
func (r *reader) payload(v value) string {
	text, ok := r.text(v, `JSON in quotes like '{"count": 1}'`)
	if ok && !json.Valid([]byte(text)) {
		r.report(r.begin(v.node), v.key, "", `expected JSON like '{"count": 1}', found the text %s`, quote(text))
	}
	return text
}

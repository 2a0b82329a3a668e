package release

import (
	"fmt"
	"strings"
	"time"

	"github.com/golive-dev/golive/orchestrator/rollout"
)

// Limits of the durations that scripts, commands and checks have, beside those of package
// rollout.
const (
	MaxTimeout = 30 * 24 * time.Hour // of one script
	MinBackoff = time.Second / 10    // before the first retry
)

// readTimeout reads how long a script may take.
func readTimeout(v value) rollout.Duration {
	const (
		want    = "a duration like 90s, 10m or 1h30m"
		noLimit = "leave the key out for no limit"
	)
	timeout, text, ok := readDuration(v, want, "the units are h, m, s and ms")
	switch {
	case !ok:
	case timeout <= 0:
		v.report(noLimit, "a timeout must be longer than 0, found %s", quote(text))
	case timeout > MaxTimeout:
		v.report(noLimit, "a timeout is at most %vh (%v days), found %s", MaxTimeout.Hours(), MaxTimeout.Hours()/24, quote(text))
	}
	return rollout.Duration(timeout)
}

// readBackoff reads the pause before the first retry of so many.
func readBackoff(v value, retries *int) rollout.Duration {
	v.later(func() { // the retries may stand below
		if *retries == 0 {
			v.reportKey("give retries, such as retries: 3, or remove backoff", "without retries this has no effect")
		}
	})
	hint := fmt.Sprintf("leave the key out for %v", rollout.DefaultBackoff)
	return rollout.Duration(readBetween(v, span{what: "a pause", like: "500ms, 10s or 1m30s", units: "m, s and ms", hint: hint, least: MinBackoff, most: rollout.MaxBackoff}))
}

// span is what a duration may be.
type span struct {
	what        string // "a pause"
	like, units string // examples
	hint        string // if it is too short or too long; may be ""
	least, most time.Duration
}

// readBetween reads a duration from the least to the most.
func readBetween(v value, s span) time.Duration {
	duration, text, ok := readDuration(v, "a duration like "+s.like, "the units are "+s.units)
	switch {
	case !ok:
	case duration <= 0 && s.least <= time.Nanosecond:
		v.report(s.hint, "%s must be longer than 0, found %s", s.what, quote(text))
	case duration < s.least:
		v.report(s.hint, "%s is at least %s, found %s", s.what, brief(s.least), quote(text))
	case duration > s.most:
		v.report(s.hint, "%s is at most %s, found %s", s.what, brief(s.most), quote(text))
	}
	return duration
}

// brief is a duration without what is zero: 5m, where Go writes 5m0s.
func brief(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// readDuration reads a duration and the text it is written in.
func readDuration(v value, want, units string) (time.Duration, string, bool) {
	text, ok := v.text(want)
	if !ok {
		return 0, "", false
	}
	duration, err := time.ParseDuration(text)
	if err != nil {
		v.report(units, "expected %s, found the text %s", want, quote(text))
		return 0, "", false
	}
	return duration, text, true
}

package terminal

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Ago is how a table tells a time. One that is yet to come, by the clock that times are told by
// (see [ClockAhead]), is of another clock, and told as that has it.
func Ago(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	d := since(t)
	switch {
	case d < -2*time.Second:
		return t.UTC().Format("2006-01-02 15:04:05Z")
	case d < 0:
		return "0s ago"
	case d < time.Minute:
		return fmt.Sprintf("%ds ago", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh ago", int(d.Hours()))
	}
	return fmt.Sprintf("%dd ago", int(d.Hours()/24))
}

// Took is how a person is told a duration.
func Took(d time.Duration) string {
	switch {
	case d < 0:
		return "-"
	case d < 10*time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// OrDash is text, or a dash where there is none.
func OrDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// NonEmpty are those of the texts that are not empty. It changes what it is given.
func NonEmpty(texts ...string) []string {
	return slices.DeleteFunc(texts, func(text string) bool { return text == "" })
}

// Plural is a number of things: 1 step, 2 steps.
func Plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return Grouped(int64(n)) + " " + what + "s"
}

// PerSecond is how a person is told a rate.
func PerSecond(rate float64) string {
	switch {
	case rate < 0.095:
		return fmt.Sprintf("%.2g/s", rate)
	case rate < 9.95:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", rate), ".0") + "/s"
	}
	return Grouped(int64(math.Round(rate))) + "/s"
}

// Grouped is a number with a comma before each third digit from the right, from five
// digits on.
func Grouped(n int64) string {
	text := fmt.Sprint(n)
	if n < 10000 {
		return text
	}
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// PathFrom is a path as it is seen from a folder, if that is shorter.
func PathFrom(dir, path string) string {
	if rel, err := filepath.Rel(dir, path); err == nil && len(rel) < len(path) {
		return rel
	}
	return path
}

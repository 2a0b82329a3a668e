package protocol

import "time"

// Duration is a time.Duration that JSON has as text: "5s", "1m30s". Every duration of the
// protocol is one.
type Duration time.Duration

// Until is how long it is from now until a deadline, to the millisecond: 0 where there is none,
// and no less than a millisecond where it has passed.
func Until(deadline, now time.Time) Duration {
	if deadline.IsZero() {
		return 0
	}
	return Duration(max(deadline.Sub(now).Round(time.Millisecond), time.Millisecond))
}

// MarshalText writes the duration.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what [time.ParseDuration] takes.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = Duration(parsed)
	return err
}

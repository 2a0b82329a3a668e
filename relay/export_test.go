package relay

import "time"

// SetPulse has the streams of a relay tell more often that they are there, so that a test
// need not wait for silence.
func (r *Relay) SetPulse(d time.Duration) { r.pulse = d }

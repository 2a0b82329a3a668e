package sdk

import "time"

// RememberAfter has s remember an answer that is not accepted within d.
func (s Setup) RememberAfter(d time.Duration) Setup {
	s.rememberAfter = d
	return s
}

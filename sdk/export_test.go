package sdk

import "time"

// RememberAfter makes s remember an answer that is not accepted within d.
func (s SetupService) RememberAfter(d time.Duration) SetupService {
	s.rememberAfter = d
	return s
}

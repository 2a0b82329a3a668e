package command

import (
	"sync"
	"time"

	"go.uber.org/zap"
)

// astrayEvery is how often it is told that requests want their answers elsewhere than at an inbox:
// anybody may send any number.
const astrayEvery = time.Minute

// astray tells of requests that are not answered, because their reply subject is no inbox. It is
// safe for concurrent use.
type astray struct {
	mu   sync.Mutex
	told time.Time
	more int // since then
}

func (a *astray) tell(log *zap.Logger, subject, reply string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Since(a.told) < astrayEvery {
		a.more++
		return
	}
	log.Warn("request not answered: its reply subject is no inbox, which begins with _INBOX",
		zap.String("request", subject), zap.String("reply", reply), zap.Int("others", a.more))
	a.told, a.more = time.Now(), 0
}

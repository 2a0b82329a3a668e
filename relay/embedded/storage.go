package embedded

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/zap"
)

// After a write that has failed, as on a full disk, a stream takes nothing any more until the
// server is started anew, also when there is space again. JetStream alone cannot be started anew
// in a server that runs: from then on each request to its API is dealt with twice (seen with
// 2.15.3), and lists come out empty now and then.
const (
	lookEvery  = time.Second // at whether a write has failed and, then, at whether there is space
	roomNeeded = 4 << 20     // bytes that must be free before the server is started anew
)

// storage has a server store again, after it could not, as soon as that is possible: it starts it
// anew, at the same address. Clients come back by themselves, as after any restart.
type storage struct {
	server *Server
	log    *zap.Logger
	told   string // why it stores nothing, as it was last found; empty: it does
}

// watch looks after the storage until stop is closed.
func (s *storage) watch(stop <-chan struct{}) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.look()
		case <-stop:
			return
		}
	}
}

func (s *storage) look() {
	why := s.failure()
	if why == "" {
		return
	}
	if s.told == "" {
		s.log.Error("the bus stores nothing, and is started anew once there is space", zap.String("folder", s.folder()), zap.String("why", why))
	}
	s.told = why
	if s.tryRoom() != nil {
		return
	}
	if err := s.server.startAgain(); err != nil {
		s.log.Error("the bus cannot be started anew, trying again", zap.Error(err))
		return
	}
	s.told = ""
	s.log.Warn("the bus stores again: it was started anew")
}

func (s *storage) folder() string { return s.server.opts.StoreDir }

// failure says why the server stores nothing any more; empty: it does.
func (s *storage) failure() string {
	ns := s.server.current()
	switch {
	case !ns.Running():
		return s.told // it was to be started anew
	case !ns.JetStreamEnabled():
		return "JetStream has ended itself"
	}
	for _, e := range ns.Healthz(&server.HealthzOptions{Details: true}).Errors {
		if strings.Contains(e.Error, "write error") {
			return e.Error
		}
	}
	return ""
}

// tryRoom reports whether something can be written to the folder.
func (s *storage) tryRoom() (err error) {
	f, err := os.Create(filepath.Join(s.folder(), "room"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	if _, err := f.Write(make([]byte, roomNeeded)); err != nil {
		return err
	}
	return f.Sync()
}

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

// After a write that has failed, as on a full disk, a stream takes nothing any more until
// JetStream is started anew, also when there is space again.
const (
	lookEvery  = time.Second // at whether a write has failed and, then, at whether there is space
	roomNeeded = 4 << 20     // bytes that must be free before JetStream is started anew
)

// storage has JetStream store again, after it could not, as soon as that is possible. Clients
// keep their connections meanwhile.
type storage struct {
	ns   *server.Server
	opts *server.Options
	log  *zap.Logger
	told string // why it stores nothing, as it was last logged; empty: it does
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
		s.log.Error("the bus stores nothing, and goes on once there is space", zap.String("folder", s.opts.StoreDir), zap.String("why", why))
	}
	s.told = why
	if s.tryRoom() != nil {
		return
	}
	if err := s.restart(); err != nil {
		s.log.Error("JetStream cannot be started anew, trying again", zap.Error(err))
		return
	}
	s.told = ""
	s.log.Warn("the bus stores again")
}

// failure says why JetStream stores nothing any more; empty: it does.
func (s *storage) failure() string {
	if !s.ns.Running() {
		return "" // it is being stopped
	}
	if !s.ns.JetStreamEnabled() {
		return "JetStream has ended itself"
	}
	for _, e := range s.ns.Healthz(&server.HealthzOptions{Details: true}).Errors {
		if strings.Contains(e.Error, "write error") {
			return e.Error
		}
	}
	return ""
}

// tryRoom reports whether something can be written to the folder.
func (s *storage) tryRoom() (err error) {
	f, err := os.Create(filepath.Join(s.opts.StoreDir, "room"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	if _, err := f.Write(make([]byte, roomNeeded)); err != nil {
		return err
	}
	return f.Sync()
}

// restart ends JetStream and starts it anew on what is on the disk.
func (s *storage) restart() error {
	if err := s.ns.ShutdownJetStream(); err != nil {
		return err
	}
	return s.ns.EnableJetStream(&server.JetStreamConfig{
		StoreDir: s.opts.StoreDir, SyncInterval: s.opts.SyncInterval, SyncAlways: s.opts.SyncAlways,
		MaxMemory: s.opts.JetStreamMaxMemory, MaxStore: s.opts.JetStreamMaxStore, Domain: s.opts.JetStreamDomain,
		Strict: !s.opts.NoJetStreamStrict,
	})
}

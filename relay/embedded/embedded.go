// Package embedded runs a NATS server with JetStream in this process, alone or as one
// of a cluster. It is the only importer of nats-server.
//
// Every write is synced to disk before it is acknowledged. A data folder belongs to
// one server at a time: NATS itself does not notice a second one, so the package
// keeps a lock of its own. The server listens on loopback unless told otherwise. A client that
// is cut off is dropped within 10 seconds. After a disk that was full, or another write that has
// failed, it is started anew once there is space: its clients lose it for a moment.
package embedded

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

// ErrDataInUse says that another process has a server on the data folder.
var ErrDataInUse = errors.New("data folder is in use by another process")

// Defaults of [Config].
const (
	DefaultListen     = "127.0.0.1:0"
	DefaultMaxStore   = 20 << 30  // bytes
	DefaultMaxMemory  = 256 << 20 // bytes
	DefaultMaxPayload = 1 << 20   // bytes
)

// A client that is cut off says nothing, and until it is dropped it is sent its share of the
// requests to its queue group. Pings find it within four intervals: one may just have been left
// out, because something had come. One that is 2 s away, each way, still answers in time.
const (
	pingEvery = 2500 * time.Millisecond
	maxPings  = 2
)

// authTimeout is how long a client may take to say who it is; NATS's own, 2 s, is too short for
// one that is more than a second away.
const authTimeout = 10 * time.Second

// startTimeout bounds how long a server may take to recover what is on its disk.
const startTimeout = 60 * time.Second

// readyPoll is how often a server that starts is looked at.
const readyPoll = 50 * time.Millisecond

// Config says where the server listens and keeps its data.
type Config struct {
	Data       string      // folder for everything it keeps, made when missing; required
	Listen     string      // HOST:PORT, port 0 for a free one; empty: [DefaultListen]
	MaxStore   int64       // bytes of JetStream on disk; 0: [DefaultMaxStore]
	MaxPayload int32       // bytes of one message; 0: [DefaultMaxPayload]
	Unsynced   bool        // leave syncing to the operating system: acknowledged writes can be lost with the power
	Domain     string      // of its JetStream; empty: none
	Leaf       *Leaf       // how it is joined with other servers, whose JetStream is not its own; nil: it is not
	Cluster    *Cluster    // the servers it forms one bus with; nil: it is alone
	Users      []User      // who may connect; nil: anyone, and everything is allowed
	Logger     *zap.Logger // of the server's own messages; nil means silence
}

// User may connect with a name and a password.
type User struct {
	Name, Password string
	Publish        []string // subjects, with wildcards; nil: all
	Subscribe      []string // subjects, with wildcards; nil: all
}

// Server is a running server. It is safe for concurrent use.
type Server struct {
	opts *server.Options
	log  *zap.Logger
	lock *flock.Flock
	stop sync.Once

	mu sync.Mutex
	ns *server.Server // another one after it was started anew

	stopping chan struct{}
	watching sync.WaitGroup // the storage
}

// Start returns once clients can connect and JetStream answers; in a cluster JetStream
// answers when more than half of the servers are up, and Start does not wait for them.
// The error is [ErrDataInUse] when another process has the data folder.
func Start(c Config) (*Server, error) {
	if c.Data == "" {
		return nil, errors.New("start embedded server: Data is empty: name a folder")
	}
	opts, err := options(c)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return nil, fmt.Errorf("make data folder: %w", err)
	}
	lock, err := lockFolder(c.Data)
	if err != nil {
		return nil, err
	}
	log := cmp.Or(c.Logger, zap.NewNop())
	ns, err := run(opts.Clone(), log)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	if at, ok := ns.Addr().(*net.TCPAddr); ok {
		opts.Port = at.Port // also when it is started anew
	}
	s := &Server{ns: ns, opts: opts, log: log, lock: lock, stopping: make(chan struct{})}
	kept := &storage{server: s, log: log}
	s.watching.Go(func() { kept.watch(s.stopping) })
	return s, nil
}

// current is the server as it runs now.
func (s *Server) current() *server.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ns
}

// startAgain ends the server, and starts it anew on what is on its disk.
func (s *Server) startAgain() error {
	old := s.current()
	old.Shutdown()
	old.WaitForShutdown()
	ns, err := run(s.opts.Clone(), s.log)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ns = ns
	return nil
}

func options(c Config) (*server.Options, error) {
	if c.Listen == "" {
		c.Listen = DefaultListen
	}
	host, port, err := splitAddress("listen address", c.Listen)
	if err != nil {
		return nil, err
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	if c.MaxStore == 0 {
		c.MaxStore = DefaultMaxStore
	}
	if c.MaxPayload == 0 {
		c.MaxPayload = DefaultMaxPayload
	}
	opts := &server.Options{
		ServerName: "golive", Host: host, Port: port,
		JetStream: true, StoreDir: filepath.Join(c.Data, "nats"), SyncAlways: !c.Unsynced,
		JetStreamMaxMemory: DefaultMaxMemory, JetStreamMaxStore: c.MaxStore,
		DisableJetStreamBanner: true,
		JetStreamLimits:        server.JSLimitOpts{DefaultMaxConsumers: -1}, // every watcher of a route is a consumer; NATS stops at 1,000
		MaxPayload:             c.MaxPayload,
		PingInterval:           pingEvery,
		MaxPingsOut:            maxPings,
		AuthTimeout:            authTimeout.Seconds(),
		NoSigs:                 true, // else the server ends the whole process on SIGINT
	}
	for _, u := range c.Users {
		opts.Users = append(opts.Users, u.server())
	}
	opts.JetStreamDomain = c.Domain
	if err := c.Leaf.addTo(opts); err != nil {
		return nil, err
	}
	if c.Cluster == nil {
		return opts, nil
	}
	return opts, c.Cluster.addTo(opts)
}

// server is the user as the server takes it. Whoever answers requests may do so, however
// long that takes.
func (u User) server() *server.User {
	may := &server.Permissions{}
	if u.Publish != nil {
		may.Publish = &server.SubjectPermission{Allow: u.Publish}
	}
	if u.Subscribe != nil {
		may.Subscribe = &server.SubjectPermission{Allow: u.Subscribe}
	}
	return &server.User{Username: u.Name, Password: u.Password, Permissions: may}
}

func splitAddress(what, address string) (host string, port int, err error) {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("%s %q: %w: write HOST:PORT, such as 127.0.0.1:4222", what, address, err)
	}
	port, err = strconv.Atoi(portText)
	if err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("%s %q: port %q is no number from 0 to 65535", what, address, portText)
	}
	return host, port, nil
}

func lockFolder(data string) (*flock.Flock, error) {
	lock := flock.New(filepath.Join(data, "lock"))
	held, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock data folder %s: %w", data, err)
	}
	if !held {
		return nil, fmt.Errorf("%w: %s", ErrDataInUse, data)
	}
	return lock, nil
}

func run(opts *server.Options, to *zap.Logger) (*server.Server, error) {
	ns, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("start embedded server: %w", err)
	}
	log := &logger{log: to, fatal: make(chan string, 1)}
	ns.SetLoggerV2(log, false, false, false)
	ns.Start()
	if failure := awaitReady(ns, log.fatal); failure != "" {
		ns.Shutdown()
		ns.WaitForShutdown()
		return nil, fmt.Errorf("start embedded server on %s: %s", net.JoinHostPort(opts.Host, strconv.Itoa(opts.Port)), failure)
	}
	return ns, nil
}

// awaitReady blocks until clients can connect, or says why they never will. A server
// goes on half-started after what it calls fatal.
func awaitReady(ns *server.Server, fatal <-chan string) (failure string) {
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); {
		ready := ns.ReadyForConnections(readyPoll)
		select {
		case failure := <-fatal:
			return failure
		default:
		}
		if ready && ns.JetStreamEnabled() {
			return ""
		}
	}
	return fmt.Sprintf("not ready within %s", startTimeout)
}

// URL is where clients of other processes connect.
func (s *Server) URL() string { return s.current().ClientURL() }

// InProcessConn makes a connection that does not use the network; it lets a Server
// be the Server of a relay.Config.
func (s *Server) InProcessConn() (net.Conn, error) { return s.current().InProcessConn() }

var _ nats.InProcessConnProvider = (*Server)(nil)

// Stop ends the server and gives the data folder free; what it leads in a cluster is
// handed over first. It blocks until all is done; further calls do nothing. Close the
// clients of this process first, or they log that the bus is lost.
func (s *Server) Stop() error {
	var err error
	s.stop.Do(func() {
		close(s.stopping)
		s.watching.Wait()
		ns := s.current()
		ns.Shutdown()
		ns.WaitForShutdown()
		if e := s.lock.Close(); e != nil {
			err = fmt.Errorf("unlock data folder: %w", e)
		}
	})
	return err
}

// logger hands the server's messages to zap. A fatal one must end the start, because
// the server expects its logger to exit the process.
type logger struct {
	log   *zap.Logger
	fatal chan string
}

func (l *logger) Noticef(format string, v ...any) { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l *logger) Warnf(format string, v ...any)   { l.log.Warn(fmt.Sprintf(format, v...)) }
func (l *logger) Errorf(format string, v ...any)  { l.log.Error(fmt.Sprintf(format, v...)) }
func (l *logger) Debugf(format string, v ...any)  { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l *logger) Tracef(format string, v ...any)  { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l *logger) Fatalf(format string, v ...any) {
	message := fmt.Sprintf(format, v...)
	l.log.Error(message)
	select {
	case l.fatal <- message:
	default:
	}
}

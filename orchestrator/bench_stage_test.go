package orchestrator_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sync/errgroup"

	"github.com/golive-dev/golive/orchestrator"
	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/fleet"
	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/ledger"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/embedded"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/sdk"
)

// benchPatience bounds every single wait of a benchmark: a thousand rollouts at once on
// a slow disk take their time.
const benchPatience = 2 * time.Minute

// benchStage is a bus for one benchmark: a server in this process.
type benchStage struct {
	b      *testing.B
	server *embedded.Server
	client *api.Client
}

func newBenchStage(b *testing.B, unsynced bool) *benchStage {
	b.Helper()
	return stageOn(b, embedded.Config{Data: b.TempDir(), Unsynced: unsynced})
}

func stageOn(b *testing.B, c embedded.Config) *benchStage {
	b.Helper()
	if os.Getenv("GOGC") == "" {
		before := debug.SetGCPercent(200) // as golive itself does
		b.Cleanup(func() { debug.SetGCPercent(before) })
	}
	server, err := embedded.Start(c)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := server.Stop(); err != nil {
			b.Error(err)
		}
	})
	s := &benchStage{b: b, server: server}
	s.client = api.NewClient(s.connect().Conn())
	return s
}

func (s *benchStage) must(err error) {
	s.b.Helper()
	if err != nil {
		s.b.Fatal(err)
	}
}

// connect gives a connection over TCP, as everybody has who is not in the server's process.
func (s *benchStage) connect() *relay.Relay {
	s.b.Helper()
	return s.connectBy(relay.Config{URL: s.server.URL()})
}

// connectInside gives a connection that does not use the network, as the orchestrator of
// golive up has.
func (s *benchStage) connectInside() *relay.Relay {
	s.b.Helper()
	return s.connectBy(relay.Config{Server: s.server})
}

func (s *benchStage) connectBy(c relay.Config) *relay.Relay {
	s.b.Helper()
	ctx, cancel := context.WithTimeout(s.b.Context(), benchPatience)
	defer cancel()
	r, err := relay.Connect(ctx, c)
	s.must(err)
	s.b.Cleanup(r.Close)
	return r
}

// engine makes an orchestrator as golive serve and golive up do. It writes its log, and
// throws it away.
func (s *benchStage) engine(r *relay.Relay, log *zap.Logger) *orchestrator.Orchestrator {
	s.b.Helper()
	ctx, cancel := context.WithTimeout(s.b.Context(), benchPatience)
	defer cancel()
	nc := r.Conn()
	j, err := journal.Make(ctx, nc, 1)
	s.must(err)
	l, err := ledger.Make(ctx, nc, "", 1)
	s.must(err)
	g, err := gate.Make(ctx, gate.Config{Conn: nc})
	s.must(err)
	f, err := fleet.Make(ctx, nc, "", 1)
	s.must(err)
	o, err := orchestrator.New(orchestrator.Config{Conn: nc, Journal: j, Ledger: l, Gate: g, Fleet: f, Logger: log})
	s.must(err)
	return o
}

// orchestrate runs an orchestrator in the server's process until the benchmark ends, and
// returns once it takes commands. What it warns of is shown in the end: it belongs to no
// rollout that goes as it should.
func (s *benchStage) orchestrate() {
	s.b.Helper()
	s.orchestrateOn(s.connectInside())
}

// orchestrateOn is orchestrate over a connection of the caller's.
func (s *benchStage) orchestrateOn(r *relay.Relay) {
	s.b.Helper()
	log, warnings := benchLog()
	o := s.engine(r, log)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- o.Run(ctx) }()
	s.b.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			s.b.Errorf("orchestrator: %v", err)
		}
		if text := warnings.String(); text != "" {
			s.b.Logf("the orchestrator warns:\n%s", text[:min(len(text), 2000)])
		}
	})
	select {
	case <-o.Ready():
	case err := <-ended:
		ended <- err
		s.b.Fatalf("the orchestrator has ended: %v", err)
	}
}

// benchLog costs what golive's own log does up to the terminal, and keeps the warnings.
func benchLog() (*zap.Logger, *lockedBuffer) {
	kept := &lockedBuffer{}
	encoder := zapcore.NewConsoleEncoder(zap.NewProductionEncoderConfig())
	return zap.New(zapcore.NewTee(
		zapcore.NewCore(encoder, zapcore.AddSync(io.Discard), zap.InfoLevel),
		zapcore.NewCore(encoder.Clone(), kept, zap.WarnLevel),
	)), kept
}

type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

func (b *lockedBuffer) Sync() error { return nil }

// appNamed and the rest are what the benchmarks roll out: apps of one service each, which
// has an offline and an online script.
func appNamed(n int) string { return "bench-" + strconv.Itoa(n) }

func versionNumber(n int) string { return "0.0." + strconv.Itoa(n) }

func benchRelease(app, version, instances int) rollout.Release {
	return rollout.Release{
		App: appNamed(app), Version: versionNumber(version), Strategy: rollout.Parallel,
		Services: []rollout.Service{{
			Name: appNamed(app) + "-service", Version: versionNumber(version), Instances: instances,
			Migrations: []protocol.Phase{protocol.Offline, protocol.Online},
		}},
	}
}

// releasesOf gives that many releases, by app: one version after the other.
func releasesOf(apps, releases, instances int) [][]rollout.Release {
	all := make([][]rollout.Release, min(apps, releases))
	for n := range releases {
		app := n % len(all)
		all[app] = append(all[app], benchRelease(app, n/len(all)+1, instances))
	}
	return all
}

// scriptsOf lists those of a release.
func scriptsOf(r rollout.Release) []protocol.Script {
	var all []protocol.Script
	for _, s := range r.Services {
		for _, phase := range s.Migrations {
			all = append(all, protocol.Script{Name: s.Name, Version: s.Version, Phase: phase})
		}
	}
	return all
}

// listenBare listens to the starts of all releases as setup services written without our
// SDK do, each on the literal name of the start and one of those that listen to it, and
// calls answer in a goroutine of its own. It is one process with one connection.
func (s *benchStage) listenBare(releases [][]rollout.Release, answer func(ctx context.Context, nc *nats.Conn, start *nats.Msg) error) {
	s.b.Helper()
	nc := s.connect().Conn()
	var subjects []string
	for _, app := range releases {
		for _, r := range app {
			for _, script := range scriptsOf(r) {
				subjects = append(subjects, script.Subject(protocol.Start))
			}
		}
	}
	starts := make(chan *nats.Msg, 4*len(subjects)) // what does not fit is lost
	for _, subject := range subjects {
		_, err := nc.ChanQueueSubscribe(subject, subject, starts) // unlike the others, it costs no goroutine
		s.must(err)
	}
	s.must(nc.Flush())
	ctx, cancel := context.WithCancel(context.Background())
	var busy sync.WaitGroup
	busy.Go(func() {
		for {
			select {
			case m := <-starts:
				busy.Go(func() {
					if err := answer(ctx, nc, m); err != nil && ctx.Err() == nil {
						s.b.Errorf("answer to %s: %v", m.Subject, err)
					}
				})
			case <-ctx.Done():
				return
			}
		}
	})
	s.b.Cleanup(func() { cancel(); busy.Wait() })
}

// doneName is the named message that answers a start with success.
func doneName(start *nats.Msg) string { return strings.TrimSuffix(start.Subject, "start") + "done" }

// answerByName sends the named message as a request.
func answerByName(ctx context.Context, nc *nats.Conn, start *nats.Msg) error {
	m := nats.NewMsg(doneName(start))
	for _, name := range []string{protocol.HeaderRollout, protocol.HeaderAttempt} {
		m.Header.Set(name, start.Header.Get(name))
	}
	ctx, cancel := context.WithTimeout(ctx, benchPatience)
	defer cancel()
	reply, err := nc.RequestMsgWithContext(ctx, m)
	if err != nil {
		return err
	}
	var accepted protocol.Accepted
	if err := json.Unmarshal(reply.Data, &accepted); err != nil || accepted.Accepted == nil || !*accepted.Accepted {
		return fmt.Errorf("it is not accepted: %s", reply.Data)
	}
	return nil
}

// answerByReply replies with the name of the message.
func answerByReply(_ context.Context, _ *nats.Conn, start *nats.Msg) error {
	return start.Respond([]byte(doneName(start)))
}

// giveNoAnswer leaves the start unanswered.
func giveNoAnswer(context.Context, *nats.Conn, *nats.Msg) error { return nil }

// listenSDK runs a setup service of our SDK for every release, all in one process with one
// connection, and returns once each of them listens.
func listenSDK(ctx context.Context, r *relay.Relay, releases [][]rollout.Release, script sdk.Script) (wait func() error) {
	var setups []sdk.SetupService
	var listening sync.WaitGroup
	for _, app := range releases {
		for _, release := range app {
			listening.Add(len(scriptsOf(release)))
			setups = append(setups, sdk.SetupService{
				Service: release.Services[0].Name, Version: release.Services[0].Version, Offline: script, Online: script,
			})
		}
	}
	log := zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(io.Discard), zap.InfoLevel),
		zap.Hooks(func(e zapcore.Entry) error {
			if e.Message == "listening" {
				listening.Done()
			}
			return nil
		}))
	running, ctx := errgroup.WithContext(ctx)
	for _, setup := range setups {
		setup.Logger = log
		running.Go(func() error { return setup.Run(ctx, r) })
	}
	listening.Wait()
	return running.Wait
}

// outcomesOf matches what is told of the end of an app's rollouts.
func outcomesOf(app string) string { return app + "-0.0.*" }

// outcomes gives what orchestrators tell of the end of an app's rollouts.
func (s *benchStage) outcomes(nc *nats.Conn, app string, size int) <-chan *nats.Msg {
	s.b.Helper()
	told := make(chan *nats.Msg, size)
	_, err := nc.ChanSubscribe(outcomesOf(app), told)
	s.must(err)
	return told
}

// bring rolls a release out, and returns once its outcome is told.
func (s *benchStage) bring(ctx context.Context, r rollout.Release, outcomes <-chan *nats.Msg) error {
	ctx, cancel := context.WithTimeout(ctx, benchPatience)
	defer cancel()
	id, err := s.deploy(ctx, r)
	if err != nil {
		return err
	}
	for {
		select {
		case m := <-outcomes:
			if m.Header.Get(protocol.HeaderRollout) != id || !fact(m) {
				continue // the one before, told again
			}
			if m.Subject != protocol.CompletedSubject(r.App, r.Version) {
				return fmt.Errorf("%s %s: %s: %s", r.App, r.Version, m.Subject, m.Data)
			}
			return nil
		case <-ctx.Done():
			return fmt.Errorf("%s %s: its outcome is not told: %w", r.App, r.Version, ctx.Err())
		}
	}
}

func (s *benchStage) deploy(ctx context.Context, r rollout.Release) (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", err
	}
	_, err = s.client.Deploy(ctx, api.DeployRequest{Rollout: id.String(), Release: r, By: "benchmark"})
	if err != nil {
		return "", fmt.Errorf("deploy %s %s: %w", r.App, r.Version, err)
	}
	return id.String(), nil
}

// serveOne runs an instance of a release's service until stop is called; it has ended when
// running has been waited for.
func serveOne(ctx context.Context, running *errgroup.Group, r *relay.Relay, of rollout.Release) (stop func()) {
	if of.Services[0].Instances == 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	running.Go(func() error {
		return r.Serve(ctx, relay.Service{Name: of.Services[0].Name, Version: of.Services[0].Version, Handlers: map[string]relay.Handler{
			"version": func(context.Context, *relay.Message) (any, error) { return of.Services[0].Version, nil },
		}})
	})
	return cancel
}

// rollAll brings the releases of all apps side by side, of each app one after the other,
// and gives the time from the first command to the last outcome. Where a release has
// instances, one of it is started with the command, and stopped when the next is online.
func (s *benchStage) rollAll(releases [][]rollout.Release) time.Duration {
	s.b.Helper()
	nc, services := s.connect().Conn(), s.connect()
	outcomes := make([]<-chan *nats.Msg, len(releases))
	for n, app := range releases {
		outcomes[n] = s.outcomes(nc, app[0].App, 2*len(app)+10)
	}
	s.must(nc.Flush())
	ctx, cancel := context.WithCancel(s.b.Context())
	defer cancel()
	var serving errgroup.Group
	defer func() { cancel(); s.must(serving.Wait()) }()
	rolling, rollingCtx := errgroup.WithContext(ctx)
	begun := time.Now()
	for n, app := range releases {
		rolling.Go(func() error {
			leave := func() {}
			for _, r := range app {
				next := serveOne(ctx, &serving, services, r)
				if err := s.bring(rollingCtx, r, outcomes[n]); err != nil {
					return err
				}
				leave()
				leave = next
			}
			return nil
		})
	}
	s.must(rolling.Wait())
	return time.Since(begun)
}

// publishes gives how many messages a second the bus stores, in a stream like the
// journal's, for eight publishers who do nothing else: 1 KiB each, on distinct subjects and
// on the condition that it is the first there. It is what rollouts are compared with.
func (s *benchStage) publishes(nc *nats.Conn, lasting time.Duration) float64 {
	s.b.Helper()
	ctx, cancel := context.WithTimeout(s.b.Context(), benchPatience)
	defer cancel()
	js, err := jetstream.New(nc)
	s.must(err)
	like, err := js.Stream(ctx, protocol.Stream)
	s.must(err)
	config := like.CachedInfo().Config
	config.Name, config.Description, config.Subjects = "BASELINE", "", []string{"baseline.>"}
	_, err = js.CreateStream(ctx, config)
	s.must(err)
	defer func() { s.must(js.DeleteStream(ctx, config.Name)) }()
	payload := bytes.Repeat([]byte("x"), 1<<10)
	stored := make([]int, 8)
	var publishing errgroup.Group
	begun := time.Now()
	for n := range stored {
		publishing.Go(func() error {
			for ; time.Since(begun) < lasting; stored[n]++ {
				subject := fmt.Sprintf("baseline.%d.%d", n, stored[n])
				_, err := js.Publish(ctx, subject, payload, jetstream.WithExpectLastSequenceForSubject(0, subject))
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	s.must(publishing.Wait())
	took, all := time.Since(begun), 0
	for _, n := range stored {
		all += n
	}
	return float64(all) / took.Seconds()
}

// benchUsage is what has been spent so far.
type benchUsage struct {
	streams map[string]jetstream.StreamState // by name
	cpu     time.Duration                    // of this process
	disk    int64                            // bytes that this process has had written to storage; 0: not known
}

func (s *benchStage) spent(nc *nats.Conn) benchUsage {
	s.b.Helper()
	u := benchUsage{streams: make(map[string]jetstream.StreamState), disk: diskBytes()}
	js, err := jetstream.New(nc)
	s.must(err)
	streams := js.ListStreams(s.b.Context())
	for info := range streams.Info() {
		u.streams[info.Config.Name] = info.State
	}
	s.must(streams.Err())
	var r syscall.Rusage
	s.must(syscall.Getrusage(syscall.RUSAGE_SELF, &r))
	u.cpu = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	return u
}

// diskBytes is what Linux counts; another system gives 0.
func diskBytes() int64 {
	data, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if n, found := strings.CutPrefix(line, "write_bytes: "); found {
			bytes, _ := strconv.ParseInt(strings.TrimSpace(n), 10, 64) // 0: not known
			return bytes
		}
	}
	return 0
}

// reportSpent tells what was spent between two looks, a rollout. Where every write is
// synced, each message stored is one sync, so there are as many as all-writes.
func reportSpent(b *testing.B, before, after benchUsage, rollouts int) {
	share := func(n float64) float64 { return n / float64(rollouts) }
	all := uint64(0)
	for name, unit := range map[string]string{
		protocol.Stream: "journal", "KV_" + protocol.RoutesBucket: "routes", "KV_" + protocol.LeasesBucket: "leases",
		"KV_" + protocol.ClaimsBucket: "claims", "KV_" + protocol.LedgerBucket: "ledger", "KV_" + protocol.CheckpointsBucket: "checkpoints",
	} {
		written := after.streams[name].LastSeq - before.streams[name].LastSeq
		all += written
		if written > 0 {
			b.ReportMetric(share(float64(written)), unit+"-writes/rollout")
		}
	}
	b.ReportMetric(share(float64(all)), "all-writes/rollout")
	b.ReportMetric(share(float64(after.streams[protocol.Stream].Bytes)-float64(before.streams[protocol.Stream].Bytes)), "journal-B/rollout")
	b.ReportMetric(share(float64(after.disk-before.disk)), "disk-B/rollout")
	b.ReportMetric(share(float64((after.cpu - before.cpu).Microseconds())), "cpu-µs/rollout")
}

// syncedAndNot measures on a bus that syncs every write to disk, as golive's own does, and
// on one that leaves that to the operating system.
func syncedAndNot(b *testing.B, measure func(b *testing.B, unsynced bool)) {
	b.Run("synced", func(b *testing.B) { measure(b, false) })
	b.Run("unsynced", func(b *testing.B) { measure(b, true) })
}

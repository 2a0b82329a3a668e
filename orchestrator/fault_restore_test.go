package orchestrator_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/snapshot"
	"github.com/golive-dev/golive/orchestrator/view"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
	"github.com/golive-dev/golive/sdk"
)

// keptStreams hold the data of the app that is restored under faults, one of each of its services.
var keptStreams = []string{"LEFT", "RIGHT"}

// keptBefore is how many messages each of them has before version 2.0.0, whose script stores one more.
const keptBefore = 25

// seen is what an instance has answered: which version it is, and what it has found in each stream.
type seen struct {
	Version string
	Holds   []uint64
}

// keptApp is an app with data on a bus, an orchestrator of its own process, and a caller who looks all
// the time.
type keptApp struct {
	*cast
	server       *actor
	orchestrator *actor
	client       *api.Client
	js           bus.JetStream

	before []string // digests of the streams
	mu     sync.Mutex
	heard  map[string]int // answers, by version
	wrong  []string
}

// keptRelease is a version of the app.
func keptRelease(version string) rollout.Release {
	r := rollout.Release{App: "shop", Version: version, Strategy: rollout.Downtime}
	for i, name := range []string{"left", "right"} {
		s := rollout.Service{Name: name, Version: version, Instances: 1, State: &rollout.Data{Streams: []string{keptStreams[i]}}}
		if version == "2.0.0" {
			s.Migrations = []protocol.Phase{protocol.Offline}
		}
		r.Services = append(r.Services, s)
	}
	return r
}

// newKeptApp brings version 1.0.0 of the app live, and has the instances and scripts of both versions
// run until the test ends.
func newKeptApp(t *testing.T) *keptApp {
	c := newCast(t)
	s := &keptApp{cast: c, heard: make(map[string]int)}
	s.server = c.servers(1)[0]
	s.orchestrator = c.actor(part{Kind: anOrchestrator, Name: "orchestrator", Replicas: 1})
	s.server.up()
	s.orchestrator.up()
	r := c.connect()
	s.client = api.NewClient(r.Conn())
	var err error
	if s.js, err = bus.NewJetStream(r.Conn()); err != nil {
		t.Fatal(err)
	}
	for _, name := range keptStreams {
		s.fill(name, keptBefore)
		s.before = append(s.before, s.digest(name))
	}
	ctx, end := context.WithCancel(context.Background())
	var running sync.WaitGroup
	var parts []func()
	for _, version := range []string{"1.0.0", "2.0.0"} {
		for i, name := range []string{"left", "right"} {
			parts = append(parts, s.instance(ctx, name, version))
			if version == "2.0.0" {
				parts = append(parts, s.script(ctx, name, version, keptStreams[i]))
			}
		}
	}
	looks := s.connect()
	t.Cleanup(func() { end(); running.Wait() }) // before the connections are closed
	for _, part := range parts {
		running.Go(part)
	}
	s.bring("1.0.0")
	running.Go(func() { s.look(ctx, looks) })
	return s
}

// instance runs one of a service.
func (s *keptApp) instance(ctx context.Context, name, version string) func() {
	r := s.connect()
	return func() {
		err := r.Serve(ctx, relay.Service{Name: name, Version: version, Handlers: map[string]relay.Handler{
			"look": func(ctx context.Context, _ *relay.Message) (any, error) {
				answer := seen{Version: version}
				for _, stream := range keptStreams {
					found, err := s.js.Stream(ctx, stream)
					if err != nil {
						return nil, err
					}
					answer.Holds = append(answer.Holds, found.CachedInfo().State.Msgs)
				}
				return answer, nil
			},
		}})
		if err != nil && ctx.Err() == nil {
			s.t.Errorf("%s %s: %v", name, version, err)
		}
	}
}

// script runs the setup service of a service, whose offline script stores a message.
func (s *keptApp) script(ctx context.Context, name, version, stream string) func() {
	scripts := s.connect()
	return func() {
		setup := sdk.SetupService{Service: name, Version: version, Offline: func(ctx context.Context, _ *sdk.Run) error {
			_, err := s.js.PublishMsg(ctx, message(stream+".more", "2"), jetstream.WithExpectLastSequencePerSubject(0))
			if errors.Is(err, jetstream.ErrKeyExists) || err != nil && isWrongSequence(err) {
				return nil // an attempt before has
			}
			return err
		}}
		if err := setup.Run(ctx, scripts); err != nil && ctx.Err() == nil {
			s.t.Errorf("setup of %s: %v", name, err)
		}
	}
}

// fill makes a stream of so many messages.
func (s *keptApp) fill(name string, n int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	js, err := jetstream.New(s.js.Conn())
	if err == nil {
		_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{name + ".>"}})
	}
	for i := 0; i < n && err == nil; i++ {
		_, err = js.Publish(ctx, fmt.Sprintf("%s.%d", name, i), fmt.Append(nil, i))
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// digest is that of a stream.
func (s *keptApp) digest(name string) string {
	s.t.Helper()
	var archive bytes.Buffer
	_, err := snapshot.Take(s.t.Context(), s.js, name, &archive)
	if err != nil {
		s.t.Fatal(err)
	}
	content, err := snapshot.Read(&archive)
	if err != nil {
		s.t.Fatal(err)
	}
	return content.Digest
}

// look asks both services all the time, and judges what they answer: each version has its own data,
// all of it.
func (s *keptApp) look(ctx context.Context, r *relay.Relay) {
	for n := 0; ctx.Err() == nil; n++ {
		asking, cancel := context.WithTimeout(ctx, time.Second)
		var answer seen
		name := []string{"left", "right"}[n%2]
		err := r.Request(asking, name+".look", nil, &answer)
		cancel()
		if err != nil {
			rest(ctx, 5*time.Millisecond)
			continue
		}
		want := uint64(keptBefore)
		if answer.Version == "2.0.0" {
			want++
		}
		s.mu.Lock()
		s.heard[answer.Version]++
		if slices.ContainsFunc(answer.Holds, func(n uint64) bool { return n != want }) {
			s.wrong = append(s.wrong, fmt.Sprintf("%s %s has answered on %v", name, answer.Version, answer.Holds))
		}
		s.mu.Unlock()
	}
}

// bring deploys a version, and waits until it is live.
func (s *keptApp) bring(version string) string {
	s.t.Helper()
	id := newID(s.t)
	s.insist(func(ctx context.Context) error {
		_, err := s.client.Deploy(ctx, api.DeployRequest{Rollout: id, Release: keptRelease(version), By: "test"})
		return err
	})
	s.awaitEnd(id, rollout.Completed)
	return id
}

// begin begins to restore what was before the last rollout.
func (s *keptApp) begin() string {
	s.t.Helper()
	id := newID(s.t)
	s.insist(func(ctx context.Context) error {
		_, err := s.client.Restore(ctx, api.RestoreRequest{App: "shop", Rollout: id, By: "test", Force: true})
		return err
	})
	return id
}

// insist does something until it succeeds: orchestrators and the bus may be away.
func (s *keptApp) insist(do func(context.Context) error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), settleTime)
	defer cancel()
	for {
		asking, end := context.WithTimeout(ctx, 5*time.Second)
		err := do(asking)
		end()
		if err == nil {
			return
		}
		if rest(ctx, 100*time.Millisecond); ctx.Err() != nil {
			s.t.Fatalf("it is not done within %s: %v", settleTime, err)
		}
	}
}

func (s *keptApp) awaitEnd(id string, want rollout.Status) {
	s.t.Helper()
	var last api.RolloutStory
	s.insist(func(ctx context.Context) (err error) {
		if last, err = s.client.Show(ctx, api.RolloutRequest{Rollout: id}); err == nil && last.Status != want {
			err = fmt.Errorf("rollout %s is %s", id, last.Status)
		}
		return err
	})
}

// check looks whether the data is that of before, and what the caller has seen.
func (s *keptApp) check() {
	s.t.Helper()
	for i, name := range keptStreams {
		if found := s.digest(name); found != s.before[i] {
			s.t.Errorf("the data of %s is not that of before", name)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.wrong[:min(len(s.wrong), 10)] {
		s.t.Error(w)
	}
	if s.heard["1.0.0"] == 0 || s.heard["2.0.0"] == 0 {
		s.t.Errorf("the caller has heard %v", s.heard)
	}
}

// restorePoints are where a process is killed while it restores.
func restorePoints() []view.Point {
	all := []view.Point{view.EventSaved, view.Announced, view.TrafficLed, view.ItemDone}
	for _, p := range []snapshot.Point{
		snapshot.Swept, snapshot.CutFirst, snapshot.CutAll, snapshot.ReadBack, snapshot.Recorded, snapshot.PutDeleted, snapshot.PutOne, snapshot.PutAll,
	} {
		all = append(all, view.Point(p))
	}
	return all
}

// TestFaultAtEachPointOfARestore kills the orchestrator, or the bus, with SIGKILL at each point of a
// restore, and has it go on: it ends with the data and the traffic of before, and whoever was
// answered meanwhile was answered on all of the data of one version.
func TestFaultAtEachPointOfARestore(t *testing.T) {
	t.Parallel()
	relaytest.Long(t)
	seed := drawSeed(t)
	for _, who := range []string{anOrchestrator, aServer} {
		for n, at := range restorePoints() {
			t.Run(who+" at "+string(at), func(t *testing.T) {
				t.Parallel()
				nth := 1 + rand.New(rand.NewPCG(seed, uint64(n))).IntN(map[bool]int{true: 6, false: 1}[at == view.EventSaved || at == view.Announced || at == view.ItemDone])
				s := newKeptApp(t)
				s.bring("2.0.0")
				if who == anOrchestrator {
					s.killAt(at, nth)
				} else {
					s.killServerAt(at, nth)
				}
				s.check()
			})
		}
	}
}

// killAt restores while the orchestrator kills itself at a point, and another one is started.
func (s *keptApp) killAt(at view.Point, nth int) {
	s.t.Helper()
	s.orchestrator.alive().kill()
	p, err := s.orchestrator.start(at, nth)
	if err != nil {
		s.t.Fatal(err)
	}
	id := newID(s.t)
	begun := make(chan struct{})
	go func() {
		defer close(begun)
		s.insist(func(ctx context.Context) error {
			_, err := s.client.Restore(ctx, api.RestoreRequest{App: "shop", Rollout: id, By: "test", Force: true})
			return err
		})
	}()
	select {
	case <-p.ended:
	case <-time.After(settleTime):
		s.t.Fatalf("the orchestrator does not come to %s for %d times: see %s", at, nth, p.log)
	}
	s.orchestrator.up()
	<-begun
	s.awaitEnd(id, rollout.Completed)
}

// killServerAt restores while the bus is killed, and started again, when the orchestrator has come
// to a point.
func (s *keptApp) killServerAt(at view.Point, nth int) {
	s.t.Helper()
	p := s.orchestrator.alive()
	p.order(order{At: at, Nth: nth})
	id := s.begin()
	select {
	case <-p.came:
	case <-time.After(settleTime):
		s.t.Fatalf("the orchestrator does not come to %s for %d times: see %s", at, nth, p.log)
	}
	s.server.alive().kill()
	s.server.up()
	p.order(order{})
	s.awaitEnd(id, rollout.Completed)
}

// TestFaultsOfRestores kills the orchestrator at random, and stops it for longer than its lease, while
// a version is brought and taken back again and again.
func TestFaultsOfRestores(t *testing.T) {
	t.Parallel()
	relaytest.Long(t)
	seed := drawSeed(t)
	s := newKeptApp(t)
	second := s.actor(part{Kind: anOrchestrator, Name: "second", Replicas: 1})
	second.up()
	ctx, end := context.WithTimeout(t.Context(), *faultsFor)
	defer end()
	var living sync.WaitGroup
	for n, a := range []*actor{s.orchestrator, second} {
		l := &life{actor: a, rnd: rand.New(rand.NewPCG(seed, uint64(n))), from: 300 * time.Millisecond, to: 3 * time.Second, rest: time.Second, sleeps: true}
		living.Go(func() {
			if err := l.lives(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	rounds := 0
	for ; ctx.Err() == nil || rounds == 0; rounds++ {
		s.bring("2.0.0")
		s.awaitEnd(s.begin(), rollout.Completed)
	}
	living.Wait()
	s.check()
	t.Logf("%d rounds, deaths %v, answers %v", rounds, s.deaths, s.heard)
}

// TestFaultOfASleeperInARestore stops an orchestrator right before it deletes data, until another one
// has finished the restore and callers are answered again: when it wakes up it deletes nothing.
func TestFaultOfASleeperInARestore(t *testing.T) {
	t.Parallel()
	relaytest.Long(t)
	for _, at := range []snapshot.Point{snapshot.PutOne, snapshot.PutDeleted} {
		t.Run(string(at), func(t *testing.T) {
			t.Parallel()
			s := newKeptApp(t)
			s.bring("2.0.0")
			p := s.orchestrator.alive()
			p.order(order{At: view.Point(at)})
			id := s.begin()
			select {
			case <-p.came:
			case <-time.After(settleTime):
				t.Fatalf("it does not come to %s: see %s", at, p.log)
			}
			_ = p.Process.Signal(syscall.SIGSTOP)
			p.order(order{}) // it goes on at once when it wakes up
			second := s.actor(part{Kind: anOrchestrator, Name: "second", Replicas: 1})
			second.up()
			s.awaitEnd(id, rollout.Completed)
			_ = p.Process.Signal(syscall.SIGCONT)
			rest(t.Context(), 3*time.Second)
			s.check()
		})
	}
}

func message(subject, body string) *nats.Msg { return &nats.Msg{Subject: subject, Data: []byte(body)} }

// isWrongSequence reports whether a message was not stored because another one was.
func isWrongSequence(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence
}

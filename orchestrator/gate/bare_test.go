package gate_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/bus"
)

// serveBare runs an instance that is written on a NATS client alone, and gives a function
// that stops it and waits until it has ended. Its message "say" is answered as that of says.
func (b *bench) serveBare(version string) (stop func()) {
	b.t.Helper()
	return b.runBare(&bareInstance{service: "todos", version: version, handlers: map[string]func([]byte) []byte{
		"say": func([]byte) []byte { return fmt.Appendf(nil, "%q", version) },
	}})
}

func (b *bench) runBare(i *bareInstance) (stop func()) {
	b.t.Helper()
	known := len(b.instances("todos"))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- i.run(ctx, b.bus.URL()) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			b.t.Errorf("bare instance of %s: %v", i.version, err)
		}
	})
	b.t.Cleanup(stop)
	b.until("the bare instance has a lease", func() bool { return len(b.instances("todos")) > known })
	b.until("the private address answers", func() bool {
		got, err := b.askBare("golive.service.todos." + strings.ReplaceAll(i.version, ".", "_") + ".say")
		return err == nil && string(got.Data) == fmt.Sprintf("%q", i.version)
	})
	return stop
}

func (b *bench) askBare(subject string) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	return b.nc.RequestWithContext(ctx, subject, nil)
}

// turns is who may answer: after an even number of steps the version of that turn alone,
// after an odd one that and the next.
type turns struct {
	versions []string
	steps    atomic.Int64
	answered [2]atomic.Int64 // by version
}

// ask makes one request, and checks that it was answered by a version that could, from
// when it was sent until it was answered.
func (u *turns) ask(request func() (string, error)) error {
	first := u.steps.Load()
	got, err := request()
	last := u.steps.Load()
	if err != nil {
		return fmt.Errorf("in step %d to %d: %w", first, last, err)
	}
	for turn := first / 2; turn <= (last+1)/2; turn++ {
		if got == u.versions[turn%2] {
			u.answered[turn%2].Add(1)
			if first%2 == 1 && turn == first/2+1 {
				// From its first answer on, the next version is the only one.
				u.steps.CompareAndSwap(first, first+1)
			}
			return nil
		}
	}
	return fmt.Errorf("answered by %q in step %d to %d", got, first, last)
}

// takeTurns lets the two versions take turns under load, and checks every answer.
func (b *bench) takeTurns(versions []string, cutovers int) {
	b.t.Helper()
	u := &turns{versions: versions}
	moved := b.open(gate.Order{Service: "todos", Version: versions[0], Rollout: "r0", Instances: 1})
	end := b.load(u)
	defer end()
	for n := 1; n <= cutovers; n++ {
		b.awaitAnswers(u, (n-1)%2)
		u.steps.Store(int64(2*n - 1))
		moved = b.open(gate.Order{
			Service: "todos", Version: versions[n%2], Rollout: fmt.Sprint("r", n), Replaces: moved, Instances: 1,
		})
		u.steps.Store(int64(2 * n))
		if got := b.route("todos").String(); got != versions[n%2]+" online" {
			b.t.Errorf("after cutover %d the route is %s", n, got)
		}
	}
	b.awaitAnswers(u, cutovers%2)
}

// load asks in closed loops, by way of a relay and of a NATS client, until end is called.
func (b *bench) load(u *turns) (end func()) {
	b.t.Helper()
	over := make(chan struct{})
	var callers sync.WaitGroup
	raw := func() (version string, err error) {
		m, err := b.askBare("todos.say")
		if err != nil {
			return "", err
		}
		return version, json.Unmarshal(m.Data, &version)
	}
	relayed := func() (string, error) { return b.ask() }
	for _, request := range []func() (string, error){raw, relayed, raw, relayed} {
		callers.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				if err := u.ask(request); err != nil {
					b.t.Errorf("under load: %v", err)
					return
				}
			}
		})
	}
	return func() {
		close(over)
		callers.Wait()
	}
}

func (b *bench) awaitAnswers(u *turns, version int) {
	b.t.Helper()
	enough := u.answered[version].Load() + 50
	b.until("answers of "+u.versions[version], func() bool { return u.answered[version].Load() >= enough })
}

func TestABareInstanceAndARelayTakeTurns(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.serveBare("1.0.0")
	b.bus.Serve(says("2.0.0"))
	b.takeTurns([]string{"1.0.0", "2.0.0"}, 10)
}

func TestBareInstancesTakeTurns(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for range 2 {
		b.serveBare("1.0.0")
		b.serveBare("2.0.0")
	}
	b.takeTurns([]string{"1.0.0", "2.0.0"}, 10)
}

func TestABareInstanceUnderMaintenance(t *testing.T) {
	b := newBench(t)
	b.serveBare("1.0.0")
	first := b.open(gate.Order{Service: "todos", Version: "1.0.0", Rollout: "r1", Instances: 1})
	closing := gate.Order{Service: "todos", Version: "1.0.0", Rollout: "r2", Replaces: first, RetryAfter: 7 * time.Second}
	closed := b.open(closing)
	m, err := b.askBare("todos.say")
	b.must(err)
	for header, want := range map[string]string{
		"Nats-Service-Error-Code": "503", "Golive-Reason": "maintenance", "Golive-Retry-After": "7",
	} {
		if got := m.Header.Get(header); got != want {
			t.Errorf("under maintenance %s is %q, want %q", header, got, want)
		}
	}
	if len(m.Data) != 0 {
		t.Errorf("under maintenance it answers %q", m.Data)
	}
	if got, err := b.ask(relay.ToVersion("1.0.0")); got != "1.0.0" || err != nil {
		t.Errorf("privately answered by %q, %v", got, err)
	}
	waited := make(chan string, 1)
	go func() {
		got, _ := b.ask(relay.AwaitMaintenance()) // an error shows in the answer
		waited <- got
	}()
	b.open(gate.Order{Service: "todos", Version: "1.0.0", Rollout: "r3", Replaces: closed, Instances: 1})
	if got, err := b.ask(); got != "1.0.0" || err != nil {
		t.Errorf("after maintenance answered by %q, %v", got, err)
	}
	if got := <-waited; got != "1.0.0" {
		t.Errorf("who waited was answered by %q", got)
	}
}

func TestABareInstanceThatHasLeftIsNotWaitedFor(t *testing.T) {
	b := newBench(t)
	stop := b.serveBare("1.0.0")
	b.serveBare("2.0.0")
	first := b.open(gate.Order{Service: "todos", Version: "1.0.0", Rollout: "r1", Instances: 1})
	stop()
	b.open(gate.Order{Service: "todos", Version: "2.0.0", Rollout: "r2", Replaces: first, Instances: 1,
		Tell: func(waiting string) {
			if waiting != "" {
				t.Errorf("it waits for %s", waiting)
			}
		}})
	if got, err := b.ask(); got != "2.0.0" || err != nil {
		t.Errorf("answered by %q, %v", got, err)
	}
}

func TestABareInstanceIsWaitedForWhileItAnswers(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	begun, goOn := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(goOn) })
	defer release()
	b.runBare(&bareInstance{service: "todos", version: "1.0.0", handlers: map[string]func([]byte) []byte{
		"say": func(data []byte) []byte {
			if len(data) > 0 {
				close(begun)
				<-goOn
			}
			return []byte(`"1.0.0"`)
		},
	}})
	b.serveBare("2.0.0")
	first := b.open(gate.Order{Service: "todos", Version: "1.0.0", Rollout: "r1", Instances: 1})
	slow := b.publish("todos.say", "slow")
	<-begun
	waited := false
	b.open(gate.Order{Service: "todos", Version: "2.0.0", Rollout: "r2", Replaces: first, Instances: 1,
		Tell: func(waiting string) {
			if strings.Contains(waiting, "of 1.0.0, alive by lease, to confirm route revision") {
				waited = true
				release()
			}
		}})
	if !waited {
		t.Error("the gate did not wait for the request")
	}
	if got := b.next(slow); got != `"1.0.0"` {
		t.Errorf("what was begun before is answered by %s", got)
	}
	if got, err := b.ask(); got != "2.0.0" || err != nil {
		t.Errorf("after it answered by %q, %v", got, err)
	}
}

func TestABareInstanceThatLeavesHandsOverWhatItHolds(t *testing.T) {
	const requests = 30 // of which some come to either instance
	b := newBench(t)
	leave := b.serveBare("1.0.0")
	stop := b.serveBare("1.0.0")
	b.writeRoute(`{"service":"todos","versions":[{"version":"1.0.0","state":"fenced"}]}`)
	b.until("both are fenced", func() bool {
		return !slices.ContainsFunc(b.instances("todos"), func(i gate.Instance) bool { return i.State != "fenced" })
	})
	published, err := b.nc.SubscribeSync("todos.say")
	b.must(err)
	var answers []*nats.Subscription
	for range requests {
		answers = append(answers, b.publish("todos.say", ""))
	}
	b.must(b.nc.FlushTimeout(patience)) // then each has come to one of them
	leave()
	for range requests + 1 { // the last of these is handed over
		b.next(published)
	}
	b.writeRoute(`{"service":"todos","versions":[{"version":"1.0.0","state":"online"}]}`)
	for _, sub := range answers {
		if got := b.next(sub); got != `"1.0.0"` {
			t.Fatalf("answered by %s", got)
		}
	}
	stop()
	for _, sub := range answers {
		if n, _, err := sub.Pending(); n != 0 || err != nil {
			t.Errorf("%d further answers, %v", n, err)
		}
	}
}

// writeRoute writes a route past the gate.
func (b *bench) writeRoute(route string) {
	b.t.Helper()
	routes, _, err := bus.MakeRoutes(b.t.Context(), b.nc, "", 1)
	b.must(err)
	_, err = routes.Put(b.t.Context(), "todos", []byte(route))
	b.must(err)
	b.must(b.nc.Publish("golive.route.todos", nil))
}

// publish makes a request, and gives where its answers come.
func (b *bench) publish(subject, data string) *nats.Subscription {
	b.t.Helper()
	inbox := b.nc.NewInbox()
	sub, err := b.nc.SubscribeSync(inbox)
	b.must(err)
	b.must(b.nc.PublishRequest(subject, inbox, []byte(data)))
	return sub
}

func (b *bench) next(sub *nats.Subscription) string {
	b.t.Helper()
	m, err := sub.NextMsg(patience)
	b.must(err)
	return string(m.Data)
}

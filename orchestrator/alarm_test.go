package orchestrator_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

func (e *environment) status() api.AppStatus {
	e.t.Helper()
	all, err := e.client.Status(e.t.Context(), api.AppRequest{App: "todo-app"})
	e.must(err)
	return all[0]
}

// alarms are those of the app, and those of its route, which have to be the same.
func (e *environment) alarms() []string {
	e.t.Helper()
	routes, err := e.client.Routes(e.t.Context())
	e.must(err)
	all := e.status().Alarms
	if len(routes) != 1 || !slices.Equal(routes[0].Alarms, all) {
		e.t.Logf("the alarms of the app are %q, those of its route %q", all, routes[0].Alarms)
		return nil
	}
	return all
}

// awaitAlarm waits until there is one alarm, with these words.
func (e *environment) awaitAlarm(words string) {
	e.t.Helper()
	e.until("the alarm: "+words, func() bool {
		all := e.alarms()
		return len(all) == 1 && strings.Contains(all[0], words)
	})
}

func TestNobodyAliveOfWhatIsOnlineIsAnAlarm(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	stop := e.service("todo-search", "1.0.0")
	e.awaitStatus(e.deploy(version("1.0.0")), rollout.Completed)
	e.service("todo-search", "2.0.0")
	if s := e.status(); s.Services[0].Alive != 1 || len(s.Alarms) > 0 {
		t.Errorf("while 1.0.0 serves the status is %+v", s)
	}
	stop()
	e.awaitAlarm("no instance of todo-search 1.0.0 is alive, which is online: nobody answers")
	if s := e.status(); s.Services[0].Alive != 0 {
		t.Errorf("of what is online %d instances are alive", s.Services[0].Alive)
	}
	e.service("todo-search", "1.0.0")
	e.until("the alarm is over", func() bool { s := e.status(); return len(s.Alarms) == 0 && s.Services[0].Alive == 1 })
}

// A service that takes no traffic over the relay has a route, and no instances.
func TestAServiceWithoutInstancesIsNoAlarm(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	r := version("1.0.0")
	r.Services[0].Instances = 0
	e.awaitStatus(e.deploy(r), rollout.Completed)
	if s := e.status(); len(s.Alarms) > 0 || !slices.Equal(s.Services[0].Online, []string{"1.0.0"}) {
		t.Errorf("the status is %+v", s)
	}
}

// Who cannot renew its lease holds requests: the bus takes none here, as when its disk is full.
func TestWhoHoldsRequestsForWantOfALeaseIsAnAlarm(t *testing.T) {
	relaytest.Long(t)
	t.Parallel()
	e := newEnvironment(t)
	e.probe = resend
	e.orchestrate()
	e.lease = 2 * protocol.ConfirmEvery
	e.service("todo-search", "1.0.0")
	e.awaitStatus(e.deploy(version("1.0.0")), rollout.Completed)
	e.storeLeasesOf(1)
	e.until("the alarms", func() bool {
		all := e.status().Alarms
		return len(all) == 2 && strings.Contains(all[0], "the bus has stored nothing for ") && strings.Contains(all[0], "message size exceeds maximum allowed") &&
			strings.Contains(all[1], "1 of 1 instances of todo-search 1.0.0 hold requests: no lease for ")
	})
	if s := e.status().Services[0]; s.Alive != 0 || s.Holding != 1 {
		t.Errorf("%d instances are alive, and %d hold requests", s.Alive, s.Holding)
	}
	e.storeLeasesOf(-1)
	e.until("no alarm is left", func() bool { s := e.status(); return len(s.Alarms) == 0 && s.Services[0].Alive == 1 })
	if n := e.logs.FilterMessage("the bus stores again").Len(); n != 1 {
		t.Errorf("that the bus stores again is logged %d times", n)
	}
}

// storeLeasesOf has the bus take leases of so many bytes at most; -1: of any.
func (e *environment) storeLeasesOf(bytes int32) {
	e.t.Helper()
	js, err := jetstream.New(e.nc)
	e.must(err)
	stream, err := js.Stream(e.t.Context(), "KV_"+protocol.LeasesBucket)
	e.must(err)
	c := stream.CachedInfo().Config
	c.MaxMsgSize = bytes
	_, err = js.UpdateStream(e.t.Context(), c)
	e.must(err)
}

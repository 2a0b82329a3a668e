package agent_test

import (
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/agent"
	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// An order that the journal or the agent's own manifest does not bear out runs nothing.
func TestForgedOrders(t *testing.T) {
	h := newHost(t,
		release.Step{Name: "migrate", On: map[string]string{"role": "web"}, Command: &release.Command{Shell: "echo >>ran"}},
		release.Step{Name: "sign-off", Approval: &rollout.Question{Text: "Shall we?"}},
		release.Step{Name: "looks", Check: &release.Check{Shell: "echo >>ran"}},
		release.Step{Name: "elsewhere", On: map[string]string{"role": "db"}, Command: &release.Command{Shell: "echo >>ran"}},
		release.Step{Name: "nowhere", On: map[string]string{"zone": ""}, Command: &release.Command{Shell: "echo >>ran"}},
	)
	for i := range h.state.All() {
		h.state.Steps[i].Work.On = nil // what the journal says of it does not count
	}
	h.state.Steps = append(h.state.Steps, &rollout.Step{Number: 6, ID: "evil", Kind: rollout.Command, Status: rollout.StepRunning, Attempt: 1})
	h.record()
	h.run(h.config())
	first := func(change func(*rollout.Step)) func(*rollout.State) {
		return func(s *rollout.State) {
			step := *s.Steps[0]
			change(&step)
			s.Steps = append([]*rollout.Step{&step}, s.Steps[1:]...)
		}
	}
	for name, c := range map[string]struct {
		order func(*protocol.Order)
		state func(*rollout.State)
		want  string
	}{
		"earlier attempt":       {state: first(func(s *rollout.Step) { s.Attempt = 2 }), want: "not_wanted"},
		"later attempt":         {order: func(o *protocol.Order) { o.Attempt = 2 }, want: "not_wanted"},
		"no attempt":            {order: func(o *protocol.Order) { o.Attempt = 0 }, state: first(func(s *rollout.Step) { s.Attempt = 0 }), want: "not_wanted"},
		"other direction":       {order: func(o *protocol.Order) { o.Revert = true }, want: "not_wanted"},
		"cannot be undone":      {order: func(o *protocol.Order) { o.Revert = true }, state: first(func(s *rollout.Step) { s.Revert = true }), want: "refused"},
		"step not running":      {state: first(func(s *rollout.Step) { s.Status = rollout.StepDone }), want: "not_wanted"},
		"step pending":          {state: first(func(s *rollout.Step) { s.Status = rollout.StepPending }), want: "not_wanted"},
		"step cancelled":        {state: first(func(s *rollout.Step) { s.Cancelled = true }), want: "not_wanted"},
		"time is over":          {state: first(func(s *rollout.Step) { s.Deadline = time.Now().Add(-time.Second) }), want: "timeout"},
		"unknown step":          {order: func(o *protocol.Order) { o.Step = "rm" }, want: "not_wanted"},
		"no step":               {order: func(o *protocol.Order) { o.Step = "" }, want: "not_wanted"},
		"not in the manifest":   {order: func(o *protocol.Order) { o.Step = "evil" }, want: "refused"},
		"approval":              {order: func(o *protocol.Order) { o.Step = "sign-off" }, want: "refused"},
		"approval of that kind": {order: func(o *protocol.Order) { o.Step = "sign-off" }, state: func(s *rollout.State) { s.Steps[1].Kind = rollout.Approving }, want: "refused"},
		"traffic":               {state: first(func(s *rollout.Step) { s.Kind = rollout.Traffic }), want: "refused"},
		"check as command":      {order: func(o *protocol.Order) { o.Step = "looks" }, state: func(s *rollout.State) { s.Steps[2].Kind = rollout.Command }, want: "refused"},
		"check undone": {
			order: func(o *protocol.Order) { o.Step, o.Revert = "looks", true },
			state: func(s *rollout.State) { s.Steps[2].Revert = true }, want: "refused",
		},
		"labels":          {order: func(o *protocol.Order) { o.Step = "elsewhere" }, want: "refused"},
		"label missing":   {order: func(o *protocol.Order) { o.Step = "nowhere" }, want: "refused"},
		"digest":          {state: func(s *rollout.State) { s.Release.Digest = "3f2a" }, want: "unknown_release"},
		"no digest":       {state: func(s *rollout.State) { s.Release.Digest = "" }, want: "unknown_release"},
		"version":         {state: func(s *rollout.State) { s.Release.Version = "2.0.1" }, want: "unknown_release"},
		"environment":     {state: func(s *rollout.State) { s.Release.Environment = "$(reboot)" }, want: "unknown_release"},
		"app":             {order: func(o *protocol.Order) { o.App = "other" }, want: "unknown_release"},
		"any app":         {order: func(o *protocol.Order) { o.App = "*" }, want: "unknown_release"},
		"unknown rollout": {order: func(o *protocol.Order) { o.Rollout = "0199" }, want: "not_wanted"},
		"any rollout":     {order: func(o *protocol.Order) { o.Rollout = "*" }, want: "refused"},
		"all rollouts":    {order: func(o *protocol.Order) { o.Rollout = ">" }, want: "refused"},
		"no rollout":      {order: func(o *protocol.Order) { o.Rollout = "" }, want: "refused"},
	} {
		o, kept := h.order("migrate"), h.state
		h.state.Steps = nil
		for _, step := range kept.All() {
			h.state.Steps = append(h.state.Steps, &step)
		}
		if c.order != nil {
			c.order(&o)
		}
		if c.state != nil {
			c.state(&h.state)
			h.record()
		}
		if got := h.tell("run", o); got != c.want {
			t.Errorf("%s: %q, not %q", name, got, c.want)
		}
		if h.state = kept; c.state != nil {
			h.record()
		}
	}
	m, err := h.nc.Request(protocol.AgentSubject("web-1", "run"), []byte("{"), patience)
	must(t, err)
	if string(m.Data) != `{"error":{"code":"refused","message":"the order cannot be read"}}` {
		t.Errorf("%s", m.Data)
	}
	h.none()
	if h.file("ran") != "" {
		t.Error("something has run")
	}
	if code := h.tell("run", h.order("migrate")); code != "" {
		t.Error("and the true one was refused:", code)
	}
	h.await(h.key(1, false), ended)
	if h.file("ran") != "\n" {
		t.Error("and the true one has not run")
	}
}

// A state under another rollout's subject is not that rollout.
func TestAnotherRolloutsState(t *testing.T) {
	h := newHost(t, command("true"))
	h.record()
	c := h.config()
	c.Journal = liar{h.journal, "someone-else"}
	h.run(c)
	if got := h.tell("run", h.order("migrate")); got != "not_wanted" {
		t.Errorf("%q", got)
	}
	h.none()
}

func TestDoneTwice(t *testing.T) {
	h := newHost(t, release.Step{Name: "migrate", Command: &release.Command{Shell: "echo $GOLIVE_ATTEMPT >>ran; test $GOLIVE_ATTEMPT -gt 1"}})
	h.record()
	h.run(h.config())
	if got := h.do("migrate", false); got.Status != protocol.HostFailed || got.Error != "exit code 1" || *got.Exit != 1 {
		t.Errorf("%+v", got)
	}
	eventually(t, "an attempt that is over is refused", func() bool { return h.tell("run", h.order("migrate")) == "not_wanted" })
	h.state.Steps[0].Attempt = 2
	h.record()
	o := h.order("migrate")
	o.Attempt = 2
	for range 3 {
		if code := h.tell("run", o); code != "" {
			t.Error(code)
		}
		h.await(h.key(1, false), func(got protocol.Host) bool { return got.Status == protocol.HostDone && got.Attempt == 2 })
	}
	h.state.Steps[0].Attempt = 3
	h.record()
	o.Attempt = 3
	if code := h.tell("run", o); code != "" {
		t.Error(code)
	}
	if got := h.file("ran"); got != "1\n2\n" {
		t.Errorf("%q", got)
	}
}

// Whoever orders a running attempt again starts nothing.
func TestOrderedTwiceWhileItRuns(t *testing.T) {
	h := newHost(t, release.Step{Name: "migrate", Command: &release.Command{Shell: "echo >>ran; while ! test -e go; do sleep 0.02; done"}})
	h.record()
	h.run(h.config())
	for range 3 {
		if code := h.tell("run", h.order("migrate")); code != "" {
			t.Error(code)
		}
	}
	h.script("go", "")
	if got := h.await(h.key(1, false), ended); got.Status != protocol.HostDone || got.Ended.Before(got.Started) {
		t.Errorf("%+v", got)
	}
	if got := h.file("ran"); got != "\n" {
		t.Errorf("%q", got)
	}
}

// What an earlier attempt has left running makes way for the next one.
func TestNextAttemptStopsTheOneBefore(t *testing.T) {
	h := newHost(t, release.Step{Name: "migrate", Command: &release.Command{Shell: "echo $GOLIVE_ATTEMPT >>ran; test $GOLIVE_ATTEMPT -gt 1 || exec sleep 60"}})
	h.record()
	h.run(h.config())
	if code := h.tell("run", h.order("migrate")); code != "" {
		t.Fatal(code)
	}
	eventually(t, "it runs", func() bool { return h.file("ran") == "1\n" })
	h.state.Steps[0].Attempt = 2
	h.record()
	o := h.order("migrate")
	o.Attempt = 2
	if code := h.tell("run", o); code != "" {
		t.Fatal(code)
	}
	h.await(h.key(1, false), func(got protocol.Host) bool { return got.Status == protocol.HostDone && got.Attempt == 2 })
	if got := h.file("ran"); got != "1\n2\n" {
		t.Errorf("%q", got)
	}
}

// An agent that has died between accepting and starting, or before its result was stored,
// has left an entry that says running.
func TestEntriesOfOthers(t *testing.T) {
	h := newHost(t, release.Step{Name: "migrate", Command: &release.Command{Shell: "echo >>ran"}})
	h.record()
	a := h.run(h.config())
	running := protocol.Host{Name: "web-1", Instance: "died", Attempt: 1, Status: protocol.HostRunning, Started: time.Now().UTC()}
	h.put(h.key(1, false), running)
	if code := h.tell("run", h.order("migrate")); code != "refused" {
		t.Errorf("of another instance: %q", code)
	}
	lost := running
	lost.Status = protocol.HostLost
	h.put(h.key(1, false), lost)
	if code := h.tell("run", h.order("migrate")); code != "not_wanted" {
		t.Errorf("declared lost: %q", code)
	}
	lost.Attempt = 2
	h.put(h.key(1, false), lost)
	if code := h.tell("run", h.order("migrate")); code != "not_wanted" {
		t.Errorf("of a later attempt: %q", code)
	}
	sealed := protocol.Host{Name: "web-1", Attempt: 1, Status: protocol.HostWaiting}
	h.put(h.key(1, false), sealed)
	if code := h.tell("run", h.order("migrate")); code != "not_wanted" {
		t.Errorf("not to begin any more: %q", code)
	}
	if h.file("ran") != "" {
		t.Error("something has run")
	}
	// The acknowledgement of its own entry has been lost, and it has forgotten.
	running.Instance = a.Instance()
	h.put(h.key(1, false), running)
	if got := h.do("migrate", false); got.Status != protocol.HostDone || h.file("ran") != "\n" {
		t.Errorf("of its own: %+v", got)
	}
}

// A result that comes after the host was declared lost is dropped.
func TestResultOfALostHost(t *testing.T) {
	h := newHost(t, release.Step{Name: "migrate", Command: &release.Command{Shell: "while ! test -e go; do sleep 0.02; done; echo >>ran"}})
	h.record()
	a := h.run(h.config())
	if code := h.tell("run", h.order("migrate")); code != "" {
		t.Fatal(code)
	}
	got := h.await(h.key(1, false), func(got protocol.Host) bool { return got.Status == protocol.HostRunning })
	got.Status, got.Error = protocol.HostLost, "its agent has died"
	h.put(h.key(1, false), got)
	h.script("go", "")
	eventually(t, "it has run", func() bool { return h.file("ran") != "" })
	must(t, a.end(t))
	if now := h.await(h.key(1, false), ended); now.Status != protocol.HostLost {
		t.Errorf("%+v", now)
	}
}

func TestCancel(t *testing.T) {
	h := newHost(t, release.Step{Name: "migrate", Command: &release.Command{Shell: "echo >>ran; exec sleep 60"}})
	h.record()
	h.run(h.config())
	if code := h.tell("cancel", h.order("migrate")); code != "" {
		t.Error("nothing runs:", code)
	}
	if code := h.tell("run", h.order("migrate")); code != "" {
		t.Fatal(code)
	}
	eventually(t, "it runs", func() bool { return h.file("ran") != "" })
	key := protocol.AssignmentKey(h.state.ID, 1, false)
	for _, c := range []any{nil, protocol.Assignment{Attempt: 1, Hosts: []string{"web-1"}}} {
		if c != nil {
			h.put(key, c)
		}
		if code := h.tell("cancel", h.order("migrate")); code != "not_wanted" {
			t.Errorf("a forged one: %q", code)
		}
	}
	h.put(key, protocol.Assignment{Attempt: 1, Hosts: []string{"web-1"}, Cancelled: true})
	if code := h.tell("cancel", h.order("migrate")); code != "" {
		t.Error(code)
	}
	got := h.await(h.key(1, false), ended)
	if got.Status != protocol.HostFailed || got.Error != "cancelled: the rollout does not want it any more" || got.Exit != nil {
		t.Errorf("%+v", got)
	}
}

func TestDeadline(t *testing.T) {
	h := newHost(t, release.Step{Name: "migrate", Command: &release.Command{Shell: "echo begun; exec sleep 60"}})
	h.state.Steps[0].Deadline = time.Now().Add(time.Second)
	h.record()
	h.run(h.config())
	got := h.do("migrate", false)
	if got.Status != protocol.HostFailed || got.Error != "timeout: it has not ended in its time" || got.Output != "begun" {
		t.Errorf("%+v", got)
	}
}

func TestConfig(t *testing.T) {
	h := newHost(t)
	for name, change := range map[string]func(*agent.Config){
		"no connection":  func(c *agent.Config) { c.Conn = nil },
		"no journal":     func(c *agent.Config) { c.Journal = nil },
		"no release":     func(c *agent.Config) { c.Releases = nil },
		"nil release":    func(c *agent.Config) { c.Releases = []*release.Manifest{nil} },
		"name":           func(c *agent.Config) { c.Name = "web.1" },
		"wildcard":       func(c *agent.Config) { c.Name = "*" },
		"key of another": func(c *agent.Config) { c.Name = "_assignment" },
	} {
		c := h.config()
		change(&c)
		if _, err := agent.New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	c := h.config()
	c.Name = ""
	a, err := agent.New(c)
	must(t, err)
	must(t, protocol.ValidateAgentName(a.Name()))
}

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/golive-dev/golive/orchestrator"
	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/embedded"
	"github.com/golive-dev/golive/relay/protocol"
)

// environment is a bus with an orchestrator, for one test.
type environment struct {
	t      *testing.T
	url    string
	client *api.Client
}

func newEnvironment(t *testing.T) *environment {
	t.Helper()
	server, err := embedded.Start(embedded.Config{Data: t.TempDir(), Unsynced: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })
	ctx, cancel := context.WithCancel(context.Background())
	r, err := relay.Connect(ctx, relay.Config{Server: server})
	if err != nil {
		t.Fatal(err)
	}
	e, err := newEngine(ctx, r, orchestrator.Config{Replicas: 1}, gate.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ended, err := e.start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the orchestrator has ended: %v", err)
		}
		r.Close()
	})
	return &environment{t: t, url: server.URL(), client: api.NewClient(r.Conn())}
}

// request is one for a release that begins with an approval.
func request(policy rollout.Policy, checklist ...string) api.DeployRequest {
	return api.DeployRequest{Rollout: uuid.Must(uuid.NewV7()).String(), By: "starter", Release: rollout.Release{
		App: "todo-app", Version: "0.0.2", Strategy: rollout.Parallel, Digest: "d", Approvals: policy,
		Services: []rollout.Service{{Name: "todos", Version: "0.0.2"}},
		Workflow: []rollout.Item{
			{Name: "go-ahead", Approval: &rollout.Question{Text: "Shall it go live?", Checklist: checklist}},
			{Phase: protocol.Online},
		},
	}}
}

func (e *environment) deploy(q api.DeployRequest) string {
	e.t.Helper()
	v, err := e.client.Deploy(e.t.Context(), q)
	if err != nil {
		e.t.Fatal(err)
	}
	return v.ID
}

func (e *environment) show(id string) api.RolloutStory {
	e.t.Helper()
	s, err := e.client.Show(e.t.Context(), api.RolloutRequest{Rollout: id})
	if err != nil {
		e.t.Fatal(err)
	}
	return s
}

// says has somebody else answer.
func (e *environment) says(by, id string, item int) {
	e.t.Helper()
	q := api.StepRequest{RolloutRequest: api.RolloutRequest{Rollout: id, By: by}}
	if _, err := e.client.Approve(e.t.Context(), api.ApproveRequest{StepRequest: q, Item: item}); err != nil {
		e.t.Fatal(err)
	}
}

// desktop is where a person sits: what it shows, and what is typed.
type desktop struct {
	terminal.Streams
	out, err shown
	types    *io.PipeWriter
}

// shown is what was written; it can be waited for.
type shown struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func (s *shown) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.more != nil {
		close(s.more)
		s.more = nil
	}
	return s.text.Write(p)
}

func (s *shown) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// await blocks until all of this is shown, in whatever order, and forgets all up to it.
func (s *shown) await(t *testing.T, what ...string) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		s.mu.Lock()
		if end := endOf(s.text.String(), what); end >= 0 {
			s.text.Next(end)
			s.mu.Unlock()
			return
		}
		if s.more == nil {
			s.more = make(chan struct{})
		}
		more := s.more
		s.mu.Unlock()
		select {
		case <-more:
		case <-deadline:
			t.Fatalf("%q is not shown, but:\n%s", what, s.String())
		}
	}
}

// endOf is where the last of what is looked for ends in a text; -1 if one is not there.
func endOf(text string, what []string) int {
	end := 0
	for _, one := range what {
		i := strings.Index(text, one)
		if i < 0 {
			return -1
		}
		end = max(end, i+len(one))
	}
	return end
}

func newDesktop(t *testing.T, typing bool) *desktop {
	t.Helper()
	d := &desktop{}
	d.Streams = terminal.Streams{Out: &d.out, Err: &d.err, Dir: t.TempDir(), Getenv: func(string) string { return "" }}
	if typing {
		d.In, d.types = io.Pipe()
		t.Cleanup(func() { _ = d.types.Close() })
	}
	return d
}

func (d *desktop) typed(t *testing.T, line string) {
	t.Helper()
	if _, err := fmt.Fprintln(d.types, line); err != nil {
		t.Fatal(err)
	}
}

// run runs the command line in an environment.
func (d *desktop) run(e *environment, args ...string) int {
	return run(e.t.Context(), d.Streams, append(args, "--nats", e.url))
}

// follow begins to deploy what the files of a folder cannot say in a test.
func (d *desktop) follow(e *environment, q api.DeployRequest) <-chan error {
	c := &command{Streams: d.Streams, options: options{nats: e.url, output: "table"}}
	if d.In != nil {
		c.keys = terminal.NewKeyboard(d.In)
	}
	ended := make(chan error, 1)
	go func() {
		r, err := c.reach(e.t.Context(), "")
		if err == nil {
			err = rollOut(e.t.Context(), c, r, q, 0)
			r.Close()
		}
		ended <- err
	}()
	return ended
}

func within(t *testing.T, ended <-chan error) error {
	t.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("it does not end")
		return nil
	}
}

func TestApproveWithoutATerminal(t *testing.T) {
	e := newEnvironment(t)
	id := e.deploy(request(rollout.Policy{By: []string{me(), "bob"}, Count: 2}, "the backup is fresh", "bob is awake"))
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"approve " + id, exitMisused, "golive: error: item 1: the backup is fresh\ngolive: error: item 2: bob is awake\n" +
			"golive: hint: confirm one: golive approve " + id + " go-ahead --item 1\ngolive: hint: confirm all, and approve: golive approve " + id + " go-ahead --yes\n"},
		{"approve " + id + " --item 2 --yes", exitMisused, "exclude each other"},
		{"approve " + id + " --item 0", exitMisused, "from 1"},
		{"approve " + id + " --item 3", exitFailed, "there is no item 3"},
		{"approve " + id + " todos/traffic", exitFailed, "asks nobody"},
		{"approve " + id + " go-ahead --item 2", exitDone, "still waits: 1 of 2 items confirmed, 0 of 2 have approved, " + me() + " or bob may\n"},
		{"approve " + id + " go-ahead --item 2", exitDone, "1 of 2 items confirmed"}, // twice is no error
		{"history", exitDone, "waiting"},
		{"status", exitDone, "  answer with: golive approve " + id + " go-ahead\n  or with: golive reject " + id + " go-ahead\n"},
		{"show " + id, exitDone, "☐ not confirmed 1: the backup is fresh"},
		{"approve " + id + " -y --reason fine", exitDone, "still waits: 1 of 2 have approved, bob may\n"},
		{"approve " + id, exitDone, "1 of 2 have approved, bob may"}, // twice is no error
	} {
		d := newDesktop(t, false)
		code := d.run(e, strings.Fields(c.args)...)
		if all := d.out.String() + d.err.String(); code != c.code || !strings.Contains(all, c.want) {
			t.Errorf("golive %s: exit %d, want %d with %q:\n%s", c.args, code, c.code, c.want, all)
		}
	}
	e.says("bob", id, 0)
	d := newDesktop(t, false)
	if code := d.run(e, "show", id); code != exitDone || strings.Count(d.out.String(), "✓ approved") != 2 {
		t.Errorf("exit %d:\n%s", code, d.out.String())
	}
	d = newDesktop(t, false)
	if code := d.run(e, "approve", id); code != exitFailed || !strings.Contains(d.err.String(), "waits for nobody's approval") {
		t.Errorf("exit %d:\n%s", code, d.err.String())
	}
}

func TestRejectAndAskAgain(t *testing.T) {
	e := newEnvironment(t)
	id := e.deploy(request(rollout.Policy{}))
	d := newDesktop(t, false)
	if code := d.run(e, "reject", id, "--reason", "not on a Friday"); code != exitDone || !strings.Contains(d.out.String(), "To ask again: golive retry "+id) {
		t.Errorf("exit %d: %s%s", code, d.out.String(), d.err.String())
	}
	d = newDesktop(t, false)
	if code := d.run(e, "retry", id); code != exitPerson {
		t.Errorf("exit %d: %s", code, d.err.String())
	}
	d = newDesktop(t, false)
	if code := d.run(e, "approve", id); code != exitDone || !strings.Contains(d.out.String(), "is approved by "+me()+": the rollout goes on") {
		t.Errorf("exit %d: %s%s", code, d.out.String(), d.err.String())
	}
}

func TestApproveAsksItemByItem(t *testing.T) {
	e := newEnvironment(t)
	id := e.deploy(request(rollout.Policy{}, "the backup is fresh", "bob is awake"))
	d := newDesktop(t, true)
	ended := make(chan int, 1)
	go func() { ended <- d.run(e, "approve", id) }()
	d.err.await(t, "? go-ahead of todo-app 0.0.2: Shall it go live?: 0 of 2 items confirmed, 0 of 1 have approved, anybody may")
	d.err.await(t, "item 1 of 2: the backup is fresh\n  go-ahead? [y = confirm, n = reject, l = leave it to others]")
	d.typed(t, "y")
	d.err.await(t, "item 2 of 2: bob is awake\n  go-ahead? [y = confirm,")
	d.typed(t, "what?")
	d.err.await(t, "[y = confirm,")
	d.typed(t, "yes")
	d.err.await(t, "go-ahead? [y = approve,")
	d.typed(t, "l")
	if code := <-ended; code != exitPerson || !strings.Contains(d.err.String(), "is not approved: it still waits") {
		t.Errorf("exit %d: %s", code, d.err.String())
	}
	if code := newDesktop(t, true).run(e, "approve", id); code != exitDone { // no item is left to ask for
		t.Errorf("exit %d", code)
	}
}

func TestDeployWithoutATerminalLeavesTheApprovalToPeople(t *testing.T) {
	e := newEnvironment(t)
	d := newDesktop(t, false)
	q := request(rollout.Policy{By: []string{"ann", "bob"}})
	f := explain(within(t, d.follow(e, q)))
	if f.exit != exitPerson || f.code != codePerson || !strings.Contains(f.message, "waits for a person: go-ahead: ann or bob to approve: Shall it go live?") ||
		!strings.Contains(f.hint, "golive approve "+q.Rollout+" go-ahead") {
		t.Errorf("it ends with %+v", f)
	}
	if s := e.show(q.Rollout); s.Status != rollout.Running {
		t.Errorf("the rollout is %s", s.Status)
	}
}

func TestDeployAsksInTheTerminal(t *testing.T) {
	e := newEnvironment(t)
	d := newDesktop(t, true)
	ended := d.follow(e, request(rollout.Policy{Count: 2}, "the backup is fresh"))
	d.err.await(t, "? go-ahead: waits for 2 people to approve: Shall it go live?\n    1. the backup is fresh\n")
	d.err.await(t, "[y = confirm,")
	d.typed(t, "y")
	d.err.await(t, "* item 1 of go-ahead is confirmed (the backup is fresh) by "+me())
	d.err.await(t, "[y = approve, n = reject, l = leave it to others]")
	d.typed(t, "y")
	d.err.await(t, "* go-ahead is approved by "+me()+" (1 of 2 have approved, anybody may but "+me())
	page, err := e.client.List(t.Context(), api.ListRequest{})
	if err != nil {
		t.Fatal(err)
	}
	e.says("bob", page.Rollouts[0].ID, 0)
	if err := within(t, ended); err != nil {
		t.Error(err)
	}
	d.out.await(t, "todo-app 0.0.2 is live")
}

func TestAQuestionGoesAwayWhenSomebodyElseAnswers(t *testing.T) {
	e := newEnvironment(t)
	d := newDesktop(t, true)
	q := request(rollout.Policy{}, "the backup is fresh", "bob is awake")
	ended := d.follow(e, q)
	d.err.await(t, "item 1 of 2: the backup is fresh\n  go-ahead? [y = confirm,")
	e.says("bob", q.Rollout, 1)
	d.err.await(t, "* item 1 of go-ahead is confirmed (the backup is fresh) by bob")
	d.err.await(t, "item 2 of 2: bob is awake\n  go-ahead? [y = confirm,")
	e.says("bob", q.Rollout, 2)
	d.err.await(t, "go-ahead? [y = approve,")
	e.says("bob", q.Rollout, 0)
	d.err.await(t, "✓ go-ahead: approved by bob")
	if err := within(t, ended); err != nil {
		t.Error(err)
	}
}

func TestDeployTellsWhoMayNotApprove(t *testing.T) {
	e := newEnvironment(t)
	d := newDesktop(t, true)
	q := request(rollout.Policy{By: []string{"bob"}})
	ended := d.follow(e, q)
	d.err.await(t, "[y = approve,")
	d.typed(t, "y")
	d.err.await(t, me()+" may not answer go-ahead, that is for bob\n  others answer with: golive approve "+q.Rollout)
	e.says("bob", q.Rollout, 0)
	if err := within(t, ended); err != nil {
		t.Error(err)
	}
}

func TestDeployCanBeRejectedInTheTerminal(t *testing.T) {
	e := newEnvironment(t)
	d := newDesktop(t, true)
	q := request(rollout.Policy{})
	ended := d.follow(e, q)
	d.err.await(t, "[y = approve,")
	d.typed(t, "n")
	d.err.await(t, "why?")
	d.typed(t, "not on a Friday")
	d.err.await(t, "✗ go-ahead: rejected by "+me()+": not on a Friday")
	f := explain(within(t, ended))
	if f.exit != exitFailed || f.hint != "it ends with: golive abort "+q.Rollout+"\nto ask again: golive retry "+q.Rollout {
		t.Errorf("it ends with %+v", f)
	}
}

func TestDeployStopsAtTheEndOfAPhase(t *testing.T) {
	e := newEnvironment(t)
	q := request(rollout.Policy{})
	q.Release.Workflow = []rollout.Item{{Phase: protocol.Online}, {Name: "go-ahead", Approval: &rollout.Question{Text: "Shall it?"}}, {Phase: protocol.Setup}}
	q.Release.Setup, q.Phase = true, protocol.Online
	d := newDesktop(t, false)
	if err := within(t, d.follow(e, q)); err != nil {
		t.Fatal(err)
	}
	d.out.await(t, "phase online of todo-app 0.0.2 has run: the rollout waits; go on with: golive deploy (rollout "+q.Rollout+")")
	for args, want := range map[string]string{
		"history":            "held",
		"status":             "go on with: golive deploy, in the folder of todo-app 0.0.2",
		"watch " + q.Rollout: "phase online of todo-app 0.0.2 has run",
		"show " + q.Rollout:  "go on with: golive deploy",
	} {
		d := newDesktop(t, false)
		if code := d.run(e, strings.Fields(args)...); code != exitDone || !strings.Contains(d.out.String(), want) {
			t.Errorf("golive %s: exit %d, not %q:\n%s", args, code, want, d.out.String())
		}
	}
	further := q
	further.Rollout, further.Phase = uuid.Must(uuid.NewV7()).String(), ""
	d = newDesktop(t, false)
	if f := explain(within(t, d.follow(e, further))); f.exit != exitPerson || !strings.Contains(f.message, q.Rollout) {
		t.Errorf("it ends with %+v", f)
	}
	d.err.await(t, "* the rollout goes on to its end by starter")
}

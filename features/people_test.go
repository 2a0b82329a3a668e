package features

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/cucumber/godog"
	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/embedded"
)

func (s *scenario) peopleSteps(sc *godog.ScenarioContext) {
	sc.Step(`^a bus with the users (.+)$`, s.startGuarded)
	sc.Step(`^I start "(golive.*)" on a terminal of (\d+) columns, as (\S+)$`, func(ctx context.Context, line string, columns int, user string) error {
		return s.startDrawn(ctx, line, columns, "TERM=xterm-256color", "NO_COLOR=", s.as(user))
	})
	sc.Step(`^(\S+) runs "(golive.*)"$`, func(ctx context.Context, user, line string) error {
		if err := s.start(ctx, line, s.home(), s.as(user)); err != nil {
			return err
		}
		t, _ := s.current()
		return t.await(ctx)
	})
	sc.Step(`^(\S+) asks golive in the name of (\S+) to approve the rollout, and is refused$`, s.pretend)
	sc.Step(`^the bus does not let (\S+) ask golive as (\S+)$`, s.mayNotAsk)
	sc.Step(`^I type "(.*)"$`, s.typeLine)
	sc.Step(`^an orchestrator is started as "(golive serve.*)"$`, s.startServe)
}

// startGuarded starts a bus that knows its users: golive, and people who may ask only in their
// own names. The password of everybody is the name.
func (s *scenario) startGuarded(names string) error {
	users := []embedded.User{{Name: "golive", Password: "golive"}}
	for _, name := range words(names) {
		users = append(users, embedded.User{Name: name, Password: name, Publish: []string{
			"golive.api.*", "golive.api.*." + name, "$SYS.REQ.USER.INFO", "$JS.API.>",
		}})
	}
	server, err := embedded.Start(embedded.Config{
		Data: filepath.Join(s.folder, "bus"), Listen: embedded.DefaultListen, Unsynced: true, Users: users,
	})
	if err != nil {
		return err
	}
	s.bus = &bus{server, userURL(server.URL(), "golive")}
	return nil
}

var urlUser = regexp.MustCompile(`://(\w+:\w+@)?`)

func userURL(url, user string) string {
	return urlUser.ReplaceAllString(url, "://"+user+":"+user+"@")
}

// as tells a command who asks.
func (s *scenario) as(user string) string { return relay.EnvURL + "=" + userURL(s.bus.url, user) }

// pretend asks as somebody does who is not content with the command line: in the payload it
// names another person.
func (s *scenario) pretend(ctx context.Context, user, other string) error {
	id := s.newest(rolloutID)
	if id == "" {
		return errors.New("no rollout has been told of yet")
	}
	ctx, cancel := withPatience(ctx)
	defer cancel()
	r, err := relay.Connect(ctx, relay.Config{URL: userURL(s.bus.url, user), Name: user})
	if err != nil {
		return err
	}
	defer r.Close()
	m, err := r.Conn().RequestWithContext(ctx, "golive.api.approve", []byte(`{"rollout":"`+id+`","by":"`+other+`"}`))
	if err != nil {
		return err
	}
	if !strings.Contains(string(m.Data), `"not_allowed"`) {
		return fmt.Errorf("%s is told %s", user, m.Data)
	}
	return nil
}

// mayNotAsk asks in the place of another user, which is for the bus to refuse.
func (s *scenario) mayNotAsk(ctx context.Context, user, other string) error {
	ctx, cancel := withPatience(ctx)
	defer cancel()
	refused := make(chan error, 1)
	nc, err := nats.Connect(userURL(s.bus.url, user), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		select {
		case refused <- err:
		default: // one refusal is enough
		}
	}))
	if err != nil {
		return err
	}
	defer nc.Close()
	if err := nc.Publish("golive.api.approve."+other, []byte(`{}`)); err != nil {
		return err
	}
	select {
	case err := <-refused:
		if !errors.Is(err, nats.ErrPermissionViolation) {
			return fmt.Errorf("the bus says: %w", err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the bus lets %s ask as %s: %w", user, other, context.Cause(ctx))
	}
}

// typeLine types a line at the terminal that steps speak of.
func (s *scenario) typeLine(line string) error {
	t, err := s.current()
	if err != nil {
		return err
	}
	if t.keys == nil {
		return fmt.Errorf("%s was not started on a terminal", t.line)
	}
	_, err = fmt.Fprintln(t.keys, line)
	return err
}

// startServe starts an orchestrator in the folder where the apps are, and returns when it is
// at work.
func (s *scenario) startServe(ctx context.Context, line string) error {
	line, err := s.fillIn(ctx, strings.TrimSpace(line))
	if err != nil {
		return err
	}
	t, err := s.open(line, s.home())
	if err != nil {
		return err
	}
	s.orchestrators = append(s.orchestrators, t)
	return t.err.await(ctx, t.ended, func(text string) string { return inOrder([]string{"… orchestrator is ready"}, text) })
}

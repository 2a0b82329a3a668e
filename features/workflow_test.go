package features

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/cucumber/godog"
)

// workflow is what a scenario has beside services and their scripts: programs that steps of
// releases call, agents that call them, and a web server at which checks look.
type workflow struct {
	agents map[string]*terminal // by name, in which agents were started
	web    *webServer           // nil: there is none
}

func (s *scenario) workflowSteps(sc *godog.ScenarioContext) {
	sc.Step(`^the release of the app (\S+) goes through these steps:$`, s.appWorkflow)
	sc.Step(`^the manifest of the app (\S+) also says:$`, s.appMore)
	sc.Step(`^the file (\S+) of the app (\S+) is:$`, s.writeFile)
	sc.Step(`^a web server answers (\d+)$`, s.serveWeb)
	sc.Step(`^the web server answers (\d+)$`, func(status int) { s.workflow.web.answer(status) })
	sc.Step(`^the web server was asked (\d+) times?$`, func(times int) error { return s.workflow.web.asked(times) })
	sc.Step(`^the story tells that (\S+) was done in the first rollout of all$`, s.doneInFirst)
	s.toolSteps(sc)
	s.agentSteps(sc)
}

// doneInFirst looks for the rollout that was told of first behind a step that is skipped.
func (s *scenario) doneInFirst(ctx context.Context, step string) error {
	if len(s.terminals) == 0 {
		return errors.New("no rollout has been told of yet")
	}
	found := rolloutID.FindStringSubmatch(s.terminals[0].err.text())
	if found == nil {
		return fmt.Errorf("%s has told of no rollout", s.terminals[0].line)
	}
	return s.storyTells(ctx, &godog.DocString{Content: "… " + step + " … skipped: … in rollout " + found[1] + "…"})
}

func (s *scenario) toolSteps(sc *godog.ScenarioContext) {
	const called = `^the program (\S+?)(?:, called with (forward|backward|status),)?(?: on the host (\S+))? `
	say := func(pattern string, o func(text string) []order) {
		sc.Step(called+pattern+`$`, func(name, word, host, text string) { s.orderTool(name, word, host, o(text)...) })
	}
	say(`fails with "(.*)"`, func(text string) []order { return []order{{Do: "fail", Text: text}} })
	say(`fails the first time with "(.*)"`, func(text string) []order { return []order{{Do: "fail", Text: text}, {}} })
	say(`prints "(.*)"`, func(text string) []order { return []order{{Print: text}} })
	sc.Step(called+`takes until I say so$`, func(name, word, host string) {
		s.orderTool(name, word, host, order{Wait: true})
	})
	sc.Step(called+`takes the first time until I say so$`, func(name, word, host string) {
		s.orderTool(name, word, host, order{Wait: true}, order{})
	})
	sc.Step(`^what the program (\S+) does is done already$`, func(name string) {
		s.orderTool(name, "status", "", order{Do: "is done"})
	})
	sc.Step(`^the program (\S+) has begun(?: on (\d+) hosts)?$`, s.awaitTools)
	sc.Step(`^the program (\S+) has begun on the host (\S+)$`, s.awaitToolOn)
	sc.Step(`^I let the program (\S+) end(?: on the host (\S+))?$`, func(name, host string) {
		s.board.change(func() { s.board.free[toolKey(name, host)] = true })
	})
	sc.Step(`^the program (\S+) never ran on more than (\d+) hosts at the same time$`, s.atMost)
	sc.Step(`^the program (\S+) is stopped$`, s.awaitToolEnd)
	sc.Step(`^these programs were called, in this order:$`, func(t *godog.Table) error { return s.wereCalled(t, true) })
	sc.Step(`^these programs were called, in whatever order:$`, func(t *godog.Table) error { return s.wereCalled(t, false) })
	sc.Step(`^no program was called$`, func() error { return s.wereCalled(&godog.Table{}, true) })
}

func (s *scenario) agentSteps(sc *godog.ScenarioContext) {
	sc.Step(`^on the host (\S+) somebody starts "(golive agent.*)"$`, s.startAgent)
	sc.Step(`^the agent (\S+) is killed with SIGKILL$`, s.killAgent)
	sc.Step(`^the agent (\S+) gets Ctrl-C$`, func(name string) error { return s.signalAgent(name, syscall.SIGINT) })
	sc.Step(`^the agent (\S+) ends with code (\d+)$`, func(ctx context.Context, name string, code int) error {
		t, err := s.agent(name)
		if err != nil {
			return err
		}
		return t.endsWith(ctx, code)
	})
	sc.Step(`^the agent (\S+) logs "(.*)"$`, func(ctx context.Context, name, line string) error {
		t, err := s.agent(name)
		if err != nil {
			return err
		}
		return t.err.await(ctx, t.ended, func(text string) string { return inOrder([]string{line}, text) })
	})
}

// appWorkflow has the manifest say what the steps of the release are. In it "the program
// NAME" stands for a program that does what the scenario says, and WEB for the address of the
// web server.
func (s *scenario) appWorkflow(name string, text *godog.DocString) error {
	return s.appMore(name, &godog.DocString{Content: "steps:\n" + text.Content})
}

func (s *scenario) appMore(name string, text *godog.DocString) error {
	a := s.apps[name]
	if a == nil {
		return fmt.Errorf("there is no app %s yet", name)
	}
	more, err := s.written(text.Content)
	if err != nil {
		return err
	}
	a.more += more + "\n"
	return s.keepManifest(a)
}

func (s *scenario) writeFile(file, name string, text *godog.DocString) error {
	content, err := s.written(text.Content)
	if err != nil {
		return err
	}
	path := filepath.Join(s.appFolder(name), file)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(content), 0o600)
}

var (
	programName = regexp.MustCompile(`the program ([a-z][a-z0-9-]*)`)
	busName     = regexp.MustCompile(`BUS-OF-([a-z]+)`)
)

// written is text of a scenario with what stands in it for programs and addresses.
func (s *scenario) written(text string) (string, error) {
	for _, found := range programName.FindAllStringSubmatch(text, -1) {
		command, err := role("tool", found[1])
		if err != nil {
			return "", err
		}
		text = strings.Replace(text, found[0], inline(command), 1)
	}
	for _, found := range busName.FindAllStringSubmatch(text, -1) {
		site := s.sites[found[1]]
		if site == nil {
			return "", fmt.Errorf("there is no environment %s", found[1])
		}
		text = strings.Replace(text, found[0], site.url, 1)
	}
	if s.workflow.web != nil {
		text = strings.ReplaceAll(text, "WEB", s.workflow.web.server.URL)
	}
	return text, nil
}

// webServer answers every request with the same status. It is safe for concurrent use.
type webServer struct {
	server *httptest.Server

	mu     sync.Mutex
	status int
	times  int // that it was asked
}

func (s *scenario) serveWeb(status int) {
	w := &webServer{status: status}
	w.server = httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.times++
		out.WriteHeader(w.status)
	}))
	s.workflow.web = w
}

func (w *webServer) answer(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.status = status
}

func (w *webServer) asked(times int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.times != times {
		return fmt.Errorf("it was asked %d times", w.times)
	}
	return nil
}

func (w *webServer) stop() {
	if w != nil {
		w.server.Close()
	}
}

// toolKey is what orders for a program are kept under: its name and, where they are for one
// host, that.
func toolKey(name, host string) string {
	if host != "" {
		return name + " on " + host
	}
	return name
}

// orderTool tells a program what to do when it is called with a word; without one, when it is
// called with forward, or none.
func (s *scenario) orderTool(name, word, host string, o ...order) {
	names := []string{name + " " + word}
	if word == "" {
		names = []string{name, name + " forward"}
	}
	s.board.change(func() {
		for _, called := range names {
			s.board.orders[toolKey(called, host)] = o
		}
	})
}

// awaitTools blocks until a program was called, on so many hosts.
func (s *scenario) awaitTools(ctx context.Context, name, hosts string) error {
	want := 1
	if hosts != "" {
		_, _ = fmt.Sscan(hosts, &want) // the pattern has digits only
	}
	ctx, cancel := withPatience(ctx)
	defer cancel()
	return s.board.await(ctx, func() string {
		seen := make(map[string]bool)
		for _, call := range s.board.calls {
			if call.name == name {
				seen[call.host] = true
			}
		}
		if len(seen) < want {
			return fmt.Sprintf("the program %s has begun on %d hosts, not %d", name, len(seen), want)
		}
		return ""
	})
}

func (s *scenario) awaitToolOn(ctx context.Context, name, host string) error {
	ctx, cancel := withPatience(ctx)
	defer cancel()
	return s.board.await(ctx, func() string {
		if !slices.ContainsFunc(s.board.calls, func(c toolCall) bool { return c.name == name && c.host == host }) {
			return fmt.Sprintf("the program %s has not begun on %s", name, host)
		}
		return ""
	})
}

// awaitToolEnd blocks until a program runs nowhere any more.
func (s *scenario) awaitToolEnd(ctx context.Context, name string) error {
	ctx, cancel := withPatience(ctx)
	defer cancel()
	return s.board.await(ctx, func() string {
		if n := s.board.at[name]; n > 0 {
			return fmt.Sprintf("the program %s still runs on %d hosts", name, n)
		}
		return ""
	})
}

func (s *scenario) atMost(name string, hosts int) error {
	s.board.mu.Lock()
	defer s.board.mu.Unlock()
	if most := s.board.most[name]; most > hosts || most == 0 {
		return fmt.Errorf("it ran on %d hosts at the same time", most)
	}
	return nil
}

// wereCalled compares how programs were called with the table: program, word, and host where
// it has such a column.
func (s *scenario) wereCalled(table *godog.Table, ordered bool) error {
	var want []string
	withHost := false
	for i, row := range table.Rows {
		if i == 0 {
			withHost = len(row.Cells) > 2
			continue
		}
		var cells []string
		for _, cell := range row.Cells {
			cells = append(cells, cell.Value)
		}
		want = append(want, strings.Join(cells, " "))
	}
	var have []string
	s.board.mu.Lock()
	for _, call := range s.board.calls {
		text := call.name + " " + call.word
		if withHost {
			text += " " + call.host
		}
		have = append(have, text)
	}
	s.board.mu.Unlock()
	if !ordered {
		slices.Sort(want)
		slices.Sort(have)
	}
	if !slices.Equal(have, want) {
		return fmt.Errorf("these programs were called: %q", have)
	}
	return nil
}

// startAgent returns when the agent takes orders.
func (s *scenario) startAgent(ctx context.Context, name, line string) error {
	line = strings.Replace(line, "golive agent", "golive agent --name "+name, 1)
	t, err := s.open(line, s.home())
	if err != nil {
		return err
	}
	if before := s.workflow.agents[name]; before != nil {
		s.others = append(s.others, before)
	}
	s.workflow.agents[name] = t
	return t.err.await(ctx, t.ended, func(text string) string { return inOrder([]string{"… agent is ready …"}, text) })
}

func (s *scenario) agent(name string) (*terminal, error) {
	if t := s.workflow.agents[name]; t != nil {
		return t, nil
	}
	return nil, fmt.Errorf("there is no agent %s, there are %q", name, slices.Sorted(maps.Keys(s.workflow.agents)))
}

func (s *scenario) signalAgent(name string, signal os.Signal) error {
	t, err := s.agent(name)
	if err != nil {
		return err
	}
	return t.cmd.Process.Signal(signal)
}

func (s *scenario) killAgent(ctx context.Context, name string) error {
	if err := s.signalAgent(name, syscall.SIGKILL); err != nil {
		return err
	}
	t, err := s.agent(name)
	if err != nil {
		return err
	}
	if err := t.await(ctx); err != nil {
		return errors.Join(fmt.Errorf("the agent %s lives on", name), err)
	}
	return nil
}

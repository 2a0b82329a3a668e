package spec_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
	"github.com/golive-dev/golive/sdk"
	"github.com/golive-dev/golive/sdk/spec"
)

// todo is what the todos service holds.
type todo struct {
	Title string `json:"title"`
	ID    int    `json:"id,omitempty"`
}

func doubles() []spec.Double {
	return []spec.Double{
		{Name: "todos", Version: "0.0.1", List: "list", Add: "create"},
		{Name: "todos-search", Service: "todo-search", Version: "0.0.1", Add: "add", Remove: "remove", List: "all"},
	}
}

// seedSetup is the setup service of the seed: it does nothing while offline, and fills
// the search when it is online.
func seedSetup() sdk.SetupService {
	return sdk.SetupService{
		Service: "todo-search", Version: "0.0.1",
		Offline: func(context.Context, *sdk.Run) error { return nil },
		Online:  fill,
	}
}

func fill(ctx context.Context, run *sdk.Run) error {
	var todos []json.RawMessage
	if err := run.Request(ctx, "todos.list", nil, &todos); err != nil {
		return err
	}
	for i, t := range todos {
		if err := run.Send("todo-search.add", t); err != nil {
			return err
		}
		run.Progress(int64(i+1), int64(len(todos)), "")
	}
	return nil
}

func seedSuite(setup sdk.SetupService) spec.Suite {
	return spec.Suite{SetupService: setup, Features: []string{"testdata/todo-search.feature"}, Doubles: doubles()}
}

func TestTheScenarioOfTheSeed(t *testing.T) {
	t.Parallel()
	spec.Run(t, seedSuite(seedSetup()))
}

func TestSteps(t *testing.T) {
	t.Parallel()
	clear := func(ctx context.Context, run *sdk.Run) error {
		return run.Request(ctx, "todo-search.remove", struct{}{}, nil)
	}
	suite := seedSuite(sdk.SetupService{
		Service: "todo-search", Version: "0.0.1",
		Before: func(context.Context, *sdk.Run) error { return nil },
		Offline: func(ctx context.Context, run *sdk.Run) error {
			if err := clear(ctx, run); err != nil {
				return err
			}
			return run.Request(ctx, "todo-search.add", map[string]string{"kind": "index"}, nil)
		},
		Online:        fill,
		RevertOffline: clear,
		RevertOnline:  func(context.Context, *sdk.Run) error { return nil },
	})
	suite.Features = []string{"testdata/steps.feature"}
	suite.Doubles[0].Entry = func(row map[string]string) any {
		id := 0
		if row["id"] != "" {
			id = int(row["id"][0] - '0')
		}
		return todo{row["title"], id}
	}
	spec.Run(t, suite)
}

func TestAScriptMaySendWithoutWaiting(t *testing.T) {
	t.Parallel()
	var rows strings.Builder
	for i := range 500 {
		fmt.Fprintf(&rows, "      | todo %d |\n", i)
	}
	suite := seedSuite(seedSetup())
	suite.Features = []string{feature(t, "Feature: f\n  Scenario: s\n"+
		"    Given a todos service with the entries:\n      | TITLE |\n"+rows.String()+
		"    And a todos-search service\n    When the deployment script runs\n"+
		"    Then the todos-search service knows about these documents:\n      | TITLE |\n"+rows.String())}
	if err := suite.Run(t.Context(), io.Discard); err != nil {
		t.Error(err)
	}
}

// feature is the path of a feature.
func feature(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s.feature")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestScriptsThatAreWrong(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		online sdk.Script
		want   []string
	}{
		{"does nothing",
			func(context.Context, *sdk.Run) error { return nil },
			[]string{"the todos-search service holds other entries (- missing, + unexpected):\n" +
				"      | TITLE |\n" +
				"    - | one   |\n" +
				"    - | two   |"}},
		{"drops one and adds another",
			func(ctx context.Context, run *sdk.Run) error {
				return errors.Join(
					run.Send("todo-search.add", todo{Title: "two"}),
					run.Send("todo-search.add", todo{Title: "three "}))
			},
			[]string{"the todos-search service holds other entries",
				"      | TITLE    |\n" +
					"    - | one      |\n" +
					"      | two      |\n" +
					"    + | \"three \" |"}},
		{"changes todos",
			func(ctx context.Context, run *sdk.Run) error {
				return errors.Join(fill(ctx, run), run.Send("todos.create", todo{Title: "three"}))
			},
			[]string{"the todos service holds other entries", "+ | three |"}},
		{"panics",
			func(context.Context, *sdk.Run) error { panic("out of paper") },
			[]string{"todo-search 0.0.1 online: panic: panic: out of paper"}},
		{"sends no entry",
			func(ctx context.Context, run *sdk.Run) error {
				return run.Request(ctx, "todo-search.add", []string{"one"}, nil)
			},
			[]string{"todo-search.add answered 400: add takes an entry: a JSON object"}},
		{"answers failed",
			func(context.Context, *sdk.Run) error { return errors.New("the index is full") },
			[]string{"todo-search 0.0.1 online: failed: the index is full"}},
		{"never answers",
			func(ctx context.Context, run *sdk.Run) error {
				run.Progress(1, 2, "")
				<-ctx.Done()
				return ctx.Err()
			},
			[]string{"todo-search 0.0.1 online has not answered within 1s, though it has done 1 of 2: " +
				"it has to send deployment-todo-search-0.0.1-online-done or deployment-todo-search-0.0.1-online-failed, or to reply to the start"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			setup := seedSetup()
			setup.Online = test.online
			suite := seedSuite(setup)
			if test.name == "never answers" {
				suite.Timeout = time.Second
			}
			var out strings.Builder
			err := suite.Run(t.Context(), &out)
			mustSay(t, err, append(test.want, "1 of 1 scenarios failed", "some todos exist (testdata/todo-search.feature)")...)
			mustSay(t, errors.New(out.String()), "What the scripts heard and said:", "deployment-todo-search-0.0.1-online-start\n")
		})
	}
}

// A script that does not end with its context must not keep a test from ending.
func TestAScriptThatDoesNotReturn(t *testing.T) {
	t.Parallel()
	relaytest.Long(t)
	forever := make(chan struct{})
	t.Cleanup(func() { close(forever) })
	setup := seedSetup()
	setup.Online = func(context.Context, *sdk.Run) error { <-forever; return nil }
	suite := seedSuite(setup)
	suite.Timeout = time.Second
	mustSay(t, suite.Run(t.Context(), io.Discard), "todo-search 0.0.1 online has not answered within 1s",
		"the setup service has not ended within 5s: its scripts must return soon after their context ends")
}

func TestADoubleAnswersTheMessagesOfItsAuthor(t *testing.T) {
	t.Parallel()
	setup := seedSetup()
	setup.Online = func(ctx context.Context, run *sdk.Run) error {
		var todos []todo
		if err := run.Request(ctx, "todos.page", 1, &todos); err != nil {
			return err
		}
		for _, t := range todos {
			if err := run.Request(ctx, "todo-search.add", t, nil); err != nil {
				return err
			}
		}
		return nil
	}
	suite := seedSuite(setup)
	suite.Doubles[0].Handlers = map[string]relay.Handler{
		"page": relay.JSON(func(context.Context, int) ([]todo, error) { return []todo{{Title: "two"}, {Title: "one"}}, nil }),
	}
	if err := suite.Run(t.Context(), io.Discard); err != nil {
		t.Error(err)
	}
}

func TestABackfillOfAStream(t *testing.T) {
	t.Parallel()
	setup := seedSetup()
	setup.Online = sdk.Backfill[todo]{
		Source: sdk.FromStream[todo]("todos.list", nil),
		Batch: func(ctx context.Context, run *sdk.Run, b sdk.Batch[todo]) error {
			var todos []todo
			for _, r := range b.Records {
				todos = append(todos, r.Value)
			}
			return run.Request(ctx, "todo-search.add", todos, nil)
		},
		BatchSize: 1, InFlight: 1,
	}.Run
	if err := seedSuite(setup).Run(t.Context(), io.Discard); err != nil {
		t.Error(err)
	}
	setup.Online = sdk.Backfill[todo]{
		Source: sdk.FromStream[todo]("todos.list", nil),
		Each: func(ctx context.Context, run *sdk.Run, r sdk.Record[todo]) error {
			return run.Request(ctx, "todo-search.add", []any{r.Value, "no entry"}, nil)
		},
		Retries: -1,
	}.Run
	err := seedSuite(setup).Run(t.Context(), io.Discard)
	if err == nil || !strings.Contains(err.Error(), "add takes an entry") {
		t.Errorf("an array with something else than entries is kept: %v", err)
	}
}

// TestHidden is run by TestRunFailsItsTest alone.
func TestHidden(t *testing.T) {
	suite := seedSuite(sdk.SetupService{Service: "todo-search", Version: "0.0.1", Online: func(context.Context, *sdk.Run) error { return nil }})
	switch os.Getenv("GOLIVE_SPEC_HIDDEN") {
	case "no scenario":
		suite.Features = []string{feature(t, "Feature: f\n")}
	case "unknown step":
		suite.Features = []string{feature(t, "Feature: f\n  Scenario: s\n    Given it rains\n")}
	case "failure":
	default:
		t.Skip("only for TestRunFailsItsTest")
	}
	spec.Run(t, suite)
}

func TestRunFailsItsTest(t *testing.T) {
	t.Parallel()
	for hidden, want := range map[string]string{
		"no scenario":  "holds no scenario",
		"unknown step": "step is undefined: it rains",
		"failure":      "    - | one   |\n",
	} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestHidden$")
		cmd.Env = append(os.Environ(), "GOLIVE_SPEC_HIDDEN="+hidden)
		out, err := cmd.CombinedOutput()
		if err == nil {
			t.Errorf("%s: the test passes", hidden)
		}
		mustSay(t, errors.New(string(out)), "--- FAIL: TestHidden", want)
	}
}

func TestSuitesThatAreWrong(t *testing.T) {
	t.Parallel()
	const todos = "Feature: f\n  Scenario: s\n    Given a todos service\n"
	for _, test := range []struct {
		name, feature string
		change        func(*spec.Suite)
		want          string
	}{
		{"without scenarios", "Feature: f\n", nil, "s.feature holds no scenario: write one, or leave it out of Features"},
		{"with an empty scenario", "Feature: f\n  Scenario: s\n", nil, `scenario "s" of`},
		{"with a feature that cannot be read", "Scenario", nil, "read features"},
		{"with an unknown step", todos + "    When it rains\n", nil, "step is undefined: it rains: the documentation of sdk/spec lists the steps"},
		{"with an unknown step first", "Feature: f\n  Scenario: s\n    Given it rains\n    And a todos service\n", nil, "step is undefined: it rains"},
		{"with an unknown double", "Feature: f\n  Scenario: s\n    Given a users service\n", nil, "no double is called users: the suite has todos, todos-search"},
		{"with a double named twice", todos + "    And a todos service\n", nil, "the todos service is in the scenario already"},
		{"with a double that is not there", todos + "    Then the todos-search service contains no entries\n", nil, "the todos-search service is not in the scenario: say first, Given a todos-search service"},
		{"with a double too late", todos + "    When the deployment script runs\n    Given a todos-search service\n", nil, "the todos-search service comes too late"},
		{"with a column twice", todos + "    And a todos-search service with the entries:\n      | A | a |\n", nil, `the table has the column "a" twice`},
		{"with entries where none may be", "Feature: f\n  Scenario: s\n    Given a todos service with the entries:\n      | TITLE |\n      | one |\n    Then the todos service contains no entries\n", nil, "the todos service holds 1 entries (+ unexpected):\n    + {\"title\":\"one\"}"},
		{"with a failure that does not come", todos + "    And a todos-search service\n    When the deployment script runs\n    Then the deployment script fails with \"boom\"\n", nil, `no script has failed, and one was to fail with "boom"`},
		{"with another failure", "Feature: f\n  Scenario: s\n    Given a todos-search service\n    When the deployment script runs\n    Then the deployment script fails with \"boom\"\n", nil, `it was to fail with "boom", and failed otherwise: todo-search 0.0.1 online: failed: request todos.list: nobody listens`},
		{"with a failure that is expected of the next run", "Feature: f\n  Scenario: s\n    Given a todos-search service\n    When the deployment script runs\n    And the deployment script runs again\n    Then the deployment script fails with \"nobody\"\n", nil, `todo-search 0.0.1 online: failed: request todos.list: nobody listens`},
		{"with a second run before the first", todos + "    When the deployment script runs again\n", nil, "no script has run yet"},
		{"with a phase without script", todos + "    When the before migration runs\n", nil, "the setup service of todo-search 0.0.1 has no script for the phase before: it has [offline online]"},
		{"with nothing to undo", todos + "    And a todos-search service\n    When the deployment script runs\n    And the deployment script is reverted\n", nil, "the setup service of todo-search 0.0.1 can undo nothing"},
		{"with nothing done", todos + "    When the deployment script is reverted\n", nil, "no script has run yet"},

		{"without features", todos, func(s *spec.Suite) { s.Features = nil }, "Features is empty"},
		{"with a feature that is not there", todos, func(s *spec.Suite) { s.Features = []string{"none.feature"} }, `feature path "none.feature" is not available`},
		{"without setup service", todos, func(s *spec.Suite) { s.SetupService = sdk.SetupService{} }, "there is no setup service: give SetupService or Command"},
		{"with two setup services", todos, func(s *spec.Suite) { s.Command = []string{"true"} }, "give them or SetupService"},
		{"without scripts", todos, func(s *spec.Suite) { s.SetupService.Offline, s.SetupService.Online = nil, nil }, "there is no phase to run"},
		{"with two doubles of a name", todos, func(s *spec.Suite) { s.Doubles[0].Name = "todos-search" }, "two doubles are called todos-search"},
		{"with a double of two words", todos, func(s *spec.Suite) { s.Doubles[0].Name = "the todos" }, "must be one word"},
		{"with a double that answers nothing", todos, func(s *spec.Suite) { s.Doubles[0] = spec.Double{Name: "todos", Version: "0.0.1"} }, "double todos answers no message"},
		{"with a double without version", todos, func(s *spec.Suite) { s.Doubles[0].Version = "" }, "double todos: version \"\" must not be empty"},
		{"with a command that is not there", todos + "    When the deployment script runs\n", func(s *spec.Suite) { command(s, "golive-no-such-program") }, "start the setup service: exec: \"golive-no-such-program\": executable file not found in $PATH: correct Command and Dir"},
		{"with a command that ends", todos + "    When the deployment script runs\n", func(s *spec.Suite) { command(s, "false") }, "nobody listens to deployment-todo-search-0.0.1-online-start: the setup service has ended, and shall listen until it is stopped: exit status 1"},
		{"with a command that never listens", todos + "    When the deployment script runs\n", func(s *spec.Suite) { command(s, "cat"); s.Timeout = time.Second }, "nobody listens to deployment-todo-search-0.0.1-online-start: waited 1s"},
		{"with a command for an unnamed service", todos, func(s *spec.Suite) { command(s, "cat"); s.Service = ""; s.Phases = []protocol.Phase{protocol.Setup} }, "Command holds scripts of nothing: name the Service or the App"},
		{"with a phase of something else", todos, func(s *spec.Suite) { command(s, "cat"); s.Phases = []protocol.Phase{protocol.Setup} }, "setup is the phase of an app"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			suite := seedSuite(seedSetup())
			suite.Features = []string{feature(t, test.feature)}
			if test.change != nil {
				test.change(&suite)
			}
			mustSay(t, suite.Run(t.Context(), io.Discard), test.want)
		})
	}
}

func command(s *spec.Suite, args ...string) {
	s.SetupService, s.Command = sdk.SetupService{}, args
	s.Service, s.Version, s.Phases = "todo-search", "0.0.1", []protocol.Phase{protocol.Online}
}

// mustSay fails the test unless the error says all of that.
func mustSay(t *testing.T, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("got no error, want one that says %q", want)
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("got %q\nwant it to say %q", err.Error(), w)
		}
	}
}

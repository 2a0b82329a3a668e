package release_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/mask"
	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

func Example() {
	_, err := release.Parse("golive.yaml", []byte(`
app: todo-app
version: 0.0.2
services:
  todo-search:
    version: 0.0.1
    setup: [go, run, ./todo-search/setup]
    migrations: [onlin]
`))
	fmt.Println(err)
	// Output:
	// golive.yaml:8:18: services.todo-search.migrations[0]: unknown phase "onlin": valid are before, offline, online
}

func ExampleParse() {
	manifest, err := release.Parse("golive.yaml", []byte(`
app: todo-app
version: 0.0.2
services:
  todos: {version: 0.0.1}
  web: {version: 0.0.2, dependsOn: [todos]}
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, s := range manifest.Services {
		fmt.Println(s.Name, s.Version, s.DependsOn)
	}
	// Output:
	// todos 0.0.1 []
	// web 0.0.2 [todos]
}

func TestEveryKeyIsRead(t *testing.T) {
	folder, err := filepath.Abs("testdata/full")
	if err != nil {
		t.Fatal(err)
	}
	want := &release.Manifest{
		App: "todo-app", Version: "0.0.2", Strategy: rollout.Downtime, RetryAfter: rollout.Duration(90 * time.Second),
		MustNotSkip: []string{"0.0.1", "0.0.2-rc.1", "0.0.2"},
		Services: []release.Service{{
			Service: rollout.Service{Name: "todos", Version: "0.0.1", Instances: 1, State: &rollout.Data{
				Streams: []string{"TODOS"}, KV: []string{"todo-settings"}, Objects: []string{"todo_images"},
				Messages: true, Command: true, On: map[string]string{"role": "db"}, Timeout: rollout.Duration(5 * time.Minute), MaxMB: 500,
			}},
			Run: []string{"go", "run", "./todos"}, StateCommand: []string{"./bin/state"},
		}, {
			Service: rollout.Service{
				Name: "todo-search", Version: "1.0.0-rc.1+build.5", Instances: 3,
				Migrations: []protocol.Phase{protocol.Before, protocol.Online},
				DependsOn:  []string{"todos"},
				Timeout:    rollout.Duration(10 * time.Minute),
				Retries:    5, Backoff: rollout.Duration(1500 * time.Millisecond),
			},
			Run:   []string{"sh", "-c", "go build ./todo-search\nexec ./todo-search\n"},
			Setup: []string{"go", "run", "./todo search/setup"},
		}, {
			Service: rollout.Service{
				Name: "web", Version: "0.0.2", Instances: 0,
				DependsOn:  []string{"todos", "todo-search"},
				KeepOnline: []string{"0.0.1", "0.1.0-rc.1"},
				Pace:       &protocol.Pace{Rate: new(500.0), InFlight: 8},
			},
		}},
		Setup: release.Setup{Command: []string{"go", "run", "./setup"}},
		Seed:  []string{"go", "run", "./seed"},
		Data:  "../kept", Reports: "../reports",
		Steps: fullSteps(), AutoRevert: true, Requires: &release.Requirement{Version: "0.0.1", Completed: true}, Snapshot: rollout.NeverSnapshot,
		Environment: release.Environment{
			Approvals: rollout.Policy{By: []string{"ann", "bob"}, Count: 2, NotStarter: true, Deadline: rollout.Duration(4 * time.Hour), Rehearsed: rollout.Duration(24 * time.Hour)},
			Snapshots: release.Snapshots{Folder: "../snapshots", Keep: 10},
			Mask:      map[string]mask.Written{"todos": {"title": mask.Text, "owner.mail": mask.Mail, "#1": mask.Digits}},
		},
		Environments: []string{"dev", "production", "staging"},
		Dir:          folder, Path: filepath.Join(folder, "golive.yaml"),
	}
	for _, path := range []string{"testdata/full", "testdata/full/golive.yaml", "./testdata/../testdata/full/"} {
		got, err := release.Load(path)
		if err != nil || !reflect.DeepEqual(got.Plain(), want) {
			t.Errorf("Load(%q)\n got %+v, %v\nwant %+v", path, got, err, want)
		}
	}
}

// fullSteps are the steps of the manifest in testdata/full.
func fullSteps() []release.Step {
	web := map[string]string{"role": "web"}
	return []release.Step{
		{Name: "confirm", Approval: &rollout.Question{
			Text: "Shall 0.0.2 go live now?", Checklist: []string{"backups are fresh", "support is told"}, Deadline: rollout.Duration(30 * time.Minute),
		}},
		{Phase: protocol.Before},
		{Traffic: rollout.MaintenanceOn, Services: []string{"web"}},
		{
			Name: "stop-front-ends", Command: &release.Command{Args: []string{"./bin/frontend", "stop"}, Backward: true, Status: true, Rehearse: true},
			On: map[string]string{"role": "web", "zone": "eu-1"}, Need: rollout.Need{Percent: 60}, AtOnce: 1,
			Timeout: rollout.Duration(2 * time.Minute), Retries: 2, Backoff: rollout.Duration(500 * time.Millisecond),
		},
		{Phase: protocol.Offline},
		{Traffic: rollout.MaintenanceOff},
		{Name: "restart", Command: &release.Command{Shell: `systemctl "$1"-web`}, On: web, Need: rollout.Need{Hosts: 2}},
		{Traffic: rollout.Drain, Services: []string{"old-search"}},
		{Traffic: rollout.Open},
		{Name: "smoke", On: web, Check: &release.Check{
			HTTP: "http://127.0.0.1:8080/health", Expect: 200, Contains: "ok", Tries: 10,
			Pause: 500 * time.Millisecond, HealthyFor: 5 * time.Second, Within: 2 * time.Second,
		}},
		{Name: "count", Check: &release.Check{Message: "todos.count", Payload: `{"of": "all"}`, Contains: `"count"`}},
		{Name: "look", Check: &release.Check{Args: []string{"./look"}}},
		{Name: "listen", Check: &release.Check{Shell: "nc -z localhost 8080"}},
		{Phase: protocol.Online},
		{Phase: protocol.Setup},
	}
}

func TestKeysHaveDefaults(t *testing.T) {
	m := parse(t, "app: a\nversion: 1.0.0\nservices: {b: {version: 1.0.0}}\n")
	if m.Strategy != rollout.Parallel || m.RetryAfter != rollout.Duration(5*time.Second) || m.Data != ".golive" || m.Setup.Exists() || m.MustNotSkip != nil {
		t.Errorf("defaults of the app: %+v", m)
	}
	want := release.Service{Service: rollout.Service{Name: "b", Version: "1.0.0", Instances: 1}}
	if !reflect.DeepEqual(m.Services, []release.Service{want}) {
		t.Errorf("defaults of a service: %+v", m.Services)
	}
}

func TestRetryAfterIsReadWithEveryStrategy(t *testing.T) {
	for _, strategy := range rollout.Strategies() {
		for text, want := range map[string]time.Duration{"30s": 30 * time.Second, "2m": 2 * time.Minute, "1.5m": 90 * time.Second, "2000ms": 2 * time.Second} {
			m := parse(t, head+"strategy: "+string(strategy)+"\nretryAfter: "+text+"\n")
			if got := time.Duration(m.RetryAfter); got != want {
				t.Errorf("%s with strategy %s is read as %v", text, strategy, got)
			}
		}
	}
}

func TestKeepOnlineCanBeEmpty(t *testing.T) {
	if m := parse(t, one("keepOnline: []")); m.Services[0].KeepOnline != nil {
		t.Errorf("got %q", m.Services[0].KeepOnline)
	}
}

func TestPaceNamesWhatItWants(t *testing.T) {
	for text, want := range map[string]*protocol.Pace{
		"{}":                         nil,
		"{rate: 0}":                  {Rate: new(0.0)},
		"{rate: -0.0}":               {Rate: new(0.0)},
		"{rate: 0.25}":               {Rate: new(0.25)},
		"{rate: 5.0e2, inFlight: 1}": {Rate: new(500.0), InFlight: 1},
		"{rate: 1_000_000}":          {Rate: new(1e6)},
		"{inFlight: 1024}":           {InFlight: 1024},
		"\n      rate: 500 # quick":  {Rate: new(500.0)},
	} {
		if got := parse(t, one("pace: "+text)).Services[0].Pace; !reflect.DeepEqual(got, want) {
			t.Errorf("%s is read as %+v", text, got)
		}
	}
}

func TestMustNotSkipCanBeEmpty(t *testing.T) {
	if m := parse(t, head+"mustNotSkip: []"); m.MustNotSkip != nil {
		t.Errorf("got %q", m.MustNotSkip)
	}
}

func TestSetupOfTheAppCanBeExternal(t *testing.T) {
	m := parse(t, "app: a\nversion: 1.0.0\nsetup: external\n")
	if !m.Setup.Exists() || !m.Setup.External || m.Setup.Command != nil {
		t.Errorf("setup is %+v", m.Setup)
	}
}

func TestTextIsReadAsEditorsSaveIt(t *testing.T) {
	plain := parse(t, head)
	for name, text := range map[string]string{
		"byte order mark":         "\ufeff" + head,
		"Windows line ends":       strings.ReplaceAll(head, "\n", "\r\n"),
		"no line end at the end":  strings.TrimSuffix(head, "\n"),
		"document start and end":  "---\n" + head + "...\n",
		"comments all over":       "# one\n" + strings.ReplaceAll(head, "\n", " # two\n") + "# three\n",
		"JSON":                    `{"app": "a", "version": "1.0.0"}`,
		"as many blank lines":     strings.Repeat("\n", 100) + head + strings.Repeat(" \n", 100),
		"empty collections":       head + "services: {}\n",
		"comment behind document": "---\n" + head + "...\n# the end\n",
	} {
		t.Run(name, func(t *testing.T) {
			if m := parse(t, text); m.Digest() != plain.Digest() {
				t.Errorf("read as %+v", m)
			}
		})
	}
}

func TestPositionsCountCharacters(t *testing.T) {
	for name, text := range map[string]string{
		"letters of more bytes": "{app: a, version: 1.0.0, data: \"çé\", x: 1}",
		"byte order mark":       "\ufeff{app: a, version: 1.0.0, data: \"..\", x: 1}",
		"Windows line ends":     "{app: a,\r\nversion: 1.0.0,\r\n                                     x: 1}\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			problem := onlyProblem(t, text)
			if problem.Column != 38 || problem.Key != "x" {
				t.Errorf("got %v", problem)
			}
		})
	}
}

func TestNotUTF8(t *testing.T) {
	problem := onlyProblem(t, "app: a\nversion: 1.0.0\ndata: é\xff\n")
	if problem.Line != 3 || problem.Column != 8 || !strings.Contains(problem.Message, "UTF-8") {
		t.Errorf("got %v", problem)
	}
}

func TestLoadSaysWhatIsMissing(t *testing.T) {
	empty, other, folder := t.TempDir(), t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "golive.yml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(folder, "golive.yaml"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path, want string
		notExist   bool
	}{
		{empty, "there is no golive.yaml in the folder " + empty + ": write one there, or give the folder that holds it", true},
		{other, "but a golive.yml: rename it to golive.yaml", true},
		{filepath.Join(empty, "app"), "there is no file or folder " + filepath.Join(empty, "app") + ": give the folder that holds a golive.yaml", true},
		{folder, "is a folder: the manifest is a file of that name", false},
	} {
		_, err := release.Load(c.path)
		if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, fs.ErrNotExist) != c.notExist {
			t.Errorf("Load(%q): %v\nwant %s", c.path, err, c.want)
		}
	}
}

// A manifest that is no plain file could keep golive waiting for ever.
func TestLoadRefusesWhatIsNoFile(t *testing.T) {
	folder := t.TempDir()
	fifo, beside := filepath.Join(folder, "golive.yaml"), filepath.Join(folder, "golive.staging.yaml")
	for _, path := range []string{fifo, beside} {
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(t.TempDir(), "link.yaml")
	if err := os.Symlink(fifo, link); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		folder:        fifo + " is a pipe: the manifest is a plain file",
		fifo:          fifo + " is a pipe: the manifest is a plain file",
		link:          link + " is a pipe: the manifest is a plain file",
		"/dev/tty":    "/dev/tty is a device: the manifest is a plain file",
		os.DevNull:    os.DevNull + " is a device: the manifest is a plain file",
		"/dev/random": "/dev/random is a device: the manifest is a plain file",
	} {
		if _, err := release.Load(path); err == nil || err.Error() != want {
			t.Errorf("Load(%q): %v\nwant %s", path, err, want)
		}
	}
	if err := errors.Join(os.Remove(fifo), os.WriteFile(fifo, []byte(head), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := release.Load(folder); err != nil { // a pipe beside it is none of its environments
		t.Error(err)
	}
	_, err := release.LoadFor(folder, "staging")
	if err == nil {
		t.Error("a pipe is an environment")
	}
}

func TestLoadNamesTheFileAsGiven(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("golive.yaml", []byte("app: a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := release.Load(".")
	if err == nil || !strings.HasPrefix(err.Error(), "golive.yaml:1:1: version: ") {
		t.Errorf("got %v", err)
	}
}

// head is the smallest manifest.
const head = "app: a\nversion: 1.0.0\n"

func parse(t *testing.T, text string) *release.Manifest {
	t.Helper()
	m, err := release.Parse("golive.yaml", []byte(text))
	if err != nil {
		t.Fatalf("%v", err)
	}
	return m
}

// onlyProblem is the one mistake of a manifest.
func onlyProblem(t *testing.T, text string) release.Problem {
	t.Helper()
	_, err := release.Parse("golive.yaml", []byte(text))
	var problems release.Errors
	if !errors.As(err, &problems) || len(problems) != 1 {
		t.Fatalf("want one problem, got %v", err)
	}
	return problems[0]
}

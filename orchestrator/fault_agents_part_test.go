package orchestrator_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/golive-dev/golive/orchestrator/agent"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// The further kinds of processes where releases have steps of their own.
const (
	anAgent  = "agent"
	aProgram = "program" // of a step, started by an agent
)

// What is written down beside what scripts do.
const (
	kills    = "kills" // somebody kills an agent, or lets it sleep, as of now
	sleeps   = "sleeps"
	wakes    = "wakes"    // somebody wakes a process that is not an agent
	approves = "approves" // a person is about to say yes, or no
	rejects  = "rejects"
)

// verbLook is what the program of a check does.
const verbLook = "look"

// given is what an agent is and was given.
type given struct {
	Labels   map[string]string
	Apps     []int
	Versions int // of each app
}

// program is which program of a step has written a line.
type program struct {
	Host string `json:"host"`
	Pid  int    `json:"pid"`
	Verb string `json:"verb"`
	Exit int    `json:"exit,omitempty"`
}

// instance is how the process of an agent is called.
func instance(name string, pid int) string { return fmt.Sprint(name, "/", pid) }

// work does the steps of the apps' releases until ctx ends.
func (w *workplace) work(ctx context.Context) error {
	opening, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	nc := w.relay.Conn()
	j, err := journal.Make(opening, nc, max(1, w.Replicas))
	if err != nil {
		return err
	}
	told, err := json.Marshal(part{Kind: aProgram, Name: instance(w.Name, os.Getpid()), Record: w.Record})
	if err != nil {
		return err
	}
	c := agent.Config{Conn: nc, Journal: j, Name: w.Name, Labels: w.Given.Labels, Environment: []string{envPart + "=" + string(told)}, Logger: w.log}
	for _, n := range w.Given.Apps {
		for v := range w.Given.Versions {
			m, err := workManifest(filepath.Dir(w.Record), n, v+1)
			if err != nil {
				return err
			}
			c.Releases = append(c.Releases, m)
		}
	}
	a, err := agent.New(c)
	if err != nil {
		return err
	}
	go func() {
		select {
		case <-a.Ready():
			fmt.Println("ready")
		case <-ctx.Done():
		}
	}()
	return a.Run(ctx)
}

// calmFile is there once programs shall fail no more, and be quick.
const calmFile = "calm"

// run is the whole life of a program: it writes down what it does, fails now and then, is
// killed now and then, kills its agent now and then, and goes on when that is dead, or dies
// with it.
func (p part) run() int {
	told, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	folder := filepath.Dir(p.Record)
	record, err := os.OpenFile(p.Record, os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 2
	}
	w := &workplace{part: p, record: record}
	attempt, _ := strconv.Atoi(os.Getenv("GOLIVE_ATTEMPT"))
	d := action{
		What: began, Rollout: os.Getenv("GOLIVE_ROLLOUT"), Step: os.Getenv("GOLIVE_STEP"), Attempt: attempt,
		Revert:  os.Getenv("GOLIVE_DIRECTION") == "backward",
		Program: &program{Host: os.Getenv("GOLIVE_HOST"), Pid: os.Getpid(), Verb: verbLook},
	}
	if len(os.Args) > 2 {
		d.Program.Verb = os.Args[2]
	}
	_, err = os.Stat(filepath.Join(folder, calmFile))
	fate := fates{calm: err == nil, look: d.Program.Verb == verbLook}
	fate.draw()
	w.kill(fate.first)
	if err := w.note(d); err != nil {
		return 2
	}
	if fate.frail {
		go func() {
			_, _ = bus.Supervisor().Read(make([]byte, 1)) // until there is no agent any more
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}()
	}
	rest(told, fate.takes)
	if d.Step == longStep {
		p.awaitGo(told)
	}
	exit, what := 0, ended
	marker := filepath.Join(folder, "did-"+d.Rollout+"-"+d.Step)
	switch {
	case told.Err() != nil:
		exit, what = 1, broke
	case fate.killed:
		d.What = broke
		_ = w.note(d)
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case d.Program.Verb == "status":
		if _, err := os.Stat(marker); err != nil {
			exit = 1
		}
	case fate.fails:
		exit = 3
	case d.Program.Verb == "forward":
		err = os.WriteFile(marker, nil, 0o600)
	case d.Program.Verb == "backward":
		if err = os.Remove(marker); os.IsNotExist(err) {
			err = nil
		}
	}
	if err != nil && exit == 0 && d.Program.Verb != verbLook && d.Program.Verb != "status" {
		return 2
	}
	d.What, d.Program.Exit = what, exit
	if err := w.note(d); err != nil {
		return 2
	}
	w.kill(fate.last)
	return exit
}

// kill kills the agent that has started this program, if it shall be, and it lives.
func (w *workplace) kill(shall bool) {
	if agent := os.Getppid(); shall && instance(w.agent(), agent) == w.Name && w.note(action{What: kills}) == nil {
		_ = syscall.Kill(agent, syscall.SIGKILL)
	}
}

// agent is the name of the agent that has started this program.
func (w *workplace) agent() string {
	name, _, _ := strings.Cut(w.Name, "/")
	return name
}

// goFile is there once the programs of [longStep] may end.
const goFile = "go"

func (p part) awaitGo(ctx context.Context) {
	for ctx.Err() == nil {
		if _, err := os.Stat(filepath.Join(filepath.Dir(p.Record), goFile)); err == nil {
			return
		}
		rest(ctx, 20*time.Millisecond)
	}
}

// fates is what becomes of a program.
type fates struct {
	calm, look           bool
	takes                time.Duration
	frail, killed, fails bool
	first, last          bool // it kills its agent before its first line, after its last
}

func (f *fates) draw() {
	f.takes = rand.N(30 * time.Millisecond)
	if f.calm {
		return
	}
	if rand.N(4) == 0 {
		f.takes = rand.N(1500 * time.Millisecond)
	}
	draw := rand.N(100)
	f.frail = rand.N(3) == 0
	f.killed = draw < 3
	f.first, f.last = draw >= 94 && draw < 97, draw >= 97
	f.fails = draw < 8 || f.look && draw < 35
}

// Kinds of apps whose releases have steps of their own.
const (
	everything   = iota // people, many hosts, one host, checks before and behind the gate
	phaseByPhase        // callers, hosts that are not put to sleep, and somebody who runs one phase after the other
	turningBack         // a check behind the gate takes it backward by itself
	kindsOfWork
)

// lasting is an app whose one step, on all hosts, lasts until it may end.
const (
	lasting  = 999
	longStep = "long"
)

// severed is an app with all that can be cut off: people, hosts, scripts, traffic and callers.
const severed = 998

// workManifest is a version of an app as it was put on all hosts.
func workManifest(folder string, n, version int) (*release.Manifest, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	name, v := workName(n), fmt.Sprintf("1.0.%d", version)
	web, zone := map[string]string{"role": "web"}, map[string]string{"zone": "a"}
	command := func(name string) *release.Command {
		return &release.Command{Args: []string{self, name}, Backward: true}
	}
	check := func(name string, on map[string]string) release.Step {
		return release.Step{Name: name, On: on, Check: &release.Check{Args: []string{self, name}, Tries: workTries, Pause: 100 * time.Millisecond}}
	}
	phase := func(p protocol.Phase) release.Step { return release.Step{Phase: p} }
	ask := func(name string) release.Step {
		return release.Step{Name: name, Approval: &rollout.Question{Text: "Shall it go on?"}}
	}
	one := release.Service{Service: rollout.Service{Name: name + "-one", Version: v, Migrations: []protocol.Phase{protocol.Offline, protocol.Online}}}
	m := &release.Manifest{App: name, Version: v, Strategy: rollout.Parallel, Dir: folder, Path: filepath.Join(folder, release.FileName)}
	backup := release.Step{Name: "backup", Command: command("backup"), Retries: 1, Backoff: rollout.Duration(100 * time.Millisecond)}
	backup.Command.Status = true
	if n == lasting {
		m.Steps = []release.Step{{Name: longStep, On: web, Retries: 3, Backoff: rollout.Duration(100 * time.Millisecond), Command: command(longStep)}, phase(protocol.Online)}
		one.Migrations = nil
		m.Services = []release.Service{one}
		return m, nil
	}
	if n == severed {
		one.Instances, one.Timeout = 1, rollout.Duration(5*time.Minute)
		m.Steps = []release.Step{
			ask("go"),
			{Name: longStep, On: web, Command: command(longStep), Retries: 20, Backoff: rollout.Duration(100 * time.Millisecond)},
			phase(protocol.Offline), {Traffic: rollout.Open}, check("smoke", nil), phase(protocol.Online),
		}
		m.Services = []release.Service{one}
		return m, nil
	}
	switch n % kindsOfWork {
	case everything:
		m.AutoRevert = version%2 == 0
		m.Steps = []release.Step{
			ask("go"),
			{Name: "stop-front", On: web, AtOnce: 1, Need: rollout.Need{Hosts: 2}, Command: command("stop-front"), Timeout: rollout.Duration(8 * time.Second), Retries: 1, Backoff: rollout.Duration(100 * time.Millisecond)},
			backup,
			phase(protocol.Offline), check("ready", zone), phase(protocol.Online), check("smoke", nil),
			{Name: "start-front", On: web, AtOnce: 2, Need: rollout.Need{Percent: 50}, Command: command("start-front")},
		}
	case phaseByPhase:
		one.Migrations, one.Instances = protocol.ServicePhases(), 1
		m.Steps = []release.Step{
			phase(protocol.Before),
			{Name: "prepare", On: zone, AtOnce: 1, Command: command("prepare"), Retries: 2, Backoff: rollout.Duration(100 * time.Millisecond)},
			phase(protocol.Offline),
			{Name: "switch", On: zone, Need: rollout.Need{Percent: 60}, Command: command("switch")},
			check("ready", nil), {Traffic: rollout.Open}, check("smoke", zone), phase(protocol.Online),
		}
	case turningBack:
		m.AutoRevert = true
		m.Steps = []release.Step{
			{Name: "prepare", On: zone, AtOnce: 2, Command: command("prepare")},
			backup, ask("go"), phase(protocol.Offline), {Traffic: rollout.Open}, check("smoke", nil),
			{Name: "tidy", Command: command("tidy"), Timeout: rollout.Duration(10 * time.Second), Retries: 1}, phase(protocol.Online),
		}
	}
	m.Services = []release.Service{one}
	return m, nil
}

// workTries is how often a check looks in one attempt.
const workTries = 2

func workName(n int) string { return fmt.Sprint("work-", n) }

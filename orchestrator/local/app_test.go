package local

import (
	"io"
	"os"
	"slices"
	"testing"

	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay/protocol"
)

// alike is an app whose programs are called as much alike as names can be.
func alike(t *testing.T) *app {
	t.Helper()
	wait := []string{"cat"} // until its input ends
	m := &release.Manifest{
		App: "search", Version: "1.0.0", Dir: t.TempDir(), Setup: release.Setup{Command: wait},
		Services: []release.Service{{Run: wait, Setup: wait}, {Run: wait}, {Run: wait}},
	}
	for i, name := range []string{"search", "search-2", "search-setup"} {
		m.Services[i].Name, m.Services[i].Version = name, "1.0.0"
	}
	m.Services[0].Instances = 2
	a := newApp(Up{Manifest: m, Data: t.TempDir(), Talk: terminal.Streams{Err: io.Discard}.Talk(false)}, Place{})
	t.Cleanup(func() {
		if err := a.stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return a
}

func TestProgramsThatAreCalledAlikeHaveFoldersOfTheirOwn(t *testing.T) {
	a := alike(t)
	if err := a.startServices(); err != nil {
		t.Fatal(err)
	}
	for _, s := range a.manifest.SetupServices() {
		if err := a.startSetup(s); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(a.data)
	if err != nil {
		t.Fatal(err)
	}
	var folders []string
	for _, e := range entries {
		folders = append(folders, e.Name())
	}
	want := []string{"search", "search-2", "search-setup", "search.2", "search.app-setup", "search.setup"}
	if !slices.Equal(folders, want) {
		t.Errorf("the folders are %q, want %q", folders, want)
	}
}

// A service may be called like its app: each has a setup service of its own.
func TestTheSetupServicesOfAnAppAndOfAServiceThatIsCalledLikeIt(t *testing.T) {
	a := alike(t)
	own := &rollout.Step{Kind: rollout.Migration, Name: "search", Status: rollout.StepPending, Script: rollout.ScriptRun{Phase: protocol.Setup}}
	service := &rollout.Step{Kind: rollout.Migration, Name: "search", Status: rollout.StepDone, Script: rollout.ScriptRun{Phase: protocol.Online}}
	state := rollout.State{Steps: []*rollout.Step{service, own}}
	var left []string
	for _, s := range a.manifest.SetupServices() {
		if unfinished(state, s) {
			left = append(left, s.Owner+" "+s.Service)
		}
	}
	if !slices.Equal(left, []string{"search "}) {
		t.Errorf("left to do is something for %q, want for the app's own", left)
	}
	service.Status = rollout.StepPending
	for range 2 {
		if err := a.startSetups(state); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(a.setups); n != 2 {
		t.Errorf("%d setup services run, want 2", n)
	}
	if err := a.stopSetups(t.Context()); err != nil || len(a.setups) != 0 {
		t.Errorf("%d still run: %v", len(a.setups), err)
	}
}

// Whoever asks for a setup service while all is being stopped is late.
func TestNoSetupServiceIsStartedOnceAllIsStopped(t *testing.T) {
	a := alike(t)
	if err := a.stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := a.startSetup(a.manifest.SetupServices()[0]); err != nil || len(a.setups) != 0 {
		t.Errorf("%d run: %v", len(a.setups), err)
	}
}

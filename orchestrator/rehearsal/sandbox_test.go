package rehearsal

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/snapshot"
)

func TestASandboxIsMadeKeptAndRemoved(t *testing.T) {
	parent := t.TempDir()
	s, err := Make(parent)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(s.Dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("its folder is %v, %v", info, err)
	}
	if err := s.Remove(); err != nil {
		t.Error(err)
	}
	if s, err = Make(parent); err != nil {
		t.Fatal(err)
	}
	kept, err := s.Keep()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(kept, dataFolder)); err != nil {
		t.Error(err)
	}
	if swept, err := Sweep(t.Context(), parent); err != nil || len(swept) != 0 {
		t.Errorf("what was kept is swept: %v, %v", swept, err)
	}
}

// A sandbox whose process is gone is swept; one in use stays, and so does what looks like one and
// others may write into.
func TestOnlyWhatIsLeftIsSwept(t *testing.T) {
	parent := t.TempDir()
	used, err := Make(parent)
	if err != nil {
		t.Fatal(err)
	}
	dead, err := Make(parent)
	if err != nil {
		t.Fatal(err)
	}
	if err := dead.lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	foreign := filepath.Join(parent, prefix+"open")
	if err := os.Mkdir(foreign, 0o755); err != nil {
		t.Fatal(err)
	}
	elsewhere := t.TempDir()
	if err := os.Symlink(elsewhere, filepath.Join(parent, prefix+"link")); err != nil {
		t.Fatal(err)
	}
	swept, err := Sweep(t.Context(), parent)
	if err != nil || !slices.Equal(swept, []string{dead.Dir}) {
		t.Errorf("swept are %v, %v", swept, err)
	}
	for _, dir := range []string{used.Dir, foreign, elsewhere} {
		if _, err := os.Stat(dir); err != nil {
			t.Error(err)
		}
	}
	if err := used.Remove(); err != nil {
		t.Error(err)
	}
}

func TestAProgramGetsNothingOfTheEnvironment(t *testing.T) {
	s := &Sandbox{Dir: "/sandbox"}
	got := s.Environ([]string{
		"PATH=/bin", "HOME=/home/ann", "LC_ALL=C", "GOLIVE_NATS_URL=nats://bus", "GOLIVE_NATS_CREDS=/c", "NATS_URL=nats://bus", "AWS_SECRET_ACCESS_KEY=x",
		"SSH_AUTH_SOCK=/s", "GOFLAGS=-v", "GOPROXY=https://ann:secret@proxy", "LICENSE=l", "KUBECONFIG=/k",
	}, "LICENSE", "MISSING")
	slices.Sort(got)
	want := []string{"GOCACHE=/home/ann/.cache/go-build", "GOLIVE_SANDBOX=1", "GOPATH=/home/ann/go", "HOME=/sandbox/home", "LC_ALL=C", "LICENSE=l", "PATH=/bin", "TMPDIR=/sandbox/tmp"}
	if !slices.Equal(got, want) {
		t.Errorf("it gets %s", strings.Join(got, " "))
	}
}

func TestHowMuchRoomARehearsalNeeds(t *testing.T) {
	s := snapshot.Snapshot{Size: 100, Services: []snapshot.Service{{Parts: []snapshot.Part{{Bytes: 1000, Messages: 10}}}}}
	if needs := Needs(s); needs != slack+200+2*(1000+640) {
		t.Errorf("it needs %d", needs)
	}
	if free, err := Room(t.TempDir()); err != nil || free == 0 {
		t.Errorf("free are %d, %v", free, err)
	}
	if _, err := Room(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("there is room in a folder that is not there")
	}
}

// Rehearsals that begin at once do not take each other's folder for one that was left, while it is
// being made.
func TestSandboxesAreMadeBesideSweeps(t *testing.T) {
	parent := t.TempDir()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				if swept, err := Sweep(t.Context(), parent); err != nil || len(swept) > 0 {
					t.Errorf("swept %v, error %v", swept, err)
				}
				s, err := Make(parent)
				if err != nil {
					t.Error(err)
					return
				}
				if err := s.Remove(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

func TestASandboxWhoseMakerWasKilledIsSwept(t *testing.T) {
	parent := t.TempDir()
	young, old := filepath.Join(parent, making+"young"), filepath.Join(parent, making+"old")
	for _, dir := range []string{young, old} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	long := time.Now().Add(-madeWithin - time.Second)
	if err := os.Chtimes(old, long, long); err != nil {
		t.Fatal(err)
	}
	if swept, err := Sweep(t.Context(), parent); err != nil || len(swept) != 1 || swept[0] != old {
		t.Errorf("swept %v, error %v", swept, err)
	}
}

//go:build linux || darwin

package process_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/golive-dev/golive/orchestrator/process"
)

// remains finds what was left of the programs that are recorded in a folder.
func remains(t *testing.T, folder string) (left []*process.Process, doubts []string) {
	t.Helper()
	left, doubts, err := process.Remains(folder)
	if err != nil {
		t.Fatal(err)
	}
	return left, doubts
}

func mustBeNothing(t *testing.T, left []*process.Process, doubts []string) {
	t.Helper()
	if len(left) > 0 || len(doubts) > 0 {
		t.Fatalf("left are %d processes, and %q", len(left), doubts)
	}
}

// mustHold fails the test unless a folder holds so many files.
func mustHold(t *testing.T, folder string, n int) {
	t.Helper()
	files, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != n {
		t.Fatalf("%d records, want %d: %v", len(files), n, files)
	}
}

func TestAProgramIsRecordedAsLongAsAnythingOfItRuns(t *testing.T) {
	t.Parallel()
	board := newSwitchboard(t)
	folder := filepath.Join(t.TempDir(), "data", "processes")
	c := command("wrapper", board.env())
	c.Records = folder
	p := start(t, c)
	calls := board.await(t, "wrapper", "stubborn")
	mustHold(t, folder, 1)
	calls[0].say(t, "exit 0")
	mustBeDone(t, p)
	mustHold(t, folder, 1) // although the program itself has ended
	stop(t, p)
	mustHold(t, folder, 0)
}

func TestWhatAKilledGoliveHasLeftIsFoundAndStopped(t *testing.T) {
	t.Parallel()
	board, folder := newSwitchboard(t), t.TempDir()
	golive, stubborn := killedLater(t, board, "stubborn", envRecords+"="+folder)
	left, doubts := remains(t, folder)
	mustBeNothing(t, left, doubts) // golive lives
	mustHold(t, folder, 1)

	golive.kill(t)
	if stubborn.isCut(0) {
		t.Fatal("the program has ended with golive")
	}
	left, doubts = remains(t, folder)
	if len(left) != 1 || len(doubts) > 0 || left[0].Name() != "the program" || left[0].Pid() != stubborn.pid {
		t.Fatalf("left are %v, and %q", left, doubts)
	}
	mustBeDone(t, left[0])
	stop(t, left[0])
	mustBeGone(t, stubborn)
	mustHold(t, folder, 0)
	left, doubts = remains(t, folder)
	mustBeNothing(t, left, doubts)
}

func TestWhatEndedByItselfIsForgotten(t *testing.T) {
	t.Parallel()
	board, folder := newSwitchboard(t), t.TempDir()
	golive, watchful := killedLater(t, board, "watchful", envRecords+"="+folder)
	golive.kill(t)
	mustBeGone(t, watchful)
	poll(t, "it is still taken for one that runs", func() bool {
		left, doubts := remains(t, folder)
		return len(left) == 0 && len(doubts) == 0
	})
	mustHold(t, folder, 0)
}

// What is left of a program that had ended before golive was killed is known by its members.
func TestWhatAProgramHasLeftIsFound(t *testing.T) {
	t.Parallel()
	board, folder := newSwitchboard(t), t.TempDir()
	golive, wrapper := killedLater(t, board, "wrapper", envRecords+"="+folder)
	stubborn := board.await(t, "stubborn")[0]
	before := only(t, folder)
	wrapper.say(t, "exit 0")
	awaitChange(t, folder, before)
	golive.kill(t)
	left, doubts := remains(t, folder)
	if len(left) != 1 || len(doubts) > 0 || left[0].Pid() != wrapper.pid {
		t.Fatalf("left are %v, and %q", left, doubts)
	}
	stop(t, left[0])
	mustBeGone(t, stubborn)
}

func TestAnotherProcessOfTheSameNumberIsLeftAlone(t *testing.T) {
	t.Parallel()
	board, folder := newSwitchboard(t), t.TempDir()
	golive, stubborn := killedLater(t, board, "stubborn", envRecords+"="+folder)
	golive.kill(t)
	path := only(t, folder)
	change(t, path, func(r map[string]any) {
		r["members"].([]any)[0].(map[string]any)["began"] = "12345"
	})
	left, doubts := remains(t, folder)
	if len(left) > 0 || len(doubts) != 1 {
		t.Fatalf("left are %v, and %q", left, doubts)
	}
	if stubborn.isCut(0) {
		t.Error("a process that began at another time was ended")
	}
	mustHold(t, folder, 0) // it is said once
	if err := syscall.Kill(stubborn.pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

func TestRecordsOfElsewhere(t *testing.T) {
	t.Parallel()
	board, folder := newSwitchboard(t), t.TempDir()
	golive, stubborn := killedLater(t, board, "stubborn", envRecords+"="+folder)
	golive.kill(t)
	path := only(t, folder)
	var here any
	change(t, path, func(r map[string]any) { here, r["machine"] = r["machine"], map[string]any{"boot": "another"} })
	left, doubts := remains(t, folder)
	mustBeNothing(t, left, doubts)
	mustHold(t, folder, 0) // the system was started anew: all numbers are

	for name, text := range map[string]string{"empty": "", "odd": "{", "of group 0": `{"group": 0}`, "of everybody": `{"group": -1}`} {
		if err := os.WriteFile(filepath.Join(folder, name+".json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	left, doubts = remains(t, folder)
	mustBeNothing(t, left, doubts)
	mustHold(t, folder, 4) // they may just be being written

	if here, isMap := here.(map[string]any); isMap && len(here) > 1 { // another container's
		here["space"] = "pid:[1]"
		data, err := json.Marshal(map[string]any{"group": stubborn.pid, "name": "x", "machine": here})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		left, doubts = remains(t, folder)
		mustBeNothing(t, left, doubts)
		mustHold(t, folder, 5)
	}
	if stubborn.isCut(0) {
		t.Error("it was ended")
	}
	if err := syscall.Kill(stubborn.pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

func TestWithoutAFolderNothingIsLeft(t *testing.T) {
	t.Parallel()
	left, doubts := remains(t, filepath.Join(t.TempDir(), "none"))
	mustBeNothing(t, left, doubts)
}

func TestWhatCannotBeRecordedDoesNotRun(t *testing.T) {
	t.Parallel()
	board := newSwitchboard(t)
	c := command("polite", board.env())
	c.Records = filepath.Join(os.Args[0], "records") // in a file
	if _, err := process.Start(c); err == nil {
		t.Fatal("it runs")
	}
}

// only is the one file in a folder.
func only(t *testing.T, folder string) string {
	t.Helper()
	mustHold(t, folder, 1)
	files, _ := filepath.Glob(filepath.Join(folder, "*"))
	return files[0]
}

// change changes a record.
func change(t *testing.T, path string, how func(map[string]any)) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var r map[string]any
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	how(r)
	if data, err = json.Marshal(r); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

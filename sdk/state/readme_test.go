package state

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestTheScriptOfTheREADMEKeepsToTheContract takes, checks and puts with it.
func TestTheScriptOfTheREADMEKeepsToTheContract(t *testing.T) {
	page, err := os.ReadFile("README.md")
	must(t, err)
	_, script, found := strings.Cut(string(page), "```sh\n#!/bin/sh\n")
	script, _, ended := strings.Cut(script, "```")
	if !found || !ended {
		t.Fatal("the page has no script")
	}
	data, folder := filepath.Join(t.TempDir(), "data"), t.TempDir()
	write(t, data+"/a", "one")
	second := time.Unix(1, 0) // of the format tar writes by itself, times have no more
	must(t, fsErr(os.Chtimes(data+"/a", second, second), os.Chtimes(data, second, second)))
	before := tree(t, data)
	call := func(word string, code int) {
		t.Helper()
		cmd := exec.Command("sh", "-c", script, "state", "more", word)
		cmd.Env = append(os.Environ(), "SHOP_DATA="+data, EnvSnapshotDir+"="+folder)
		if out, _ := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != code {
			t.Errorf("%s exits with %d: %s", word, cmd.ProcessState.ExitCode(), out)
		}
	}
	call("sing", 2)
	call("take", 0)
	call("check", 0)
	write(t, data+"/b", "two")
	call("put", 0)
	call("put", 0)
	call("drop", 0)
	if got := tree(t, data); got != before {
		t.Errorf("it is\n%s\nwant\n%s", got, before)
	}
}

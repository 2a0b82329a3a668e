package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/terminal"
)

// approvalOf is a rollout that waits at an approval of which items are confirmed.
func approvalOf(confirmed ...int) rollout.State {
	a := &rollout.Approval{Question: rollout.Question{Text: "Shall it go live?", Checklist: []string{"the backup is fresh", "bob is awake"}}}
	for _, item := range confirmed {
		a.Confirmed = append(a.Confirmed, rollout.Vote{Item: item, By: "ann"})
	}
	return rollout.State{ID: "id", Steps: []*rollout.Step{{Number: 1, ID: "go-ahead", Kind: rollout.Approving, Status: rollout.StepRunning, Attempt: 1, Approval: a}}}
}

// Where a story is told of the rollout, the next item is asked for when the story has told of
// the one before, however long that takes after the answer of the API.
func TestTheNextItemIsAskedForAfterTheStoryHasToldOfTheOneBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys, types := io.Pipe()
		var shown bytes.Buffer
		before := approvalOf()
		q := newQuestion(terminal.Streams{Err: &shown}.Prompter(terminal.NewKeyboard(keys)), *before.Steps[0],
			func(text string) { shown.WriteString(text + "\n") },
			func(_ context.Context, v vote) (rollout.State, error) { return approvalOf(1), nil })
		q.told = true
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); _, _ = q.put(ctx) }()
		synctest.Wait()
		if _, err := io.WriteString(types, "y\n"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the vote is given, and its event on its way here
		shown.WriteString("* item 1 of go-ahead is confirmed\n")
		q.see(approvalOf(1))
		synctest.Wait()
		cancel()
		<-ended
		_ = types.Close()
		told, asked := strings.Index(shown.String(), "* item 1"), strings.Index(shown.String(), "item 2 of 2")
		if told < 0 || asked < told {
			t.Errorf("the second item is asked for before the first one is told:\n%s", shown.String())
		}
	})
}

package main

import (
	"sync"

	"github.com/golive-dev/golive/orchestrator/report"
	"github.com/golive-dev/golive/orchestrator/terminal"
)

// narrator tells the story of a rollout on the terminal, while other things are said there,
// too. It is safe for concurrent use.
type narrator struct {
	*terminal.Talk

	mu    sync.Mutex
	story *report.Story
}

// tell shows what the story has to tell. What it is told meanwhile waits until that is shown.
func (n *narrator) tell(what func(*report.Story) []terminal.Line) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.Tell(what(n.story)...)
}

// stepOutput shows a line of what runs for a step.
func (n *narrator) stepOutput(step string, attempt int, line string) {
	n.tell(func(s *report.Story) []terminal.Line { return s.Output(step, attempt, line) })
}

// commands has the commands that answer an approval told with it, or not.
func (n *narrator) commands(told bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.story.Commands = told
}

package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay/protocol"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// hosts are what agents have done, each for two seconds. The second one has failed.
func hosts(names ...string) []protocol.Host {
	var all []protocol.Host
	for _, name := range names {
		all = append(all, protocol.Host{Name: name, Status: protocol.HostDone, Started: noon, Ended: noon.Add(2 * time.Second)})
	}
	code := 1
	all[1].Status, all[1].Exit, all[1].Error = protocol.HostFailed, &code, "the disk is full"
	all[1].Output = "copying\x1b[2J\n\none\ntwo\nthree\nfour\tfive\nno room\n"
	return all
}

func TestPlanOfAWorkflow(t *testing.T) {
	view := api.PlanView{ID: "58a1a96968fb58a1", App: "todo-app", Version: "0.0.2", Strategy: rollout.Parallel, Pending: true, Approval: true,
		Phase: protocol.Before, GoesOn: "0199c6d2-1a2b-7000-8000-000000000001", Steps: []api.PlanStep{
			{Number: 1, ID: "copy", Kind: rollout.Command, Version: "0.0.2", Skipped: "done in rollout 0199c6d2-1a2b-7000-8000-000000000001, with which it goes on",
				Work: &rollout.Work{}, Last: &api.LastRun{Duration: rollout.Duration(4 * time.Second), At: time.Now().Add(-50 * time.Hour), Rollout: "0199c6d2"}},
			{Number: 2, ID: "go-ahead", Kind: rollout.Approving, Version: "0.0.2", Wave: 1,
				Approval: &rollout.Approval{Question: rollout.Question{Text: "Shall it go live?"}, Policy: rollout.Policy{By: []string{"ann", "bob"}}}},
			{Number: 3, ID: "todos/before", Kind: rollout.Migration, Phase: protocol.Before, Name: "todos", Version: "0.0.2", Wave: 2, WaitsFor: []int{2},
				Last: &api.LastRun{Environment: "staging", Duration: rollout.Duration(time.Minute), At: time.Now().Add(-50 * time.Hour)}},
			{Number: 4, ID: "todos/traffic", Kind: rollout.Traffic, Name: "todos", Version: "0.0.2", Wave: 3, WaitsFor: []int{3}, Later: true},
			{Number: 5, ID: "smoke", Kind: rollout.Check, Version: "0.0.2", Wave: 4, WaitsFor: []int{4}, Later: true, Work: &rollout.Work{Check: true}, Hosts: []string{"web-1"}},
		}}
	var out bytes.Buffer
	printPlan(&out, view)
	printApprovals(&out, view)
	golden(t, "plan.txt", out.Bytes())
	c := &command{Streams: terminal.Streams{Out: &out, Err: &out}, options: options{output: "json"}}
	for want, change := range map[int]func(*api.PlanView){
		exitPerson:  func(*api.PlanView) {},
		exitPending: func(p *api.PlanView) { p.Approval = false },
		exitFailed:  func(p *api.PlanView) { p.Problems = []*protocol.ServiceError{{Code: "no_agent"}} },
	} {
		p := view
		change(&p)
		if f := explain(verdict(c, p)); f.exit != want || !f.told {
			t.Errorf("it ends with %+v, want %d", f, want)
		}
	}
}

func TestWhatHostsHaveDone(t *testing.T) {
	var out bytes.Buffer
	all := hosts("web-1", "web-2", "web-3")
	zero := 0
	all[0].Exit, all[0].Note = &zero, "had been done already"
	all[1].Cut = true
	all[2].Status, all[2].Ended, all[2].Error = protocol.HostLost, noon.Add(time.Minute), "its agent has died"
	story := api.RolloutStory{RolloutView: api.RolloutView{State: rollout.State{ID: "0199c6d2", Steps: []*rollout.Step{
		{ID: "todos/traffic", Kind: rollout.Traffic}, {ID: "copy", Kind: rollout.Command, Hosts: all},
	}}}}
	printHosts(&out, story)
	out.WriteString("\n")
	printResults(&out, "copy", all)
	out.WriteString("\n")
	printResults(&out, "smoke", nil)
	golden(t, "hosts.txt", out.Bytes())
	if got, want := onHosts(*story.Steps[1]), "done on 1 of 3 hosts"; got != want {
		t.Errorf("the remark is %q", got)
	}
}

package rollout_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// withEntry is a release with a workflow of one entry more than it needs.
func withEntry(i rollout.Item) rollout.Release {
	return rollout.Release{
		App: "shop", Version: "2.0.0", Strategy: rollout.Parallel,
		Services: []rollout.Service{{Name: "web", Version: "2.0.0"}},
		Workflow: []rollout.Item{i, {Phase: protocol.Online}},
	}
}

func TestTheLimitsOfAWorkflow(t *testing.T) {
	long := strings.Repeat("x", rollout.MaxText)
	question := func(q rollout.Question) rollout.Item { return rollout.Item{Name: "x", Approval: &q} }
	work := func(w rollout.Work) rollout.Item { return rollout.Item{Name: "x", Work: &w} }
	labels := make(map[string]string)
	for i := range rollout.MaxLabels {
		labels[strings.Repeat("l", i+1)] = "x"
	}
	on := map[string]string{"role": "front"}
	for _, i := range []rollout.Item{
		question(rollout.Question{Text: long, Checklist: slices.Repeat([]string{long}, rollout.MaxChecklist)}),
		work(rollout.Work{On: labels, Need: rollout.Need{Hosts: rollout.MaxHosts}, AtOnce: rollout.MaxHosts, Retries: rollout.MaxRetries, Backoff: rollout.Duration(rollout.MaxBackoff)}),
		work(rollout.Work{On: on, Need: rollout.Need{Percent: 100}}),
	} {
		if err := withEntry(i).Validate(); err != nil {
			t.Errorf("at its limits: %v", err)
		}
	}
	for why, i := range map[string]rollout.Item{
		"it must be one of a phase, a move of traffic, an approval, or a command or check":   {},
		"services are of a move of traffic":                                                  {Name: "x", Work: &rollout.Work{}, Services: []string{"web"}},
		`the name "x" is of an approval, a command or a check`:                               {Name: "x", Phase: protocol.Online},
		`the name "y" is of an approval, a command or a check`:                               {Name: "y", Traffic: rollout.Open},
		`name "" must not be empty`:                                                          {Work: &rollout.Work{}},
		`unknown phase "later"`:                                                              {Phase: "later"},
		`unknown move of traffic "close"`:                                                    {Traffic: "close"},
		"a drain names the services that the release no longer holds":                        {Traffic: rollout.Drain},
		`name "a/b" may hold only lower-case letters, digits and hyphens`:                    {Traffic: rollout.Drain, Services: []string{"a/b"}},
		"the text of an approval has 0 bytes, it must have 1 to 2000":                        question(rollout.Question{}),
		"the text of an approval has 2001 bytes, it must have 1 to 2000":                     question(rollout.Question{Text: long + "x"}),
		"the checklist has 101 items, at most 100 are allowed":                               question(rollout.Question{Text: "?", Checklist: slices.Repeat([]string{"x"}, 101)}),
		"an item of the checklist has 0 bytes, it must have 1 to 2000":                       question(rollout.Question{Text: "?", Checklist: []string{""}}),
		"deadline is -1ns, it must not be negative":                                          question(rollout.Question{Text: "?", Deadline: -1}),
		"timeout is -1ns, it must not be negative":                                           work(rollout.Work{Timeout: -1}),
		"retries is 101, it must be from 0 to 100":                                           work(rollout.Work{Retries: 101}),
		"backoff is 5m0.000000001s, it must be at most 5m0s":                                 work(rollout.Work{Backoff: rollout.Duration(rollout.MaxBackoff) + 1}),
		"need is neither a number of hosts from 1 to 1000 nor a share from 1 to 100 percent": work(rollout.Work{On: on, Need: rollout.Need{Hosts: 1, Percent: 1}}),
		"atOnce is 1001, it must be from 1 to 1000, or 0 for all":                            work(rollout.Work{On: on, AtOnce: 1001}),
		"need and atOnce are for steps that run on agents with labels":                       work(rollout.Work{AtOnce: 1}),
	} {
		if err := withEntry(i).Validate(); err == nil || err.Error() != "workflow entry 1: "+why {
			t.Errorf("error %v, want %s", err, why)
		}
	}
	labels["one-more"] = "x"
	long17 := withEntry(work(rollout.Work{On: labels}))
	if err := long17.Validate(); err == nil || err.Error() != "workflow entry 1: on has 17 labels, at most 16 are allowed" {
		t.Error(err)
	}
}

func TestTheLimitsOfAPolicy(t *testing.T) {
	for why, change := range map[string]func(*rollout.Release){
		"approvals: count is -1, it must be from 1 to 100, or 0 for 1":                             func(r *rollout.Release) { r.Approvals.Count = -1 },
		"approvals: 101 people may approve, at most 100 are allowed":                               func(r *rollout.Release) { r.Approvals.By = make([]string, 101) },
		"approvals: rehearsed is -1ns, it must not be negative":                                    func(r *rollout.Release) { r.Approvals.Rehearsed = -1 },
		"approvals: deadline is -1ns, it must not be negative":                                     func(r *rollout.Release) { r.Approvals.Deadline = -1 },
		"approvals: 2 people have to approve, and only 1 may":                                      func(r *rollout.Release) { r.Approvals = rollout.Policy{By: []string{"bob"}, Count: 2} },
		`approvals: "" may approve, which is nobody, or named twice`:                               func(r *rollout.Release) { r.Approvals.By = []string{""} },
		`requires: version "new" must be a SemVer 2.0 version such as 1.0.0 or 1.0.0-rc.1+build.5`: func(r *rollout.Release) { r.Requires = &rollout.Requirement{Version: "new"} },
		"workflow has 201 entries, at most 200 are allowed":                                        func(r *rollout.Release) { r.Workflow = make([]rollout.Item, 201) },
	} {
		r := withEntry(rollout.Item{Traffic: rollout.Open})
		change(&r)
		if err := r.Validate(); err == nil || err.Error() != why {
			t.Errorf("error %v, want %s", err, why)
		}
	}
}

func TestHowManyHostsHaveToSucceed(t *testing.T) {
	for _, c := range []struct {
		need       rollout.Need
		hosts, all int
	}{
		{rollout.Need{}, 0, 1}, {rollout.Need{}, 1, 1}, {rollout.Need{}, 7, 7},
		{rollout.Need{Hosts: 3}, 2, 3}, {rollout.Need{Hosts: 3}, 7, 3},
		{rollout.Need{Percent: 50}, 0, 1}, {rollout.Need{Percent: 50}, 1, 1}, {rollout.Need{Percent: 50}, 3, 2}, {rollout.Need{Percent: 50}, 4, 2},
		{rollout.Need{Percent: 1}, 100, 1}, {rollout.Need{Percent: 1}, 101, 2}, {rollout.Need{Percent: 100}, 1000, 1000},
	} {
		if got := c.need.Of(c.hosts); got != c.all {
			t.Errorf("%+v of %d hosts is %d, want %d", c.need, c.hosts, got, c.all)
		}
	}
}

// A question that is asked anew, and one that was answered, are the states' own.
func TestAQuestionIsTheStatesOwn(t *testing.T) {
	r := withEntry(rollout.Item{Name: "go", Approval: &rollout.Question{Text: "Shall it?", Checklist: []string{"a", "b", "c", "d", "e"}}})
	r.Approvals.Count = 3
	s, err := rollout.Compile("r1", "ada", time.Time{}, r, rollout.Facts{Ran: neverRan})
	if err != nil {
		t.Fatal(err)
	}
	confirm := func(item int) rollout.Event {
		return rollout.Event{Type: rollout.ItemConfirmed, Step: "go", By: "bob", Item: item}
	}
	two := apply(t, s, confirm(5), confirm(4), confirm(3))
	first, second := apply(t, two, confirm(2)), apply(t, two, rollout.Event{Type: rollout.RejectedBy, Step: "go", By: "eve"})
	votes := func(s rollout.State) (items []int) {
		for _, v := range s.Steps[0].Approval.Confirmed {
			items = append(items, v.Item)
		}
		return items
	}
	if s.Steps[0].Approval.Confirmed != nil || !reflect.DeepEqual(votes(two), []int{3, 4, 5}) || !reflect.DeepEqual(votes(first), []int{2, 3, 4, 5}) {
		t.Errorf("confirmed are %v, %v, then %v", votes(s), votes(two), votes(first))
	}
	if two.Steps[0].Approval.Rejected != nil || first.Steps[0].Approval.Rejected != nil || second.Steps[0].Approval.Rejected == nil {
		t.Error("somebody has rejected it in another state")
	}
	said := func(who string) rollout.Event {
		return rollout.Event{Type: rollout.ApprovedBy, Step: "go", By: who}
	}
	both := apply(t, first, confirm(1), said("bob"), said("eve"))
	carl, dan := apply(t, both, said("carl")), apply(t, both, said("dan"))
	if by := carl.Steps[0].Approval.Approved[2].By; by != "carl" || dan.Steps[0].Approval.Approved[2].By != "dan" || len(both.Steps[0].Approval.Approved) != 2 {
		t.Errorf("approved by %s", by)
	}
}

// A state of a newer version is left to that one.
func TestWhatIsNotKnown(t *testing.T) {
	s, err := rollout.Compile("r1", "ada", time.Time{}, withEntry(rollout.Item{Name: "x", Work: &rollout.Work{}}), rollout.Facts{Ran: neverRan})
	if err != nil || s.Known() != nil {
		t.Fatal(err, s.Known())
	}
	for why, change := range map[string]func(*rollout.State){
		`rollout r1: event "x" is not known to this version of golive`:            func(s *rollout.State) { s.Event.Type = "x" },
		`rollout r1: status "x" is not known to this version of golive`:           func(s *rollout.State) { s.Status = "x" },
		`rollout r1: kind "x" of step x is not known to this version of golive`:   func(s *rollout.State) { s.Steps[0].Kind = "x" },
		`rollout r1: status "x" of step x is not known to this version of golive`: func(s *rollout.State) { s.Steps[0].Status = "x" },
	} {
		other := s
		step := *s.Steps[0]
		other.Steps = append([]*rollout.Step{&step}, s.Steps[1:]...)
		change(&other)
		if err := other.Known(); !errors.Is(err, rollout.ErrUnknown) || err.Error() != why {
			t.Errorf("error %v, want %s", err, why)
		}
	}
}

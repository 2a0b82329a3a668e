package rollout

import (
	"fmt"
	"slices"
	"time"

	"github.com/golive-dev/golive/relay/protocol"
)

// Restore is what a rollout puts back that brings no version: the data of a snapshot, and the
// traffic as it was then. Until it has completed it can be ended at any point: it goes back by the
// snapshot that it has taken itself. A rollout that is none has no Restore.
type Restore struct {
	Snapshot string    `json:"snapshot"`       // that is put back
	Taken    time.Time `json:"taken"`          // when that was
	Of       string    `json:"of,omitempty"`   // the rollout right before which it was taken; empty: somebody had asked for it
	Live     string    `json:"live,omitempty"` // the rollout that had brought the version which was live then; empty: none was
	From     string    `json:"from,omitempty"` // the version of the app that was live when the restore began; empty: none
	Ran      []RanIn   `json:"ran,omitempty"`  // the scripts that counted as run then
}

// RanIn says in which rollout a script has run.
type RanIn struct {
	Name    string         `json:"name"` // of the service; of the app in phase setup
	Version string         `json:"version"`
	Phase   protocol.Phase `json:"phase"`
	Rollout string         `json:"rollout"`
}

// PutRun is what a step that puts data back does, and what has come of it.
type PutRun struct {
	Drop  []string `json:"drop,omitempty"`  // streams that were not there then: they are deleted
	Bytes uint64   `json:"bytes,omitempty"` // that the data has, as it is put back

	Messages uint64 `json:"messages,omitempty"` // that were put back by the newest attempt that is done
	Digest   string `json:"digest,omitempty"`   // of the data as it was read back: that of the snapshot; empty: it is not done
}

// Restoring is what a restore is compiled of.
type Restoring struct {
	Restore Restore
	Release Release // that was live then; its services are led back to where they were

	// By service. Those that are not in the release are taken off the traffic.
	Now  map[string]Replace  // routes as they are, of the services of the app then and since
	Then map[string][]string // versions that were online; a missing one: none
	Need map[string]int      // instances that have to be there and confirm

	Puts       []ServicePut // what is put back, in this order
	Unanswered []AttemptID  // attempts of the app's rollouts before, whose scripts may be at work
}

// ServicePut is the data of a service that is put back.
type ServicePut struct {
	Service, Version string
	PutRun
}

// CheckID is the id of the step that reads the snapshot back which a restore of an app puts back.
func CheckID(app string) string { return app + "/check-snapshot" }

// PutID is the id of the step that puts the data of a service back.
func PutID(service string) string { return service + "/put" }

// The stages of a restore.
const (
	stageCheck   = 1 + iota // the snapshot is read back: nothing was touched
	stageClose              // all services of the app go under maintenance
	stageTake               // the snapshot of now is taken
	stagePut                // the data is put back
	stageTraffic            // the traffic is led back
)

// CompileRestore makes the plan of a restore and starts its first step. The snapshot of now is
// taken under maintenance, so that whoever goes back by it loses nothing that callers were told is
// done.
func CompileRestore(id, by string, at time.Time, r Restoring) (State, error) {
	release := r.Release
	release.Workflow, release.AutoRevert, release.Requires, release.Approvals, release.MustNotSkip, release.Setup = nil, false, nil, Policy{}, nil, false
	services, err := release.ordered()
	if err != nil {
		return State{}, err
	}
	p := planner{release: release, services: services, facts: Facts{Routes: r.Now}, reach: make(map[string][]int)}
	gone := r.gone()
	for _, name := range gone {
		p.services = append(p.services, Service{Name: name})
	}
	p.stage = stageCheck
	p.snapshotStep(CheckID(release.App), &SnapshotRun{Checks: r.Restore.Snapshot})
	p.stage = stageClose
	p.close(nil)
	p.stage = stageTake
	p.snapshotStep(SnapshotID(release.App), &SnapshotRun{})
	p.stage = stagePut
	p.puts(r.Puts)
	p.stage = stageTraffic
	for _, s := range services {
		p.leadBack(s, r)
	}
	p.drain(gone)
	d := draft{State{
		ID: id, Release: release, Status: Running, Steps: pointers(p.steps), By: by, Created: at, Unanswered: r.Unanswered, Restore: &r.Restore,
		Event: Event{Type: Created, At: at, By: by},
	}}
	d.advance(at)
	return d.State, nil
}

// gone are the services that have come since, and are online.
func (r Restoring) gone() []string {
	var names []string
	for name, route := range r.Now {
		if len(route.Online) > 0 && !slices.ContainsFunc(r.Release.Services, func(s Service) bool { return s.Name == name }) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (p *planner) snapshotStep(id string, run *SnapshotRun) {
	p.add(Step{
		ID: id, Kind: Snapshot, Name: p.release.App, Version: p.release.Version, Status: StepPending, Snapshot: run, Tries: Tries{Retries: snapshotRetries},
	})
}

// puts adds the steps that put data back, one after the other.
func (p *planner) puts(all []ServicePut) {
	var before []int
	for _, s := range all {
		run := s.PutRun
		p.add(Step{ID: PutID(s.Service), Kind: Put, Name: s.Service, Version: s.Version, Status: StepPending, Needs: before, Put: &run, Tries: Tries{Retries: snapshotRetries}})
		before = []int{len(p.steps)}
	}
}

// leadBack adds the step that leads the traffic of a service to where it was.
func (p *planner) leadBack(s Service, r Restoring) {
	then := r.Then[s.Name]
	if len(then) == 0 {
		p.drain([]string{s.Name})
		return
	}
	s.Version, s.KeepOnline, s.Instances = then[0], then[1:], r.Need[s.Name]
	p.traffic(s)
}

// applyRestoreEnd is an abort of a restore: data and traffic go back to what they were when it
// began. One that has failed on its way there is ended as it is: what is under maintenance stays
// so, until another restore puts something whole back.
func applyRestoreEnd(d *draft, e Event) error {
	switch {
	case d.Backward == nil:
		e.Backward = &Backward{By: e.By, Reason: e.Reason}
		return applyBackward(d, e)
	case d.Status != Failed:
		return fmt.Errorf("%w: rollout %s is %s, it cannot be aborted", ErrStale, d.ID, d.Status)
	}
	d.Status, d.Ended = Aborted, e.At
	return nil
}

// put takes down what the step that puts data back has put.
func (s *Step) put(done *PutRun) {
	if s.Put == nil || done == nil {
		return
	}
	run := *s.Put
	run.Messages, run.Digest = done.Messages, done.Digest
	s.Put = &run
}

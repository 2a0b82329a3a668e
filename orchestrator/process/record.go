//go:build linux || darwin

package process

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// identity is a process that cannot be taken for another one: numbers are given anew.
type identity struct {
	Pid   int    `json:"pid"`
	Began string `json:"began"` // as the system tells it; only compared
}

// machine is where, and since when, numbers of processes mean what they do.
type machine struct {
	Boot  string `json:"boot,omitempty"`  // changes with each start of the system
	Space string `json:"space,omitempty"` // of numbers: a container has its own
}

// record says that a program runs, in a file that outlives the golive that has started it.
type record struct {
	Name    string     `json:"name"` // of the program
	Group   group      `json:"group"`
	Members []identity `json:"members"` // of the group, when it was written
	Golive  identity   `json:"golive"`  // which has started it
	Machine machine    `json:"machine"`

	path string
}

// keep records that a program runs, in a file of its own; without a folder it does not, nor
// where the system does not show processes, and the record is nil. A golive that is killed
// before it has come to this leaves a program that nobody knows of, but a moment later one
// that [Remains] finds.
func keep(folder, name string, g group) (*record, error) {
	if folder == "" {
		return nil, nil
	}
	golive, known := identify(os.Getpid())
	if !known {
		return nil, nil
	}
	leader, _ := identify(int(g)) // it is there, at least as a zombie: nobody has waited for it
	r := &record{Name: name, Group: g, Members: []identity{leader.identity}, Golive: golive.identity, Machine: thisMachine()}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("record that it runs: %w", err)
	}
	return r, r.write(folder)
}

// write writes the record to a new file. A death on the way leaves an empty file, which
// says nothing.
func (r *record) write(folder string) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(folder, "*"+recordExt)
	if err != nil {
		return fmt.Errorf("record that it runs: %w", err)
	}
	_, err = f.Write(append(data, '\n'))
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("record that it runs: %w", errors.Join(err, os.Remove(f.Name())))
	}
	r.path = f.Name()
	return nil
}

const recordExt = ".json"

// update records who is in the group now: the program itself has ended, and with it the
// proof that the group is ours. It is best effort: the older record says less.
func (r *record) update() {
	if r == nil {
		return
	}
	next := *r
	next.Members = nil
	for _, m := range r.Group.members() {
		next.Members = append(next.Members, m.identity)
	}
	if next.write(filepath.Dir(r.path)) == nil {
		r.remove() // of two, either will do
		r.path = next.path
	}
}

// remove says that nothing of the program runs any more.
func (r *record) remove() {
	if r != nil {
		_ = os.Remove(r.path) // one that stays says of a group that is gone that it was there
	}
}

// Remains finds what a golive that was killed has left of the programs that it has recorded
// in a folder (see [Command]), and that still run: to be stopped, and no more. A program
// of a golive that runs is none of them, nor is a process that has got the number of one
// that has ended. doubts name process groups of which nobody can tell whether they are
// left of such a program; they are not named again. What the folder says of programs that
// have ended is removed. The error is that of reading the folder; one that is not there
// holds nothing.
func Remains(folder string) (left []*Process, doubts []string, err error) {
	files, err := os.ReadDir(folder)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("look for what was left running: %w", err)
	}
	for _, f := range files {
		path := filepath.Join(folder, f.Name())
		if filepath.Ext(path) != recordExt || !f.Type().IsRegular() {
			continue
		}
		r, readable := readRecord(path)
		if !readable {
			removeOld(path)
			continue
		}
		switch r.standing() {
		case ours:
			left = append(left, r.process())
		case doubtful:
			doubts = append(doubts, fmt.Sprintf("process group %d may be left of %s", r.Group, r.Name))
			r.remove()
		case over:
			r.remove()
		}
	}
	return left, doubts, nil
}

// readRecord reads a record; false: it is none.
func readRecord(path string) (*record, bool) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, false
	}
	r := &record{path: path}
	return r, json.Unmarshal(data, r) == nil && r.Group > 1
}

// removeOld removes a file that has not become a record, unless it is only just being written.
func removeOld(path string) {
	if info, err := os.Stat(path); err == nil && time.Since(info.ModTime()) > time.Minute {
		_ = os.Remove(path) // it does no harm
	}
}

// standing is what there is to do about the group of a record.
type standing int

const (
	foreign  standing = iota // nothing: its golive runs, or it is another container's
	ours                     // it is left, and to be stopped
	doubtful                 // a group of this number is there, and nobody can tell whose
	over                     // nothing of it is left
)

func (r *record) standing() standing {
	here := thisMachine()
	switch {
	case r.Machine.Boot != here.Boot:
		return over
	case r.Machine != here, r.Golive.runs():
		return foreign
	}
	members := r.Group.members()
	isOurs := func(m member) bool { return slices.Contains(r.Members, m.identity) }
	switch {
	case slices.ContainsFunc(members, isOurs) && !r.Group.dead(): // so the number was theirs all the time
		return ours
	case r.Group.dead():
		return over
	}
	return doubtful
}

// runs reports whether this very process runs.
func (i identity) runs() bool {
	now, there := identify(i.Pid)
	return there && now.identity == i && !now.zombie
}

// process is what is left of a program: it has ended as far as anybody can wait for it.
func (r *record) process() *Process {
	p := &Process{
		name: r.Name, grace: DefaultGrace, group: r.Group, kept: r,
		read: make(chan struct{}), exited: make(chan struct{}), done: make(chan struct{}),
		stopping: newEvent(), hurry: newEvent(), stopped: newEvent(),
	}
	close(p.read)
	close(p.exited)
	close(p.done)
	return p
}

//go:build linux || darwin

package process

import (
	"errors"
	"slices"
	"syscall"
)

// group is a process group, by its number. The number stays reserved as long as a
// process of the group exists, be it as a zombie; once the group was seen empty,
// it may be anyone's.
type group int

// member is a process of a group.
type member struct {
	identity
	name   string // of the program
	zombie bool   // it has ended, and only waits for its parent to take notice
}

// signal sends a signal to all of the group; that nobody is there is no error.
func (g group) signal(s syscall.Signal) error {
	if err := syscall.Kill(-int(g), s); !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}

// empty says whether no process of the group exists, not even as a zombie.
func (g group) empty() bool {
	return errors.Is(syscall.Kill(-int(g), 0), syscall.ESRCH)
}

// dead says whether nothing of the group runs any more. Zombies count as dead: a
// container's first process may never take notice of those it inherits. That none
// is listed proves nothing (the list may be hidden from us), that only zombies are
// does.
func (g group) dead() bool {
	if g.empty() {
		return true
	}
	all := g.members()
	alive := func(m member) bool { return !m.zombie }
	return len(all) > 0 && !slices.ContainsFunc(all, alive)
}

// alive lists those of the group that still run, as far as they can be seen.
func (g group) alive() []member {
	return slices.DeleteFunc(g.members(), func(m member) bool { return m.zombie })
}

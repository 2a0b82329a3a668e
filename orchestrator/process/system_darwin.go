package process

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// bytesHeld asks for how many bytes a pipe holds: FIONREAD of sys/filio.h.
const bytesHeld = 0x4004667f

// members lists the processes of the group that the kernel shows.
func (g group) members() []member {
	processes, err := unix.SysctlKinfoProcSlice("kern.proc.pgrp", int(g))
	if err != nil {
		return nil
	}
	var all []member
	for _, p := range processes {
		all = append(all, memberOf(p))
	}
	return all
}

// memberOf is a process as the kernel describes it.
func memberOf(p unix.KinfoProc) member {
	const zombie = 5 // SZOMB of sys/proc.h
	began := p.Proc.P_starttime
	return member{
		identity: identity{Pid: int(p.Proc.P_pid), Began: fmt.Sprintf("%d.%06d", began.Sec, began.Usec)},
		name:     unix.ByteSliceToString(p.Proc.P_comm[:]),
		zombie:   p.Proc.P_stat == zombie,
	}
}

// identify tells which process has a number now, as long as it runs or is a zombie.
func identify(pid int) (member, bool) {
	p, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return member{}, false
	}
	return memberOf(*p), true
}

// thisMachine needs to tell no more: the time at which a process began never comes again.
func thisMachine() machine { return machine{} }

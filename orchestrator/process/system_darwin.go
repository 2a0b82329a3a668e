package process

import "golang.org/x/sys/unix"

// bytesHeld asks for how many bytes a pipe holds: FIONREAD of sys/filio.h.
const bytesHeld = 0x4004667f

// members lists the processes of the group that the kernel shows.
func (g group) members() []member {
	const zombie = 5 // SZOMB of sys/proc.h
	processes, err := unix.SysctlKinfoProcSlice("kern.proc.pgrp", int(g))
	if err != nil {
		return nil
	}
	var all []member
	for _, p := range processes {
		all = append(all, member{pid: int(p.Proc.P_pid), zombie: p.Proc.P_stat == zombie})
	}
	return all
}

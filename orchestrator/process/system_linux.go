package process

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// bytesHeld asks for how many bytes a pipe holds; it is called FIONREAD as well.
const bytesHeld = unix.TIOCINQ

// members lists the processes of the group that /proc shows. One that is forked
// while it reads may be missing.
func (g group) members() []member {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer proc.Close()
	names, _ := proc.Readdirnames(-1) // what could be read is all there is to go by

	var all []member
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + name + "/stat")
		if err != nil {
			continue // it has ended meanwhile
		}
		if pgid, zombie, ok := parseStat(string(stat)); ok && pgid == int(g) {
			program, began := parseProgram(string(stat))
			all = append(all, member{identity: identity{Pid: pid, Began: began}, name: program, zombie: zombie})
		}
	}
	return all
}

// identify tells which process has a number now, as long as it runs or is a zombie.
func identify(pid int) (member, bool) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return member{}, false
	}
	_, zombie, ok := parseStat(string(stat))
	program, began := parseProgram(string(stat))
	return member{identity: identity{Pid: pid, Began: began}, name: program, zombie: zombie}, ok
}

// thisMachine is since when the numbers of processes mean what they do, and where: a number
// is given anew after a start of the system, and in a container.
func thisMachine() machine {
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // empty is as good as any other
	space, _ := os.Readlink("/proc/self/ns/pid")
	return machine{Boot: strings.TrimSpace(string(boot)), Space: space}
}

// parseProgram reads the name of a process's program from its /proc/<pid>/stat, and when it
// began, in ticks since the start of the system.
func parseProgram(stat string) (program, began string) {
	before, rest, _ := cutLast(stat, ") ")
	_, program, _ = strings.Cut(before, " (")
	if fields := strings.Fields(rest); len(fields) > 19 {
		began = fields[19]
	}
	return program, began
}

// parseStat reads the group and the state of a process from its /proc/<pid>/stat,
// as proc_pid_stat(5) describes it; ok is false for anything else. A zombie with
// more than one thread is none: its first thread has ended, but another one runs.
func parseStat(stat string) (pgid int, zombie, ok bool) {
	_, rest, found := cutLast(stat, ") ") // the name before it may hold anything
	fields := strings.Fields(rest)        // from the third on: state, ppid, pgrp, …
	if !found || len(fields) < 18 {
		return 0, false, false
	}
	pgid, err := strconv.Atoi(fields[2])
	state, threads := fields[0], fields[17]
	ended := state == "Z" && (threads == "0" || threads == "1")
	return pgid, ended || state == "X", err == nil
}

// cutLast cuts s around the last separator.
func cutLast(s, separator string) (before, after string, found bool) {
	i := strings.LastIndex(s, separator)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(separator):], true
}

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
			all = append(all, member{pid: pid, zombie: zombie})
		}
	}
	return all
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

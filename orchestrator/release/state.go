package release

import (
	"slices"
	"strconv"
	"time"

	"github.com/golive-dev/golive/orchestrator/rollout"
)

// Limits of snapshots.
const (
	DefaultKeepSnapshots = 5
	MaxKeepSnapshots     = 1000
)

// Snapshots says where the snapshots of an environment lie, and how many are kept.
type Snapshots struct {
	Folder string // on the machines of the orchestrators, relative to the manifest's folder unless absolute; empty: the environment's object store
	Keep   int    // of each app; 0: all
}

// objectStore is the word for where snapshots lie by themselves.
const objectStore = "objects"

// snapshotsFields are the keys of where snapshots lie.
func snapshotsFields(s *Snapshots) []field {
	return []field{
		{key: "store", byDefault: objectStore, read: func(v value) {
			if s.Folder = readFolder(v, "the word "+objectStore+", or a folder like ../snapshots", "leave the key out for "+objectStore); s.Folder == objectStore {
				s.Folder = ""
			}
		}},
		{key: "keep", byDefault: strconv.Itoa(DefaultKeepSnapshots), read: func(v value) { s.Keep, _ = readWhole(v, 0, MaxKeepSnapshots) }},
	}
}

// readSnapshots reads where snapshots lie.
func readSnapshots(v value) Snapshots {
	s := Snapshots{Keep: DefaultKeepSnapshots}
	v.fields("a map like {store: ../snapshots, keep: 5}", snapshotsFields(&s))
	return s
}

// readSnapshotWhen reads when a rollout takes a snapshot; empty: the default.
func readSnapshotWhen(v value) rollout.SnapshotWhen {
	when := oneOf(v, "time of a snapshot", rollout.SnapshotWhens())
	if when == rollout.BeforeOffline {
		return ""
	}
	return when
}

// stateFields are the keys of where the data of a service is.
func stateFields(d *rollout.Data, s *Service) []field {
	return []field{
		{key: "streams", read: func(v value) { d.Streams = readStreams(v, "stream", "streams like [TODOS]") }},
		{key: "kv", read: func(v value) { d.KV = readStreams(v, "bucket", "key-value buckets like [settings]") }},
		{key: "objects", read: func(v value) { d.Objects = readStreams(v, "object store", "object stores like [images]") }},
		{key: "messages", byDefault: "false", read: func(v value) { d.Messages = readTruth(v) }},
		{key: "command", read: func(v value) {
			s.StateCommand = readCommand(v, "a command, a list like [./bin/state]")
			d.Command = s.StateCommand != nil
		}},
		{key: "on", read: func(v value) {
			v.later(func() {
				if !d.Command {
					v.reportKey("add command: [./bin/state], or remove on", "it says on which agent the command runs, and there is none")
				}
			})
			d.On = readLabels(v)
		}},
		{key: "timeout", byDefault: brief(rollout.DefaultStateTimeout), with: "command", read: func(v value) {
			needsKeeper(v, d)
			hint := "leave the key out for " + brief(rollout.DefaultStateTimeout)
			d.Timeout = rollout.Duration(readBetween(v, span{what: "a timeout", like: "90s, 10m or 1h30m", units: "h, m, s and ms", hint: hint, least: time.Second, most: rollout.MaxStateTimeout}))
		}},
		{key: "maxMB", byDefault: strconv.Itoa(rollout.DefaultStateMB), with: "command", read: func(v value) {
			needsKeeper(v, d)
			d.MaxMB, _ = readWhole(v, 1, rollout.MaxStateMB)
		}},
	}
}

// readState reads where the data of a service is; nil if it says nothing.
func readState(v value, s *Service) *rollout.Data {
	var d rollout.Data
	v.fields("a map like {streams: [TODOS]}", stateFields(&d, s))
	if len(d.Streams)+len(d.KV)+len(d.Objects) == 0 && !d.Kept() {
		return nil
	}
	return &d
}

// needsKeeper refuses a key that is about the service or the command that takes its state, where
// neither does.
func needsKeeper(v value, d *rollout.Data) {
	v.later(func() { // they may stand below
		if !d.Kept() {
			v.reportKey("add messages: true or command: [./bin/state], or remove it", "it is about a state that the service or a command takes, and neither does")
		}
	})
}

// readStreams reads names of streams or buckets.
func readStreams(v value, what, want string) []string {
	return readFewWords(v, "a list of "+want, few{what, rollout.MaxData}, func(item value, name string) {
		if err := rollout.ValidateStream(name); err != nil {
			item.report("", "%s", err)
		}
	})
}

// stateDigest is what counts of where the data of a service is.
type stateDigest struct {
	Streams []string `json:"streams,omitempty"`
	KV      []string `json:"kv,omitempty"`
	Objects []string `json:"objects,omitempty"`

	Messages bool              `json:"messages,omitempty"`
	Command  []string          `json:"command,omitempty"`
	On       map[string]string `json:"on,omitempty"`
	Timeout  time.Duration     `json:"timeout,omitempty"`
	MaxMB    int               `json:"maxMB,omitempty"`
}

func digestState(s Service) *stateDigest {
	d := s.State
	if d == nil {
		return nil
	}
	return &stateDigest{
		Streams: slices.Sorted(slices.Values(d.Streams)), KV: slices.Sorted(slices.Values(d.KV)), Objects: slices.Sorted(slices.Values(d.Objects)),
		Messages: d.Messages, Command: s.StateCommand, On: d.On,
		Timeout: unless(time.Duration(d.Timeout), rollout.DefaultStateTimeout), MaxMB: unless(d.MaxMB, rollout.DefaultStateMB),
	}
}

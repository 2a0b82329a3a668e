package release

import (
	"slices"
	"strconv"

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
func stateFields(d *rollout.Data) []field {
	return []field{
		{key: "streams", read: func(v value) { d.Streams = readStreams(v, "stream", "streams like [TODOS]") }},
		{key: "kv", read: func(v value) { d.KV = readStreams(v, "bucket", "key-value buckets like [settings]") }},
		{key: "objects", read: func(v value) { d.Objects = readStreams(v, "object store", "object stores like [images]") }},
	}
}

// readState reads where the data of a service is; nil if it says nothing.
func readState(v value) *rollout.Data {
	var d rollout.Data
	v.fields("a map like {streams: [TODOS]}", stateFields(&d))
	if len(d.Streams)+len(d.KV)+len(d.Objects) == 0 {
		return nil
	}
	return &d
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
}

func digestState(d *rollout.Data) *stateDigest {
	if d == nil {
		return nil
	}
	return &stateDigest{slices.Sorted(slices.Values(d.Streams)), slices.Sorted(slices.Values(d.KV)), slices.Sorted(slices.Values(d.Objects))}
}

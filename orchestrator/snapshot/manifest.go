package snapshot

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// Format is that of the manifest of a snapshot; one of another format is refused, whole.
const Format = 1

// Snapshot is the manifest of a snapshot: all that is known of it but the data.
type Snapshot struct {
	Format  int       `json:"format"`
	ID      string    `json:"id"` // UUID v7
	App     string    `json:"app"`
	Version string    `json:"version"`           // of the app
	Rollout string    `json:"rollout,omitempty"` // that had brought it
	Taken   time.Time `json:"taken"`             // when the take began
	Took    Duration  `json:"took"`
	Checked time.Time `json:"checked"` // when it was last read back whole
	By      string    `json:"by,omitempty"`
	Reason  string    `json:"reason,omitempty"`
	For     Purpose   `json:"for,omitempty"` // what it was taken for
	Of      string    `json:"of,omitempty"`  // of a copy: id of the snapshot that it is of
	Cut     *Cut      `json:"cut,omitempty"` // of a copy: what of that it holds

	Services []Service `json:"services"`
	Ledger   []Ran     `json:"ledger,omitempty"` // the scripts that counted as run
	Moment   Moment    `json:"moment"`
	Size     int64     `json:"size"` // bytes as stored
}

// Purpose says what a snapshot was taken for. Those of each purpose are kept for themselves, so that
// many rehearsals take nothing away from whoever wants to go back.
type Purpose string

// What snapshots are taken for. The zero value is that somebody has asked for one.
const (
	ForRollout   Purpose = "rollout"   // the state right before a rollout changes data
	ForRehearsal Purpose = "rehearsal" // a copy to try a release on
)

// Duration is a duration that JSON has as text.
type Duration = protocol.Duration

// Service is the state of one service.
type Service struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Parts   []Part `json:"parts"`
}

// Kinds of a part.
const (
	KindStream  = "stream"
	KindKV      = "kv"
	KindObjects = "objects"

	KindMessages = "messages" // what the service itself takes and puts
	KindCommand  = "command"  // what a command takes and puts that an agent runs
)

// Kinds lists the kinds of a part.
func Kinds() []string { return []string{KindStream, KindKV, KindObjects, KindMessages, KindCommand} }

// Part is a stream or a bucket with what was written of it, or what a [Keeper] has given.
type Part struct {
	Kind     string          `json:"kind"` // one of [Kinds]
	Name     string          `json:"name"` // as the release has it; of what a keeper has given, that of the service
	Config   json.RawMessage `json:"config,omitempty"`
	State    State           `json:"state"` // at the moment at which it was cut
	Messages uint64          `json:"messages"`
	Bytes    uint64          `json:"bytes"`  // of the messages
	Digest   string          `json:"digest"` // of the messages, see [Content]
	Size     int64           `json:"size"`   // of the archive
	SHA256   string          `json:"sha256"` // of the archive
	Took     Duration        `json:"took"`

	From    string   `json:"from,omitempty"`    // who has given it, for people; empty: it is in JetStream
	Timeout Duration `json:"timeout,omitempty"` // of a keeper, for each take, check and put
	Most    int64    `json:"most,omitempty"`    // bytes that a keeper may give
}

// Kept reports whether the part is not in JetStream, but what a [Keeper] has given.
func (p Part) Kept() bool { return p.Kind == KindMessages || p.Kind == KindCommand }

// Title is how the part is called for people: "stream TODOS".
func (p Part) Title() string {
	switch p.Kind {
	case KindMessages:
		return "the state that service " + p.Name + " keeps itself"
	case KindCommand:
		return "the state that the command of service " + p.Name + " takes"
	}
	return "stream " + p.Stream()
}

// Stream is the name of the stream that keeps the part; empty: it is not in JetStream.
func (p Part) Stream() string {
	if p.Kept() {
		return ""
	}
	return StreamOf(p.Kind, p.Name)
}

// StreamOf is the name of the stream that keeps a stream or a bucket.
func StreamOf(kind, name string) string {
	switch kind {
	case KindKV:
		return "KV_" + name
	case KindObjects:
		return "OBJ_" + name
	}
	return name
}

// Ran is a script that counted as run.
type Ran struct {
	Name    string         `json:"name"`
	Version string         `json:"version"`
	Phase   protocol.Phase `json:"phase"`
	Rollout string         `json:"rollout"`
}

// Moment tells whether all of a snapshot was cut at one moment.
type Moment struct {
	One    bool     `json:"one"`              // nothing was stored in any of its streams while it was taken, or there is one part only; with state outside of JetStream only if Paused
	Paused bool     `json:"paused,omitempty"` // all its services were under maintenance
	Skew   uint64   `json:"skew,omitempty"`   // messages that were stored in them meanwhile
	Within Duration `json:"within,omitempty"` // the time in which its streams were cut, one after the other
}

// manifestName is what the name of a manifest ends in.
const manifestName = "manifest.json"

func (s Snapshot) folder() string { return s.App + "/" + s.ID + "/" }

// archive is the name of what is stored of a part.
func (s Snapshot) archive(service string, p Part) string {
	return s.folder() + service + "/" + p.Kind + "-" + p.Name + ".s2"
}

// archives are the names of all that is stored of it beside the manifest.
func (s Snapshot) archives() []string {
	var names []string
	for _, service := range s.Services {
		for _, p := range service.Parts {
			names = append(names, s.archive(service.Name, p))
		}
	}
	return names
}

// ErrFormat says that a snapshot is of another format than this version of golive reads.
var ErrFormat = fmt.Errorf("it is of another format than this version of golive reads, which is %d", Format)

// parse reads a manifest that is stored for an app under an id.
func parse(data []byte, app, id string) (Snapshot, error) {
	var s Snapshot
	if err := json.Unmarshal(data, &struct {
		Format *int `json:"format"`
	}{&s.Format}); err != nil {
		return s, fmt.Errorf("%w: its manifest: %w", ErrDamaged, err)
	}
	if s.Format != Format {
		return s, fmt.Errorf("%w: its format is %d", ErrFormat, s.Format)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return s, fmt.Errorf("%w: its manifest: %w", ErrDamaged, err)
	}
	if s.App != app || s.ID != id {
		return s, fmt.Errorf("%w: its manifest is of snapshot %s of %s", ErrDamaged, s.ID, s.App)
	}
	return s, s.validate()
}

// validate refuses what no take writes.
func (s Snapshot) validate() error {
	if err := protocol.ValidateName(s.App); err != nil {
		return fmt.Errorf("%w: its app: %w", ErrDamaged, err)
	}
	if id, err := uuid.Parse(s.ID); err != nil || id.String() != s.ID {
		return fmt.Errorf("%w: its id is none", ErrDamaged)
	}
	if id, err := uuid.Parse(s.Rollout); s.Rollout != "" && (err != nil || id.String() != s.Rollout) {
		return fmt.Errorf("%w: its rollout is none", ErrDamaged)
	}
	if err := protocol.ValidateVersion(s.Version); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if s.For != "" && s.For != ForRollout && s.For != ForRehearsal && s.For != ForCopy {
		return fmt.Errorf("%w: what it was taken for is unknown", ErrDamaged)
	}
	for _, service := range s.Services {
		if err := cmp.Or(protocol.ValidateName(service.Name), protocol.ValidateVersion(service.Version)); err != nil {
			return fmt.Errorf("%w: its service: %w", ErrDamaged, err)
		}
		for _, p := range service.Parts {
			if !slices.Contains(Kinds(), p.Kind) {
				return fmt.Errorf("%w: service %s has state of an unknown kind", ErrDamaged, service.Name)
			}
			if !hexDigest.MatchString(p.Digest) || !hexDigest.MatchString(p.SHA256) {
				return fmt.Errorf("%w: service %s has a digest that is none", ErrDamaged, service.Name)
			}
			if err := rollout.ValidateStream(p.Name); err != nil {
				return fmt.Errorf("%w: service %s: %w", ErrDamaged, service.Name, err)
			}
			if p.Kept() && (p.Name != service.Name || p.Timeout <= 0 || p.Most <= 0) {
				return fmt.Errorf("%w: service %s has state outside of JetStream that is not told in full", ErrDamaged, service.Name)
			}
		}
	}
	return nil
}

// hexDigest is a digest, also one that is yet to be made.
var hexDigest = regexp.MustCompile(`^([0-9a-f]{64})?$`)

var manifestPath = regexp.MustCompile(`^([a-z0-9-]+)/([0-9a-f-]{36})/(.+)$`)

// split takes the name of something that is stored apart; false: it is none of ours.
func split(name string) (app, id, rest string, ok bool) {
	m := manifestPath.FindStringSubmatch(name)
	if m == nil || strings.Contains(name, "..") {
		return "", "", "", false
	}
	return m[1], m[2], m[3], true
}

// ServicesOf are the services of a release that say where their data is, with a part for each
// stream and bucket and for what they keep elsewhere, in the order of the release.
func ServicesOf(r rollout.Release) []Service {
	var all []Service
	for _, s := range r.Services {
		if s.State == nil {
			continue
		}
		service := Service{Name: s.Name, Version: s.Version}
		for _, of := range []struct {
			kind  string
			names []string
		}{{KindStream, s.State.Streams}, {KindKV, s.State.KV}, {KindObjects, s.State.Objects}} {
			for _, name := range of.names {
				service.Parts = append(service.Parts, Part{Kind: of.kind, Name: name})
			}
		}
		kept := Part{
			Name: s.Name, Timeout: Duration(cmp.Or(time.Duration(s.State.Timeout), rollout.DefaultStateTimeout)),
			Most: int64(cmp.Or(s.State.MaxMB, rollout.DefaultStateMB)) << 20,
		}
		if kept.Kind = KindMessages; s.State.Messages {
			service.Parts = append(service.Parts, kept)
		}
		if kept.Kind = KindCommand; s.State.Command {
			service.Parts = append(service.Parts, kept)
		}
		all = append(all, service)
	}
	return all
}

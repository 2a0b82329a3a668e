package snapshot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// Snapshots are those of an environment.
type Snapshots struct {
	JetStream bus.JetStream    // of the environment
	Store     Store            // where they lie; required
	Keeper    Keeper           // of what is not in JetStream; nil: such a part cannot be taken, checked or put
	Keep      int              // of each app so many, the newest, once one more is there; 0: all
	Now       func() time.Time // required
	Spare     string           // id of a snapshot that is not dropped for being old: it is about to be put back; empty: none
	At        func(Point)      // may end the process at a named point; nil: it does not
}

// Point is a place in a take or a put at which a process may be ended, to show that nothing is lost.
type Point string

// The points of a take, in the order in which they are passed.
const (
	Swept      Point = "swept"     // what was left is removed
	CutFirst   Point = "cut-first" // the first archive is stored
	CutAll     Point = "cut-all"   // all archives are
	ReadBack   Point = "read-back" // all were read back
	Recorded   Point = "recorded"  // the manifest is stored
	DroppedOne Point = "dropped"   // an old one was dropped
)

// Progress tells how far a take or a check has come.
type Progress struct {
	Doing  string `json:"doing"`            // "take", "check" or "put"
	Stream string `json:"stream,omitempty"` // that it is at
	Kept   string `json:"kept,omitempty"`   // or, of a part that is not in JetStream, what it is called
	Done   int64  `json:"done"`             // bytes of archives so far
	Of     uint64 `json:"of,omitempty"`     // bytes that the streams hold, about; archives are smaller; 0: not known
}

func (s *Snapshots) at(p Point) {
	if s.At != nil {
		s.At(p)
	}
}

// Take takes a snapshot as wanted says it: its id, app and version, its services with the kind
// and name of each part, who, and what of the ledger belongs to it. It removes what is left of
// takes that have died, writes an archive for each part, reads them back, and writes the manifest
// last: only then the snapshot counts. Then it drops what is beyond Keep. It calls tell now and
// then, from the same goroutine. Nobody else may take one meanwhile, in the same store. On an
// error nothing that counts is left, and what is not removed at once is by the next. Taking one
// whose manifest is there gives that.
func (s *Snapshots) Take(ctx context.Context, wanted Snapshot, tell func(Progress)) (Snapshot, error) {
	wanted.Format = Format
	if err := wanted.validate(); err != nil {
		return wanted, err
	}
	if there, err := s.load(ctx, wanted.App, wanted.ID); !errors.Is(err, ErrNotFound) {
		return there, err
	}
	if err := s.sweep(ctx); err != nil {
		return wanted, fmt.Errorf("remove what is left of earlier takes: %w", err)
	}
	s.at(Swept)
	taken, err := s.take(ctx, wanted, tell)
	if err != nil {
		tidy, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeFor)
		defer cancel()
		_ = s.remove(tidy, wanted) // else the next take does
		return taken, err
	}
	s.at(Recorded)
	_ = s.dropOld(ctx, taken) // else the next take does
	return taken, nil
}

func (s *Snapshots) take(ctx context.Context, wanted Snapshot, tell func(Progress)) (Snapshot, error) {
	began := s.Now()
	wanted.Taken = began.UTC()
	before, held, err := s.where(ctx, wanted)
	if err != nil {
		return wanted, err
	}
	told := &teller{tell: tell, p: Progress{Doing: "take", Of: held}}
	for i := range wanted.Services {
		for j := range wanted.Services[i].Parts {
			p := &wanted.Services[i].Parts[j]
			if p.Kept() {
				err = keeping{s}.takeKept(ctx, &wanted, wanted.Services[i], p, told)
			} else {
				err = s.takePart(ctx, wanted.archive(wanted.Services[i].Name, *p), p, told)
			}
			if err != nil {
				return wanted, fmt.Errorf("service %s: %w", wanted.Services[i].Name, err)
			}
			wanted.Size += p.Size
			s.at(CutFirst)
		}
	}
	s.at(CutAll)
	after, _, err := s.where(ctx, wanted)
	if err != nil {
		return wanted, err
	}
	wanted.moment(before, after, s.Now().Sub(began))
	if err := s.verify(ctx, &wanted, true, tell); err != nil {
		return wanted, err
	}
	s.at(ReadBack)
	wanted.Checked, wanted.Took = s.Now().UTC(), Duration(s.Now().Sub(began).Round(time.Millisecond))
	return wanted, s.record(ctx, wanted)
}

// where reads at which sequence each stream is, and how many bytes all hold.
func (s *Snapshots) where(ctx context.Context, wanted Snapshot) (map[string]uint64, uint64, error) {
	at, held := make(map[string]uint64), uint64(0)
	for _, service := range wanted.Services {
		for _, p := range service.Parts {
			if p.Kept() {
				continue
			}
			stream, err := s.JetStream.Stream(ctx, p.Stream())
			if notFound(err) {
				return nil, 0, fmt.Errorf("service %s: %w", service.Name, &MissingError{p.Stream()})
			}
			if err != nil {
				return nil, 0, fmt.Errorf("service %s: look at stream %s: %w", service.Name, p.Stream(), err)
			}
			state := stream.CachedInfo().State
			at[p.Stream()] = state.LastSeq
			held += state.Bytes
		}
	}
	return at, held, nil
}

// moment tells whether all parts were cut at one moment.
func (s *Snapshot) moment(before, after map[string]uint64, within time.Duration) {
	for name := range after {
		s.Moment.Skew += after[name] - min(before[name], after[name])
	}
	parts, kept := 0, false
	for _, service := range s.Services {
		parts += len(service.Parts)
		kept = kept || slices.ContainsFunc(service.Parts, Part.Kept)
	}
	s.Moment.One = parts < 2 || s.Moment.Skew == 0 && (!kept || s.Moment.Paused)
	if s.Moment.One {
		s.Moment.Skew = 0
		return
	}
	s.Moment.Within = Duration(within.Round(time.Millisecond))
}

func (s *Snapshots) takePart(ctx context.Context, name string, p *Part, told *teller) error {
	began := s.Now()
	told.at(*p)
	var taken Taken
	err := s.Store.Write(ctx, name, func(w io.Writer) (err error) {
		taken, err = Take(ctx, s.JetStream, p.Stream(), io.MultiWriter(w, told))
		return err
	})
	if err != nil {
		return fmt.Errorf("%w (into the %s)", err, s.Store)
	}
	p.Config, p.State, p.Size, p.SHA256 = taken.Config, taken.State, taken.Size, taken.SHA256
	p.Took = Duration(s.Now().Sub(began).Round(time.Millisecond))
	return nil
}

// verify reads all parts. Of a new snapshot it takes down what they hold; of another it compares.
func (s *Snapshots) verify(ctx context.Context, of *Snapshot, fresh bool, tell func(Progress)) error {
	told := &teller{tell: tell, p: Progress{Doing: "check", Of: uint64(of.Size)}}
	for i := range of.Services {
		for j := range of.Services[i].Parts {
			service, p := of.Services[i].Name, &of.Services[i].Parts[j]
			told.at(*p)
			if p.Kept() && of.For == ForCopy {
				continue // it was checked when it was taken, and the bytes are the same
			}
			if p.Kept() {
				if err := (keeping{s}).checkKept(ctx, of, of.Services[i], *p, told); err != nil {
					return fmt.Errorf("service %s: %w", service, err)
				}
				continue
			}
			content, err := s.readPart(ctx, of.archive(service, *p), *p, told)
			switch {
			case err != nil:
			case content.State.Last != p.State.Last:
				err = fmt.Errorf("%w: it ends at sequence %d instead of %d", ErrDamaged, content.State.Last, p.State.Last)
			case fresh:
				p.Messages, p.Bytes, p.Digest = content.Messages, content.Bytes, content.Digest
			case content.Messages != p.Messages || content.Digest != p.Digest:
				err = fmt.Errorf("%w: its messages are not those that were taken", ErrDamaged)
			}
			if err != nil {
				return fmt.Errorf("stream %s of service %s: %w", p.Stream(), service, err)
			}
		}
	}
	return nil
}

// readPart reads an archive, and compares its bytes with what was written.
func (s *Snapshots) readPart(ctx context.Context, name string, p Part, told *teller) (Content, error) {
	r, err := s.Store.Open(ctx, name)
	if errors.Is(err, ErrNotFound) {
		return Content{}, fmt.Errorf("%w: its archive is missing in the %s", ErrDamaged, s.Store)
	}
	if err != nil {
		return Content{}, err
	}
	h := sha256.New()
	all := io.TeeReader(stoppedReader{ctx, r}, io.MultiWriter(h, told))
	content, err := Read(all)
	if err == nil {
		_, err = io.Copy(io.Discard, all)
	}
	if err = errors.Join(err, r.Close()); err == nil && hex.EncodeToString(h.Sum(nil)) != p.SHA256 {
		err = fmt.Errorf("%w: the archive is not what was written", ErrDamaged)
	}
	return content, err
}

// stoppedReader is a reader that gives nothing any more when its context has ended.
type stoppedReader struct {
	ctx context.Context
	r   io.Reader
}

func (s stoppedReader) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.r.Read(p)
}

// teller tells how far something has come, not too often.
type teller struct {
	tell func(Progress)
	p    Progress
	last int64
}

const tellBytes = 4 << 20 // after so many bytes it is told again

func (t *teller) at(p Part) {
	t.p.Stream, t.p.Kept = p.Stream(), ""
	if p.Kept() {
		t.p.Kept = p.Title()
	}
	t.tell(t.p)
}

// Write counts what was written.
func (t *teller) Write(p []byte) (int, error) {
	if t.p.Done += int64(len(p)); t.p.Done-t.last >= tellBytes {
		t.last = t.p.Done
		t.tell(t.p)
	}
	return len(p), nil
}

// record writes the manifest, and takes it back if what it tells of has gone meanwhile.
func (s *Snapshots) record(ctx context.Context, taken Snapshot) error {
	data, err := json.MarshalIndent(taken, "", "  ")
	if err != nil {
		return err
	}
	err = s.Store.Write(ctx, taken.folder()+manifestName, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
	if err != nil {
		return fmt.Errorf("write the manifest into the %s: %w", s.Store, err)
	}
	names, err := s.Store.Names(ctx)
	if err != nil {
		return err
	}
	for _, name := range taken.archives() {
		if !slices.Contains(names, name) {
			err := fmt.Errorf("%w: %s was removed meanwhile", ErrDamaged, name)
			return errors.Join(err, s.Store.Remove(ctx, taken.folder()+manifestName))
		}
	}
	return nil
}

// Check reads a snapshot back whole and compares it with what its manifest says; [ErrDamaged]
// says that it is not so. When all is well it says when that was.
func (s *Snapshots) Check(ctx context.Context, of Snapshot, tell func(Progress)) (Snapshot, error) {
	if err := s.verify(ctx, &of, false, tell); err != nil {
		return of, err
	}
	of.Checked = s.Now().UTC()
	return of, s.record(ctx, of)
}

// Open gives the archive of a part of a snapshot, for [Source].
func (s *Snapshots) Open(ctx context.Context, of Snapshot, service string, p Part) (io.ReadCloser, error) {
	return s.Store.Open(ctx, of.archive(service, p))
}

// List gives the snapshots of an app, or of all if it is empty, newest first. Those that cannot
// be read are left out: unread joins an error of each.
func (s *Snapshots) List(ctx context.Context, app string) (all []Snapshot, unread, err error) {
	names, err := s.Store.Names(ctx)
	if err != nil {
		return nil, nil, err
	}
	var errs []error
	for _, name := range names {
		of, id, rest, ok := split(name)
		if !ok || rest != manifestName || app != "" && of != app {
			continue
		}
		one, err := s.load(ctx, of, id)
		switch {
		case errors.Is(err, ErrNotFound): // it was dropped meanwhile
		case err != nil:
			errs = append(errs, fmt.Errorf("snapshot %s of %s: %w", id, of, err))
		default:
			all = append(all, one)
		}
	}
	slices.SortFunc(all, func(a, b Snapshot) int { return strings.Compare(b.ID, a.ID) }) // which begin with the time
	return all, errors.Join(errs...), nil
}

// Find gives the snapshots whose ids begin with prefix, as the names in the store tell: app and
// id of each.
func (s *Snapshots) Find(ctx context.Context, prefix string) ([]Snapshot, error) {
	names, err := s.Store.Names(ctx)
	if err != nil {
		return nil, err
	}
	var found []Snapshot
	for _, name := range names {
		if app, id, rest, ok := split(name); ok && rest == manifestName && strings.HasPrefix(id, prefix) {
			found = append(found, Snapshot{App: app, ID: id})
		}
	}
	return found, nil
}

// Load gives the manifest of a snapshot; errors are [ErrNotFound], [ErrFormat], [ErrDamaged].
func (s *Snapshots) Load(ctx context.Context, app, id string) (Snapshot, error) {
	one, err := s.load(ctx, app, id)
	if err != nil {
		return one, fmt.Errorf("snapshot %s of %s: %w", id, app, err)
	}
	return one, nil
}

// maxManifest is how large a manifest may be.
const maxManifest = 16 << 20

// loadTries is how often a manifest is read that may have been written anew meanwhile.
const loadTries = 4

func (s *Snapshots) load(ctx context.Context, app, id string) (one Snapshot, err error) {
	for range loadTries {
		if one, err = s.loadOnce(ctx, app, id); !errors.Is(err, ErrDamaged) {
			break
		}
	}
	return one, err
}

func (s *Snapshots) loadOnce(ctx context.Context, app, id string) (Snapshot, error) {
	r, err := s.Store.Open(ctx, Snapshot{App: app, ID: id}.folder()+manifestName)
	if err != nil {
		return Snapshot{}, err
	}
	data, err := io.ReadAll(io.LimitReader(r, maxManifest))
	if err = errors.Join(err, r.Close()); err != nil {
		return Snapshot{}, err
	}
	return parse(data, app, id)
}

// Drop removes a snapshot; one that is not there is no error. Its manifest goes first, so that
// what is left of a drop that dies does not count, and once more at the end: somebody who has
// checked it meanwhile may have written it again.
func (s *Snapshots) Drop(ctx context.Context, app, id string) error {
	if err := s.remove(ctx, Snapshot{App: app, ID: id}); err != nil {
		return fmt.Errorf("drop snapshot %s of %s: %w", id, app, err)
	}
	return nil
}

func (s *Snapshots) remove(ctx context.Context, of Snapshot) error {
	if s.Keeper != nil {
		if there, err := s.load(ctx, of.App, of.ID); err == nil {
			keeping{s}.forgetAll(ctx, there)
		}
	}
	if err := s.Store.Remove(ctx, of.folder()+manifestName); err != nil {
		return err
	}
	names, err := s.Store.Names(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, of.folder()) {
			if err := s.Store.Remove(ctx, name); err != nil {
				return err
			}
		}
	}
	return s.Store.Remove(ctx, of.folder()+manifestName)
}

// forgetAll has commands drop what they keep of a snapshot beside it.
func (s keeping) forgetAll(ctx context.Context, of Snapshot) {
	for _, service := range of.Services {
		for _, p := range service.Parts {
			if want, err := s.want(&of, service, p, protocol.StateDrop); err == nil {
				s.forget(ctx, want)
			}
		}
	}
}

// dropOld drops what is beyond Keep of what was taken for the same purpose, but never what was just taken: its id may be an old one, of a
// rollout that has waited.
func (s *Snapshots) dropOld(ctx context.Context, taken Snapshot) error {
	if s.Keep <= 0 {
		return nil
	}
	all, _, err := s.List(ctx, taken.App)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(one Snapshot) bool { return one.For != taken.For })
	for _, old := range all[min(s.Keep, len(all)):] {
		if old.ID == taken.ID || old.ID == s.Spare {
			continue
		}
		if err := s.Drop(ctx, old.App, old.ID); err != nil {
			return err
		}
		s.at(DroppedOne)
	}
	return nil
}

// sweep removes what belongs to no manifest.
func (s *Snapshots) sweep(ctx context.Context) error {
	if err := s.Store.Sweep(ctx); err != nil {
		return err
	}
	names, err := s.Store.Names(ctx)
	if err != nil {
		return err
	}
	counts := make(map[string]bool)
	for _, name := range names {
		if app, id, rest, ok := split(name); ok && rest == manifestName {
			counts[app+"/"+id] = true
		}
	}
	for _, name := range names {
		if app, id, _, ok := split(name); ok && !counts[app+"/"+id] {
			if err := s.Store.Remove(ctx, name); err != nil {
				return err
			}
		}
	}
	return nil
}

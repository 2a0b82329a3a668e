package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/golive-dev/golive/orchestrator/rollout"
)

// The points of a put of a service's data, in the order in which they are passed.
const (
	PutDeleted Point = "put-deleted" // a stream is deleted that is to be put back
	PutOne     Point = "put-one"     // a part is put back and compared
	PutAll     Point = "put-all"     // all of the service is
)

// Putting is data of a service that is put back in the place of what is there.
type Putting struct {
	Of      Snapshot // that it is taken from
	Service string   // of it, whose parts are put back; empty: those of all
	Parts   []string // of these, where those are that are put back, see [Part.Where]; nil: all
	Drop    []string // streams that are deleted: they were not there

	// Sure is asked right before anything is deleted: an error says that somebody else may be at
	// work by now, and nothing is deleted. Required.
	Sure func(context.Context) error
	Tell func(Progress) // is told now and then how far it is, from the same goroutine; required
}

// Done is what was put back of a service.
type Done struct {
	Messages uint64
	Digests  []PartDigest
}

// PartDigest is the digest of a part, as the snapshot has it.
type PartDigest struct{ Service, Kind, Name, Digest string }

// partOf is a part of a service.
type partOf struct {
	service string
	Part
}

// Replace puts the data of a service back as a snapshot has it, part by part: it deletes what is
// there, puts what the snapshot has, reads it back and compares it. Between the two there is
// nothing or a part of it, so nobody may read or write it meanwhile. It can be done again at any
// point, and ends the same. An error is [ErrDamaged] where the snapshot is not whole, or what was
// put back is not what was taken.
func (s *Snapshots) Replace(ctx context.Context, p Putting) (Done, error) {
	var done Done
	parts, size := p.parts()
	told := &teller{tell: p.Tell, p: Progress{Doing: "put", Of: size}}
	for _, part := range parts {
		told.at(part.Part)
		content, err := replacing{s}.replace(ctx, p, part, told)
		if err != nil {
			return done, fmt.Errorf("service %s: %w", part.service, err)
		}
		done.Messages += content.Messages
		done.Digests = append(done.Digests, PartDigest{part.service, part.Kind, part.Name, part.Digest})
		s.at(PutOne)
	}
	for _, stream := range p.Drop {
		if err := (replacing{s}).clear(ctx, stream, p.Sure); err != nil {
			return done, err
		}
	}
	s.at(PutAll)
	return done, nil
}

// parts are those that are put back, and how large their archives are.
func (p Putting) parts() (parts []partOf, size uint64) {
	for _, service := range p.Of.Services {
		if p.Service != "" && service.Name != p.Service {
			continue
		}
		for _, part := range service.Parts {
			if p.Parts == nil || slices.Contains(p.Parts, part.Where(service.Name)) {
				parts, size = append(parts, partOf{service.Name, part}), size+uint64(part.Size)
			}
		}
	}
	return parts, size
}

// Where names where the data of a part of a service is: two parts that have the same are the same
// data, whichever service a release has named it for.
func (p Part) Where(service string) string {
	if !p.Kept() {
		return p.Stream()
	}
	return service + "/" + p.Kind + "-" + p.Name
}

// replacing puts data in the place of what is there.
type replacing struct{ *Snapshots }

// replace puts one part back in the place of what is there, as its kind wants it.
func (s replacing) replace(ctx context.Context, p Putting, part partOf, told *teller) (Content, error) {
	if !part.Kept() {
		return s.replaceStream(ctx, p, part, told)
	}
	if err := p.Sure(ctx); err != nil {
		return Content{}, err
	}
	return Content{}, s.PutPart(ctx, p.Of, part.service, part.Part, p.Tell)
}

// replaceStream puts a stream or a bucket back.
func (s replacing) replaceStream(ctx context.Context, p Putting, part partOf, told *teller) (Content, error) {
	if err := s.clear(ctx, part.Stream(), p.Sure); err != nil {
		return Content{}, err
	}
	s.at(PutDeleted)
	content, err := Put(ctx, s.JetStream, Source{Config: part.Config, Archive: func() (io.ReadCloser, error) {
		r, err := s.Open(ctx, p.Of, part.service, part.Part)
		if errors.Is(err, ErrNotFound) {
			err = fmt.Errorf("%w: its archive is missing in the %s", ErrDamaged, s.Store)
		}
		if err != nil {
			return nil, err
		}
		return archiveRead{stoppedReader{ctx, io.TeeReader(r, told)}, r}, nil
	}})
	if err == nil && content.Messages == part.Messages && content.Digest != part.Digest {
		err = fmt.Errorf("stream %s: %w: its messages are not those that were taken", part.Stream(), ErrDamaged)
	}
	return content, err
}

// archiveRead is an archive that is being read.
type archiveRead struct {
	io.Reader
	io.Closer
}

// clear deletes a stream, if it is there.
func (s replacing) clear(ctx context.Context, stream string, sure func(context.Context) error) error {
	if err := rollout.ValidateStream(stream); err != nil { // never golive's own
		return err
	}
	_, err := s.JetStream.Stream(ctx, stream)
	if notFound(err) {
		return nil
	}
	if err == nil {
		err = sure(ctx)
	}
	if err == nil {
		err = deleteStream(ctx, s.JetStream, stream)
	}
	if err != nil {
		return fmt.Errorf("make room for stream %s: %w", stream, err)
	}
	return nil
}

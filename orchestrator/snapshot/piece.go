package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// MaxPiece is how many bytes of an archive [Snapshots.Piece] gives at most.
const MaxPiece = 1 << 20

// Piece gives the bytes of a part's archive from an offset on: length of them, [MaxPiece] at most,
// and fewer only where the archive ends. Whoever asks for one piece after the other takes as much
// at a time as he can deal with. At the end and behind it there are none. Only what the manifest
// names is read; the error is [ErrNotFound] for anything else, and [ErrDamaged] where the store
// has lost it.
func (s *Snapshots) Piece(ctx context.Context, of Snapshot, service string, p Part, offset int64, length int) ([]byte, error) {
	switch {
	case offset < 0 || length < 1 || length > MaxPiece:
		return nil, fmt.Errorf("a piece begins at 0 or later and is 1 to %d bytes long, not %d bytes at %d", MaxPiece, length, offset)
	case offset >= p.Size:
		return nil, nil
	}
	r, err := s.Store.OpenAt(ctx, of.archive(service, p), offset)
	if errors.Is(err, ErrNotFound) {
		return nil, fmt.Errorf("%w: the archive of %s is missing in the %s", ErrDamaged, p.Title(), s.Store)
	}
	if err != nil {
		return nil, err
	}
	piece := make([]byte, min(int64(length), p.Size-offset))
	_, err = io.ReadFull(stoppedReader{ctx, r}, piece)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%w: the archive of %s ends before its %d bytes", ErrDamaged, p.Title(), p.Size)
	}
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, err
	}
	return piece, nil
}

// Part gives the part of a service by its kind and name; [ErrNotFound] says that the snapshot has
// none.
func (s Snapshot) Part(service, kind, name string) (Part, error) {
	for _, one := range s.Services {
		for _, p := range one.Parts {
			if one.Name == service && p.Kind == kind && p.Name == name {
				return p, nil
			}
		}
	}
	return Part{}, fmt.Errorf("%w: it holds no %s %q of service %q", ErrNotFound, kind, name, service)
}

// OpenAt is of [Store].
func (f Folder) OpenAt(ctx context.Context, name string, offset int64) (io.ReadCloser, error) {
	r, err := f.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	if _, err := r.(*os.File).Seek(offset, io.SeekStart); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// OpenAt is of [Store]. It begins at the message of the chunk that the offset is in, or a few
// before it, where other things were stored between the chunks.
func (o *Objects) OpenAt(ctx context.Context, name string, offset int64) (io.ReadCloser, error) {
	info, err := o.info(ctx, name)
	if err != nil {
		return nil, err
	}
	size := int64(o.chunk())
	if info.Opts != nil && info.Opts.ChunkSize > 0 {
		size = int64(info.Opts.ChunkSize)
	}
	return o.open(ctx, info, offset, size)
}

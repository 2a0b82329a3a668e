package snapshot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/golive-dev/golive/relay/protocol"
)

// Keeper reaches whoever takes and puts the state of services that is not in JetStream: the service
// itself, or the command that an agent runs.
type Keeper interface {
	// Fetch has the state of a part taken, and writes it to w as it comes. It gives who has taken it.
	// What was written counts for nothing after an error.
	Fetch(ctx context.Context, w Want, to io.Writer) (from string, err error)

	// Deliver has what was taken checked, put or dropped, as Want says, and reads it from r. What is
	// put comes into force only when r has ended with [io.EOF].
	Deliver(ctx context.Context, w Want, r io.Reader) (from string, err error)
}

// Want is what a [Keeper] is asked for.
type Want struct {
	Do       string // [protocol.StateTake], [protocol.StateCheck], [protocol.StatePut] or [protocol.StateDrop]
	Snapshot string // its id
	App      string
	Service  Service
	Part     Part // of it
}

// errNoKeeper says that a snapshot holds state that is not in JetStream, and that nobody reaches it.
var errNoKeeper = errors.New("its state is not in JetStream, and cannot be reached from here")

// keeping has the [Keeper] do what is to be done outside of JetStream.
type keeping struct{ *Snapshots }

func (s keeping) want(of *Snapshot, service Service, p Part, do string) (Want, error) {
	if s.Keeper == nil {
		return Want{}, errNoKeeper
	}
	return Want{Do: do, Snapshot: of.ID, App: of.App, Service: service, Part: p}, nil
}

// counted counts what is written to it, and makes a digest of it.
type counted struct {
	h hash.Hash
	n int64
}

func newCounted() *counted { return &counted{h: sha256.New()} }

func (c *counted) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.h.Write(p) // which never fails
}

func (c *counted) sum() string { return hex.EncodeToString(c.h.Sum(nil)) }

// takeKept writes what a keeper gives as the archive of a part: compressed with S2.
func (s keeping) takeKept(ctx context.Context, of *Snapshot, service Service, p *Part, told *teller) error {
	began := s.Now()
	want, err := s.want(of, service, *p, protocol.StateTake)
	if err != nil {
		return err
	}
	told.at(*p)
	plain, stored := newCounted(), newCounted()
	err = s.Store.Write(ctx, of.archive(service.Name, *p), func(w io.Writer) (err error) {
		zip := s2.NewWriter(io.MultiWriter(w, stored), s2.WriterConcurrency(1))
		if p.From, err = s.Keeper.Fetch(ctx, want, io.MultiWriter(zip, plain, told)); err != nil {
			return err
		}
		return zip.Close()
	})
	if err != nil {
		s.forget(ctx, want)
		return err
	}
	p.Bytes, p.State.Bytes, p.Digest = uint64(plain.n), uint64(plain.n), plain.sum()
	p.Size, p.SHA256 = stored.n, stored.sum()
	p.Took = Duration(s.Now().Sub(began).Round(time.Millisecond))
	return nil
}

// forgetFor is how long a keeper may be looked for that is to drop something.
const forgetFor = 10 * time.Second

// forget has a command drop what it keeps of a snapshot beside it. Where that fails, it stays there
// until it is dropped again: nothing of it is needed.
func (s keeping) forget(ctx context.Context, w Want) {
	if w.Part.Kind != KindCommand {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), forgetFor)
	defer cancel()
	w.Do = protocol.StateDrop
	_, _ = s.Keeper.Deliver(ctx, w, eof{})
}

// eof is a reader of nothing.
type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// checkKept reads the archive of a part whole and has its keeper check what is in it.
func (s keeping) checkKept(ctx context.Context, of *Snapshot, service Service, p Part, told *teller) error {
	want, err := s.want(of, service, p, protocol.StateCheck)
	if err != nil {
		return err
	}
	return s.readKept(ctx, of, service, p, told, func(r io.Reader) error {
		_, err := s.Keeper.Deliver(ctx, want, r)
		return err
	})
}

// readKept hands what is in the archive of a part to read. The error is [ErrDamaged] where it is not
// what was written, whatever read says.
func (s keeping) readKept(ctx context.Context, of *Snapshot, service Service, p Part, told *teller, read func(io.Reader) error) error {
	r, err := s.Store.Open(ctx, of.archive(service.Name, p))
	if errors.Is(err, ErrNotFound) {
		return fmt.Errorf("%w: its archive is missing in the %s", ErrDamaged, s.Store)
	}
	if err != nil {
		return err
	}
	plain, stored := newCounted(), newCounted()
	all := io.TeeReader(stoppedReader{ctx, r}, io.MultiWriter(stored, told))
	zip := io.TeeReader(s2.NewReader(all), plain)
	said := read(zip)
	_, err = io.Copy(io.Discard, zip) // what read has left
	if err == nil {
		_, err = io.Copy(io.Discard, all)
	}
	switch err = errors.Join(err, r.Close()); {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return damaged("it cannot be read", err)
	case stored.sum() != p.SHA256, plain.sum() != p.Digest:
		return fmt.Errorf("%w: the archive is not what was written", ErrDamaged)
	}
	return said
}

// PutPart makes the state of a service what a part of a snapshot holds, by its keeper: of a part
// that is in JetStream it is an error, [Put] is for that. The archive is read whole before, so that
// nothing damaged is put ([ErrDamaged]). It blocks until the keeper says that it is done; the state is
// either as before or as in the snapshot, as far as the keeper keeps to its contract. Done again, it
// changes nothing. In an environment the work has to be claimed as a put of this snapshot before.
func (s *Snapshots) PutPart(ctx context.Context, of Snapshot, service string, p Part, tell func(Progress)) error {
	for _, one := range of.Services {
		if one.Name != service || !p.Kept() {
			continue
		}
		want, err := keeping{s}.want(&of, one, p, protocol.StatePut)
		if err != nil {
			return err
		}
		told := &teller{tell: tell, p: Progress{Doing: "put", Of: uint64(2 * p.Size)}}
		told.at(p)
		err = keeping{s}.readKept(ctx, &of, one, p, told, func(r io.Reader) error { _, err := io.Copy(io.Discard, r); return err })
		if err == nil {
			err = keeping{s}.readKept(ctx, &of, one, p, told, func(r io.Reader) error {
				_, err := s.Keeper.Deliver(ctx, want, r)
				return err
			})
		}
		if err != nil {
			return fmt.Errorf("put back %s: %w", p.Title(), err)
		}
		return nil
	}
	return fmt.Errorf("%w: it holds no state that service %q keeps", ErrNotFound, service)
}

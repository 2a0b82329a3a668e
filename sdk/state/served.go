package state

import (
	"context"
	"errors"
	"io"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/transfer"
)

// Served has a service take, check and put its own state with a provider, in folders that it makes
// in the folder dir and removes again; empty: that of the system for what is temporary. They need
// room for the state. The service closes what it has open of the state while Put of p runs: a
// provider of its own that does so, and then calls a ready one, is a few lines.
func Served(p Provider, dir string) relay.State {
	read := func(ctx context.Context, snapshot string, r io.Reader, do func(Sealed) func(context.Context, string) error) error {
		return within(dir, func(folder string) error {
			if err := transfer.Unpack(ctx, r, folder); err != nil {
				return err
			}
			return do(Sealed{Of: p, Snapshot: snapshot})(ctx, folder)
		})
	}
	return relay.State{
		Take: func(ctx context.Context, snapshot string, w io.Writer) error {
			return within(dir, func(folder string) error {
				if err := (Sealed{Of: p, Snapshot: snapshot}).Take(ctx, folder); err != nil {
					return err
				}
				return transfer.Pack(ctx, folder, w)
			})
		},
		Check: func(ctx context.Context, snapshot string, r io.Reader) error {
			return read(ctx, snapshot, r, func(s Sealed) func(context.Context, string) error { return s.Check })
		},
		Put: func(ctx context.Context, snapshot string, r io.Reader) error {
			return read(ctx, snapshot, r, func(s Sealed) func(context.Context, string) error { return s.Put })
		},
	}
}

// within has do work in a folder of its own.
func within(dir string, do func(folder string) error) error {
	folder, release, err := transfer.Scratch(dir)
	if err != nil {
		return err
	}
	return errors.Join(do(folder), release())
}

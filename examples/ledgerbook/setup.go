package main

import (
	"context"
	"errors"

	"github.com/golive-dev/golive/sdk"
)

// setup closes the books: of each account one entry is left, which is its balance. It cannot be
// undone by a script, since the entries are gone; the state of before can be put back.
func setup(path string) sdk.SetupService {
	return sdk.SetupService{
		Service: "book", Version: "0.0.2",
		Offline: func(ctx context.Context, _ *sdk.Run) (err error) {
			b, err := openBook(ctx, path)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, b.db.Close()) }() // so that a put finds it closed
			return b.closeBooks(ctx)
		},
	}
}

// closeBooks does it in one transaction, so that a crash leaves all entries or none. Done
// again, it changes no balance.
func (b *book) closeBooks(ctx context.Context) error {
	tx, err := b.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // after a commit it does nothing
	var last int64
	if err := tx.QueryRowContext(ctx, `SELECT coalesce(max(id), 0) FROM entries`).Scan(&last); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO entries (account, cents, text)
		SELECT account, sum(cents), 'brought forward' FROM entries GROUP BY account ORDER BY account`); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM entries WHERE id <= ?`, last); err != nil {
		return err
	}
	return tx.Commit()
}

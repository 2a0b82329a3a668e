package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/golive-dev/golive/relay"
)

// entry is one line of the book.
type entry struct {
	ID      int64  `json:"id"`
	Account string `json:"account"`
	Cents   int64  `json:"cents"`
	Text    string `json:"text"`
}

// book is the database of all entries.
type book struct{ db *sql.DB }

// openBook opens the database, and makes it where the service runs for the first time.
func openBook(ctx context.Context, path string) (*book, error) {
	db, err := sql.Open("sqlite", path+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(wal)&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	_, err = db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS entries (
		id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, cents INTEGER NOT NULL, text TEXT NOT NULL)`)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("database %s: %w", path, err), db.Close())
	}
	return &book{db}, nil
}

// bookService answers book.enter, book.balance and book.entries.
func bookService(path, version string) relay.Service {
	return relay.Service{
		Name: "book", Version: version,
		Handlers: map[string]relay.Handler{
			"enter":   opened(path, (*book).enter),
			"balance": opened(path, (*book).balance),
			"entries": opened(path, (*book).entries),
		},
	}
}

// opened has a request answered with the database, which is open for that long only: while the
// service is under maintenance it can be replaced.
func opened[In, Out any](path string, answer func(*book, context.Context, In) (Out, error)) relay.Handler {
	return relay.JSON(func(ctx context.Context, in In) (out Out, err error) {
		b, err := openBook(ctx, path)
		if err != nil {
			return out, err
		}
		defer func() { err = errors.Join(err, b.db.Close()) }()
		return answer(b, ctx, in)
	})
}

// enter adds an entry, and gives it with its id.
func (b *book) enter(ctx context.Context, e entry) (entry, error) {
	if e.Account == "" || e.Cents == 0 {
		return entry{}, &relay.Error{Code: relay.CodeBadRequest, Message: "an entry needs an account, and cents that are not 0"}
	}
	err := b.db.QueryRowContext(ctx, `INSERT INTO entries (account, cents, text) VALUES (?, ?, ?) RETURNING id`, e.Account, e.Cents, e.Text).Scan(&e.ID)
	return e, err
}

// balance is the sum of an account.
func (b *book) balance(ctx context.Context, of struct{ Account string }) (cents int64, err error) {
	return cents, b.db.QueryRowContext(ctx, `SELECT coalesce(sum(cents), 0) FROM entries WHERE account = ?`, of.Account).Scan(&cents)
}

// entries are those of an account, in the order in which they were made.
func (b *book) entries(ctx context.Context, of struct{ Account string }) ([]entry, error) {
	rows, err := b.db.QueryContext(ctx, `SELECT id, account, cents, text FROM entries WHERE account = ? ORDER BY id`, of.Account)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := []entry{}
	for rows.Next() {
		var e entry
		if err := rows.Scan(&e.ID, &e.Account, &e.Cents, &e.Text); err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, rows.Err()
}

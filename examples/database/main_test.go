package main

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

// The scripts are run by hand, as one tries them out before a rollout does it.
func TestTheTableIsMadeFilledAndDropped(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	db, err := open(ctx, filepath.Join(t.TempDir(), "orders.db"), 2500)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	bus := relaytest.Start(t)
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- setup(db).Run(running, bus.Connect()) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	r := bus.Connect()
	run := func(start string, items int64) {
		t.Helper()
		var answer protocol.Answer
		err := relay.ErrNobodyListens
		for errors.Is(err, relay.ErrNobodyListens) { // until it has come up
			err = r.Request(ctx, "deployment-orders-1.1.0-"+start, nil, &answer)
		}
		if err != nil || !answer.Done || answer.Items != items {
			t.Fatalf("%s: answered %+v, %v", start, answer, err)
		}
	}

	run("before-start", 0)
	for _, change := range []string{"SELECT 1", "INSERT INTO orders VALUES (9999, 7, 1)"} {
		if _, err := db.ExecContext(ctx, change); err != nil {
			t.Fatal(err)
		}
		run("online-start", 100)
		wrong := number(t, db, `SELECT count(*) FROM spent WHERE cents <> (SELECT sum(cents) FROM orders WHERE orders.customer = spent.customer)`)
		if rows := number(t, db, `SELECT count(*) FROM spent`); rows != 100 || wrong != 0 {
			t.Errorf("after %s: %d rows, %d of them wrong", change, rows, wrong)
		}
	}
	run("before-revert-start", 0)
	if n := number(t, db, `SELECT count(*) FROM sqlite_master WHERE name = 'spent'`); n != 0 {
		t.Error("the table is still there")
	}
}

func number(t *testing.T, db *sql.DB, query string) (n int64) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

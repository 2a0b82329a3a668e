// Command database is a setup service over database/sql, here with SQLite: orders 1.1.0
// has a table of what each customer has spent, and this fills it from the orders that are
// there.
//
// The table is made before anything changes, and dropped again when the release is taken
// back. It is filled online, in batches of one transaction each. A batch that comes again
// after a crash writes the same rows once more.
package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strconv"

	_ "modernc.org/sqlite"

	"github.com/golive-dev/golive/sdk"
)

func main() { os.Exit(run()) }

func run() int {
	sample := flag.Int("sample", 0, "put so many orders into a database that has none")
	flag.Parse()
	db, err := open(context.Background(), filepath.Join(cmp.Or(os.Getenv("GOLIVE_DATA_DIR"), "."), "orders.db"), *sample)
	if err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		return 1
	}
	defer db.Close()
	return sdk.Main(setup(db))
}

// open opens the database as version 1.0.0 has left it.
func open(ctx context.Context, path string, sample int) (*sql.DB, error) {
	db, err := sql.Open("sqlite", path+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(wal)&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	_, err = db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, customer INTEGER NOT NULL, cents INTEGER NOT NULL);
		CREATE INDEX IF NOT EXISTS orders_of ON orders (customer)`)
	if err == nil {
		_, err = db.ExecContext(ctx, `WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < ?1)
			INSERT INTO orders SELECT id, id % 100 + 1, id * 10 FROM n WHERE ?1 > 0 AND NOT EXISTS (SELECT 1 FROM orders)`, sample)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("database %s: %w", path, err), db.Close())
	}
	return db, nil
}

func setup(db *sql.DB) sdk.SetupService {
	exec := func(statement string) sdk.Script {
		return func(ctx context.Context, _ *sdk.Run) error {
			_, err := db.ExecContext(ctx, statement)
			return err
		}
	}
	return sdk.SetupService{
		Service: "orders", Version: "1.1.0",
		Before:       exec(`CREATE TABLE IF NOT EXISTS spent (customer INTEGER PRIMARY KEY, cents INTEGER NOT NULL)`),
		RevertBefore: exec(`DROP TABLE IF EXISTS spent`),
		Online:       fill(db).Run,
	}
}

// fill goes through the customers by their ID.
func fill(db *sql.DB) sdk.Backfill[int64] {
	customers := count(db, `SELECT count(DISTINCT customer) FROM orders`)
	return sdk.Backfill[int64]{
		Source: sdk.Source[int64]{
			Count: customers,
			Records: func(ctx context.Context, _ *sdk.Run, _, after string) iter.Seq2[sdk.Record[int64], error] {
				return customersBehind(ctx, db, after)
			},
		},
		Batch: func(ctx context.Context, _ *sdk.Run, b sdk.Batch[int64]) error { return write(ctx, db, b) },
		After: []sdk.Check{sdk.CountsEqual("every customer has a row", customers, count(db, `SELECT count(*) FROM spent`))},
	}
}

func count(db *sql.DB, query string) func(context.Context, *sdk.Run) (int64, error) {
	return func(ctx context.Context, _ *sdk.Run) (n int64, err error) {
		err = db.QueryRowContext(ctx, query).Scan(&n)
		return n, err
	}
}

// customersBehind are those whose ID is above the cursor, in the order of their IDs.
func customersBehind(ctx context.Context, db *sql.DB, after string) iter.Seq2[sdk.Record[int64], error] {
	return func(yield func(sdk.Record[int64], error) bool) {
		rows, err := db.QueryContext(ctx, `SELECT DISTINCT customer FROM orders
			WHERE customer > CAST(? AS INTEGER) ORDER BY customer`, cmp.Or(after, "0"))
		if err != nil {
			yield(sdk.Record[int64]{}, err)
			return
		}
		defer rows.Close()
		for rows.Next() {
			var id int64
			err := rows.Scan(&id)
			if !yield(sdk.Record[int64]{Value: id, Cursor: strconv.FormatInt(id, 10)}, err) || err != nil {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(sdk.Record[int64]{}, err)
		}
	}
}

// write writes the rows of all customers of a batch, or none. The sums are made in its
// transaction, so an order that comes meanwhile is not forgotten.
func write(ctx context.Context, db *sql.DB, b sdk.Batch[int64]) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // after a commit it does nothing
	for _, r := range b.Records {
		_, err := tx.ExecContext(ctx, `INSERT INTO spent SELECT customer, sum(cents) FROM orders WHERE customer = ? GROUP BY customer
			ON CONFLICT (customer) DO UPDATE SET cents = excluded.cents`, r.Value)
		if err != nil {
			return err
		}
	}
	return tx.Commit()
}

package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// SQLite is the state in an SQLite database, by way of database/sql. The program has to
// import a driver, such as modernc.org/sqlite or github.com/mattn/go-sqlite3.
//
// Take makes a copy with VACUUM INTO: of one moment, also beside connections that write. Rows
// keep their rowid only where a table has an INTEGER PRIMARY KEY.
//
// Put replaces the file in one step, with its journals. It fails while another connection uses
// the database in WAL mode, or is in a transaction. One that is idle in another mode cannot be
// seen, and would go on with the old file: services have to close the database before a Put,
// and open it afterwards.
type SQLite struct {
	Path   string // required; of the database's file, or of a link to it
	Driver string // the name of the driver in database/sql; empty means sqlite, that of modernc.org/sqlite
}

const (
	databaseName = "database.sqlite"
	busyTimeout  = 5000 // milliseconds in which another connection may end its transaction
)

// Take copies the database into dir.
func (s SQLite) Take(ctx context.Context, dir string) error {
	from, err := s.file()
	if err != nil {
		return err
	}
	if _, err := os.Stat(from); err != nil { // which SQLite would make
		return fmt.Errorf("database: %w", err)
	}
	to := filepath.Join(dir, databaseName)
	err = s.open(ctx, from, "rw", func(db *sql.Conn) error {
		if _, err := db.ExecContext(ctx, "VACUUM INTO ?", to); err != nil {
			return err
		}
		return keepJournalMode(ctx, db, dir)
	})
	if err != nil {
		return fmt.Errorf("copy database %s: %w", from, err)
	}
	return os.Chmod(to, 0o600)
}

// keepJournalMode writes down that a database is in WAL mode, which its copy is not.
func keepJournalMode(ctx context.Context, db *sql.Conn, dir string) error {
	var mode string
	if err := db.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode); err != nil || mode != "wal" {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "wal"), []byte("the database is in WAL mode\n"), 0o600)
}

// Check has SQLite look at the whole copy in dir.
func (s SQLite) Check(ctx context.Context, dir string) error {
	path := filepath.Join(dir, databaseName)
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("the copy of a database: %w", err)
	}
	err := s.open(ctx, path, "ro&immutable=1", func(db *sql.Conn) error {
		var found string
		if err := db.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&found); err != nil {
			return err
		}
		if found != "ok" {
			return fmt.Errorf("its integrity check found: %s", found)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("the copy %s: %w", path, err)
	}
	return nil
}

// Put replaces the database by the copy in dir. Where there is none, its folder has to be
// there. With an error the database is as before.
func (s SQLite) Put(ctx context.Context, dir string) error {
	to, err := s.file()
	if err != nil {
		return err
	}
	release, err := lock(filepath.Dir(to))
	if err != nil {
		return err
	}
	defer release()
	fresh := to + ".golive-new"
	if err := removeDatabase(fresh); err != nil { // of a put that was killed
		return err
	}
	err = s.prepare(ctx, dir, fresh, to)
	if err == nil {
		err = s.settle(ctx, to)
	}
	if err == nil {
		err = os.Rename(fresh, to)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("database %s is as it was: %w", to, err), removeDatabase(fresh))
	}
	return syncFolder(filepath.Dir(to))
}

// prepare makes fresh what to shall be.
func (s SQLite) prepare(ctx context.Context, dir, fresh, to string) error {
	if err := copyTo(ctx, filepath.Join(dir, databaseName), fresh); err != nil {
		return err
	}
	if exists(filepath.Join(dir, "wal")) {
		err := s.open(ctx, fresh, "rw", func(db *sql.Conn) error {
			_, err := db.ExecContext(ctx, "PRAGMA journal_mode = wal")
			return err
		})
		if err != nil {
			return err
		}
	}
	if info, err := os.Stat(to); err == nil {
		if stat := info.Sys().(*syscall.Stat_t); os.Geteuid() == 0 {
			if err := os.Chown(fresh, int(stat.Uid), int(stat.Gid)); err != nil {
				return err
			}
		}
		return os.Chmod(fresh, info.Mode().Perm())
	}
	return nil
}

// settle leaves no journal beside the database of before, since SQLite would play it into the
// new one: it is ended first, so that the old one is whole without it. What SQLite cannot
// read is lost anyway.
func (s SQLite) settle(ctx context.Context, path string) error {
	if exists(path) {
		err := s.open(ctx, path, "rw", func(db *sql.Conn) error {
			var n int
			if err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_master").Scan(&n); err != nil { // a journal is rolled back
				return err
			}
			var mode string
			if err := db.QueryRowContext(ctx, "PRAGMA journal_mode = delete").Scan(&mode); err != nil {
				return err
			}
			_, err := db.ExecContext(ctx, "BEGIN EXCLUSIVE; COMMIT")
			return err
		})
		if err != nil && !unreadable(err) {
			return fmt.Errorf("close it everywhere, and try again: %w", err)
		}
	}
	return removeJournals(path)
}

// unreadable reports whether SQLite says that a file is no database, or a damaged one.
func unreadable(err error) bool {
	text := err.Error()
	return strings.Contains(text, "is not a database") || strings.Contains(text, "malformed")
}

func removeDatabase(path string) error {
	return errors.Join(removeTree(path), removeJournals(path))
}

func removeJournals(path string) (err error) {
	for _, end := range []string{"-wal", "-shm", "-journal"} {
		err = errors.Join(err, removeTree(path+end))
	}
	return err
}

// file is the database's own path: journals lie beside it, not beside a link to it.
func (s SQLite) file() (string, error) {
	if s.Path == "" {
		return "", errors.New("SQLite: Path is empty: name the file of the database")
	}
	return resolve(s.Path)
}

// open has use work on a connection to a database, which is closed afterwards.
func (s SQLite) open(ctx context.Context, path, mode string, use func(*sql.Conn) error) error {
	driver := s.Driver
	if driver == "" {
		driver = "sqlite"
	}
	db, err := sql.Open(driver, "file:"+(&url.URL{Path: path}).EscapedPath()+"?mode="+mode)
	if err != nil {
		return fmt.Errorf("%w: import one, or name it in Driver", err)
	}
	conn, err := db.Conn(ctx)
	if err == nil {
		_, err = conn.ExecContext(ctx, fmt.Sprintf("PRAGMA busy_timeout = %d", busyTimeout))
	}
	if err == nil {
		err = use(conn)
	}
	if conn != nil {
		err = errors.Join(err, conn.Close())
	}
	return errors.Join(err, db.Close())
}

// copyTo makes a file a durable copy of another.
func copyTo(ctx context.Context, from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, reader{ctx, in})
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}

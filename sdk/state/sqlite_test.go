package state

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "modernc.org/sqlite"
)

// openDB opens the database at path and leaves it open until the test ends.
func openDB(t testing.TB, path, pragmas string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", path+"?_pragma=busy_timeout(5000)"+pragmas)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

const wal = "&_pragma=journal_mode(wal)"

func execute(t testing.TB, db *sql.DB, statement string, args ...any) {
	t.Helper()
	if _, err := db.Exec(statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func number(t testing.TB, db *sql.DB, query string) (n int64) {
	t.Helper()
	if err := db.QueryRow(query).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// numbers makes a database with the rows 1 to n, and closes it.
func numbers(t testing.TB, path string, n int, pragmas string) {
	t.Helper()
	db := openDB(t, path, pragmas)
	execute(t, db, `CREATE TABLE numbers (n INTEGER PRIMARY KEY, text TEXT); CREATE INDEX texts ON numbers (text); PRAGMA user_version = 7`)
	execute(t, db, `WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < ?) INSERT INTO numbers SELECT n, hex(randomblob(16)) FROM c`, n)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestADatabaseComesBack(t *testing.T) {
	for _, mode := range []string{"wal", "delete"} {
		t.Run(mode, func(t *testing.T) {
			path, dir := filepath.Join(t.TempDir(), "a b?#%41.db"), t.TempDir()
			pragmas := "&_pragma=journal_mode(" + mode + ")"
			must(t, os.WriteFile(path, nil, 0o640))
			link := filepath.Join(t.TempDir(), "link.db")
			must(t, os.Symlink(path, link))
			numbers(t, link, 1000, pragmas)
			s := Sealed{Of: SQLite{Path: link}}
			must(t, s.Take(t.Context(), dir))
			must(t, s.Check(t.Context(), dir))
			taken := tree(t, dir)

			db := openDB(t, link, "")
			execute(t, db, "DELETE FROM numbers WHERE n > 10; DROP INDEX texts; CREATE TABLE more (n)")
			must(t, db.Close())
			for range 2 {
				must(t, s.Put(t.Context(), dir))
				db := openDB(t, link, "")
				var is string
				must(t, db.QueryRow("PRAGMA journal_mode").Scan(&is))
				if n, tables, version := number(t, db, "SELECT sum(n) FROM numbers"), number(t, db, "SELECT count(*) FROM sqlite_master"), number(t, db, "PRAGMA user_version"); n != 500500 || tables != 2 || version != 7 || is != mode {
					t.Errorf("the sum is %d, there are %d tables and indexes, the version is %d, the mode %s", n, tables, version, is)
				}
				must(t, db.Close())
			}
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
				t.Errorf("the file's mode is %v, %v", info.Mode(), err)
			}
			if tree(t, dir) != taken {
				t.Error("to check or to put it has changed what was taken")
			}
			must(t, os.Remove(path))
			fails(t, s.Put(t.Context(), dir), "is a link to what is not there")
			must(t, os.Remove(link))
			must(t, s.Put(t.Context(), dir))
		})
	}
}

// TestADatabaseIsTakenBesideAWriter: two tables are written to in one transaction, and a
// copy never has the one without the other.
func TestADatabaseIsTakenBesideAWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	numbers(t, path, 20_000, wal)
	db := openDB(t, path, "&_txlock=immediate")
	execute(t, db, "CREATE TABLE one (n); CREATE TABLE two (n)")
	stop, ended := make(chan struct{}), make(chan error, 1)
	begun := make(chan struct{})
	go func() {
		for i := 0; ; i++ {
			tx, err := db.Begin()
			if err == nil {
				_, err = tx.Exec("INSERT INTO one VALUES (1); INSERT INTO two VALUES (1)")
			}
			if err == nil {
				err = tx.Commit()
			}
			if i == 10 {
				close(begun)
			}
			select {
			case <-stop:
				ended <- err
				return
			default:
			}
			if err != nil {
				ended <- err
				return
			}
		}
	}()
	<-begun
	var last int64
	for range 3 {
		dir := t.TempDir()
		s := Sealed{Of: SQLite{Path: path}}
		must(t, s.Take(t.Context(), dir))
		must(t, s.Check(t.Context(), dir))
		copied := openDB(t, filepath.Join(dir, databaseName), "")
		one, two := number(t, copied, "SELECT count(*) FROM one"), number(t, copied, "SELECT count(*) FROM two")
		if one != two || one <= last {
			t.Errorf("the copy has %d and %d rows, the one before had %d", one, two, last)
		}
		last = one
	}
	close(stop)
	must(t, <-ended)
}

// TestAJournalIsNotPlayedIntoAnother leaves a log beside the database, as a service that was
// killed does.
func TestAJournalIsNotPlayedIntoAnother(t *testing.T) {
	for what, damage := range map[string]func(path string) error{
		"whole":   func(string) error { return nil },
		"gone":    os.Remove,
		"damaged": func(path string) error { return os.WriteFile(path, []byte(strings.Repeat("no database", 1000)), 0o600) },
	} {
		t.Run(what, func(t *testing.T) {
			folder, dir := t.TempDir(), t.TempDir()
			path := filepath.Join(folder, "db")
			numbers(t, path, 1000, wal)
			s := Sealed{Of: SQLite{Path: path}}
			must(t, s.Take(t.Context(), dir))
			db := openDB(t, path, wal)
			execute(t, db, "DELETE FROM numbers WHERE n > 1")
			killed := t.TempDir()
			for _, end := range []string{"", "-wal", "-shm"} { // the state of a process that has died
				must(t, copyTo(t.Context(), path+end, filepath.Join(killed, "db"+end)))
			}
			path = filepath.Join(killed, "db")
			must(t, damage(path))
			s = Sealed{Of: SQLite{Path: path}}
			must(t, s.Put(t.Context(), dir))
			if n := number(t, openDB(t, path, ""), "SELECT count(*) FROM numbers"); n != 1000 {
				t.Errorf("there are %d rows, 1000 were put", n)
			}
		})
	}
}

// TestALogBelongsToWhatIsTaken takes the database of a service that was killed.
func TestALogBelongsToWhatIsTaken(t *testing.T) {
	path, dir := filepath.Join(t.TempDir(), "db"), t.TempDir()
	numbers(t, path, 10, wal)
	db := openDB(t, path, wal)
	execute(t, db, "DELETE FROM numbers WHERE n > 1") // stands in the log alone
	must(t, Sealed{Of: SQLite{Path: path}}.Take(t.Context(), dir))
	if n := number(t, openDB(t, filepath.Join(dir, databaseName), ""), "SELECT count(*) FROM numbers"); n != 1 {
		t.Errorf("the copy has %d rows", n)
	}
}

// TestADatabasePutThatWasKilledIsDoneAgain finds what that has left beside the database.
func TestADatabasePutThatWasKilledIsDoneAgain(t *testing.T) {
	folder, dir := t.TempDir(), t.TempDir()
	path := filepath.Join(folder, "db")
	numbers(t, path, 10, wal)
	s := Sealed{Of: SQLite{Path: path}}
	must(t, s.Take(t.Context(), dir))
	for _, end := range []string{"", "-wal", "-shm", "-journal"} {
		must(t, os.WriteFile(path+".golive-new"+end, []byte("half of it"), 0o600))
	}
	must(t, s.Put(t.Context(), dir))
	entries, err := os.ReadDir(folder)
	must(t, err)
	if len(entries) != 1 {
		t.Errorf("something is left: %v", entries)
	}
	if n := number(t, openDB(t, path, ""), "SELECT count(*) FROM numbers"); n != 10 {
		t.Errorf("there are %d rows", n)
	}
}

func TestADatabaseInUseIsNotPut(t *testing.T) {
	for what, use := range map[string]func(db *sql.DB) error{
		wal: func(db *sql.DB) error { return db.Ping() },
		"&_pragma=journal_mode(delete)": func(db *sql.DB) error {
			_, err := db.Exec("BEGIN IMMEDIATE")
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			path, dir := filepath.Join(t.TempDir(), "db"), t.TempDir()
			numbers(t, path, 10, what)
			s := Sealed{Of: SQLite{Path: path}}
			must(t, s.Take(t.Context(), dir))
			db := openDB(t, path, what)
			db.SetMaxOpenConns(1)
			execute(t, db, "DELETE FROM numbers WHERE n > 1")
			must(t, use(db))
			fails(t, s.Put(t.Context(), dir), "is as it was", "locked", "close it everywhere")
			if n := number(t, db, "SELECT count(*) FROM numbers"); n != 1 {
				t.Errorf("there are %d rows", n)
			}
			must(t, db.Close())
			must(t, s.Put(t.Context(), dir))
		})
	}
}

func TestDatabasesThatCannotBeTakenOrPut(t *testing.T) {
	path, dir := filepath.Join(t.TempDir(), "db"), t.TempDir()
	fails(t, SQLite{}.Take(t.Context(), dir), "Path is empty")
	fails(t, SQLite{Path: path}.Take(t.Context(), dir), "no such file")
	if exists(path) {
		t.Error("a database was made")
	}
	fails(t, SQLite{Path: path}.Check(t.Context(), dir), "no such file")
	fails(t, SQLite{Path: path}.Put(t.Context(), dir), "no such file")
	must(t, os.WriteFile(path, []byte(strings.Repeat("no database", 1000)), 0o600))
	fails(t, SQLite{Path: path}.Take(t.Context(), dir), "is not a database")
	fails(t, SQLite{Path: path, Driver: "none"}.Take(t.Context(), dir), "import one, or name it in Driver")

	must(t, os.Remove(path))
	numbers(t, path, 1000, "")
	whole := t.TempDir()
	must(t, SQLite{Path: path}.Take(t.Context(), whole))
	copied := filepath.Join(whole, databaseName)
	data, err := os.ReadFile(copied)
	must(t, err)
	for i := range 1000 {
		data[len(data)/2+i] ^= 0xff
	}
	must(t, os.WriteFile(copied, data, 0o600))
	if err := (SQLite{Path: path}).Check(t.Context(), whole); err == nil {
		t.Error("a damaged page is not found")
	}
}

func BenchmarkSQLite(b *testing.B) {
	path := filepath.Join(b.TempDir(), "db")
	db := openDB(b, path, wal)
	execute(b, db, "CREATE TABLE blobs (n INTEGER PRIMARY KEY, data BLOB)")
	for range 64 {
		execute(b, db, "INSERT INTO blobs (data) VALUES (randomblob(1000000))")
	}
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
	takeAndPut(b, Sealed{Of: SQLite{Path: path}}, 64_000_000)
}

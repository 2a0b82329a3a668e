//go:build postgresql

package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/golive-dev/golive/relay/relaytest"
)

// The tests of PostgreSQL need its server and client programs (Debian: postgresql):
// go test -tags postgresql -run PostgreSQL ./sdk/state

const password = "hunter2"

// startPostgreSQL starts a server of this test's own, and gives the DSN of its superuser
// but for the database's name.
func startPostgreSQL(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "golive-postgresql-")
	check(t, err)
	t.Cleanup(func() { check(t, os.RemoveAll(dir)) })
	check(t, os.WriteFile(dir+"/password", []byte(password), 0o644))
	as := &syscall.SysProcAttr{}
	if os.Geteuid() == 0 { // which the server refuses to run as
		nobody, err := user.Lookup("nobody")
		check(t, err)
		uid, _ := strconv.Atoi(nobody.Uid)
		gid, _ := strconv.Atoi(nobody.Gid)
		as.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		check(t, os.Chown(dir, uid, gid))
	}
	init := exec.Command(program(t, "initdb"), "--pgdata="+dir+"/data", "--username=admin", "--auth=scram-sha-256", "--pwfile="+dir+"/password",
		"--encoding=UTF8", "--locale=C", "--no-sync")
	init.SysProcAttr, init.Dir = as, dir
	if out, err := init.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	_, port, err := net.SplitHostPort(relaytest.FreeAddresses(t, 1)[0])
	check(t, err)
	server := exec.Command(program(t, "postgres"), "-D", dir+"/data", "-p", port, "-k", dir, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off")
	var log bytes.Buffer
	server.SysProcAttr, server.Dir, server.Stderr = as, dir, &log
	check(t, server.Start())
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGINT)
		_ = server.Wait()
	})
	dsn := fmt.Sprintf("host=127.0.0.1 port=%s user=admin password=%s", port, password)
	tick, deadline := time.NewTicker(20*time.Millisecond), time.After(30*time.Second)
	defer tick.Stop()
	for try(t, dsn, "postgres", "SELECT 1") != nil {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("the server is not up:\n%s", &log)
		}
	}
	return dsn
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// program finds a server's program, which Debian does not put into PATH.
func program(t testing.TB, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(found) == 0 {
		t.Fatalf("there is no %s: install PostgreSQL's server", name)
	}
	return found[len(found)-1]
}

func psql(t testing.TB, dsn, database, statements string) *exec.Cmd {
	t.Helper()
	c, err := PostgreSQL{DSN: dsn + " dbname=" + database}.connection()
	check(t, err)
	cmd := exec.Command("psql", "-X", "-q", "-A", "-t", "-w", "-v", "ON_ERROR_STOP=1", "-d", database)
	cmd.Env, cmd.Stdin = c.environ, strings.NewReader(statements)
	return cmd
}

func try(t testing.TB, dsn, database, statements string) error {
	return psql(t, dsn, database, statements).Run()
}

// query gives what statements answer.
func query(t testing.TB, dsn, database, statements string) string {
	t.Helper()
	out, err := psql(t, dsn, database, statements).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", statements, err, out)
	}
	return strings.TrimSpace(string(out))
}

const described = `SELECT (SELECT count(*) || ' ' || sum(n) FROM numbers), to_regclass('more') IS NULL, current_setting('search_path'), current_setting('work_mem'),
	(SELECT pg_get_userbyid(datdba) || ' ' || datacl::text || ' ' || datconnlimit FROM pg_database WHERE datname = current_database()),
	(SELECT string_agg(convert_from(lo_get(oid), 'UTF8'), ',') FROM pg_largeobject_metadata)`

func TestPostgreSQLComesBack(t *testing.T) {
	admin := startPostgreSQL(t)
	query(t, admin, "postgres", `CREATE ROLE bob LOGIN CREATEDB PASSWORD '`+password+`'; CREATE ROLE reader;`)
	query(t, admin, "postgres", `CREATE DATABASE "Shop's 1" OWNER bob CONNECTION LIMIT 50`)
	query(t, admin, "postgres", `ALTER DATABASE "Shop's 1" SET search_path TO "$user", public, own; ALTER DATABASE "Shop's 1" SET work_mem TO '7MB';
		REVOKE ALL ON DATABASE "Shop's 1" FROM PUBLIC; GRANT CONNECT ON DATABASE "Shop's 1" TO reader`)
	bob := strings.Replace(admin, "admin", "bob", 1)
	run := func(statements string) string {
		t.Helper()
		c, err := PostgreSQL{DSN: bob + ` dbname='Shop\'s 1'`}.connection()
		must(t, err)
		cmd := psql(t, bob, "postgres", statements)
		cmd.Args[len(cmd.Args)-1], cmd.Env = c.database, c.environ
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", statements, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	run(`CREATE SCHEMA own; CREATE TABLE own.numbers (n bigint PRIMARY KEY, text text); GRANT SELECT ON own.numbers TO reader;
		INSERT INTO numbers SELECT n, md5(n::text) FROM generate_series(1, 1000) n; SELECT lo_from_bytea(0, 'large');`)
	before, dir := run(described), t.TempDir()
	s := Sealed{Of: PostgreSQL{DSN: bob + ` dbname='Shop\'s 1'`}}
	must(t, s.Take(t.Context(), dir))
	must(t, s.Check(t.Context(), dir))
	taken := tree(t, dir)

	run("DELETE FROM numbers WHERE n > 10; CREATE TABLE own.more (n int)")
	open := psql(t, bob, "postgres", "SELECT pg_sleep(60)") // an idle connection of a pool
	open.Args[len(open.Args)-1] = "Shop's 1"
	must(t, open.Start())
	for range 2 {
		must(t, s.Put(t.Context(), dir))
		if got := run(described); got != before {
			t.Errorf("it is\n%s\nwant\n%s", got, before)
		}
	}
	if open.Wait() == nil {
		t.Error("a connection to the old database has not been ended")
	}
	if tree(t, dir) != taken {
		t.Error("to put it has changed what was taken")
	}
	if left := query(t, admin, "postgres", `SELECT count(*) FROM pg_database`); left != "4" {
		t.Errorf("there are %s databases", left)
	}
	query(t, admin, "postgres", `DROP DATABASE "Shop's 1"`)
	must(t, s.Put(t.Context(), dir))
	if sum := run("SELECT count(*) FROM own.numbers"); sum != "1000" {
		t.Errorf("put where it was gone it has %s rows", sum)
	}
	must(t, s.Drop(t.Context(), dir))
	run("SELECT 1") // outside of a rehearsal nothing is dropped
}

func TestPostgreSQLStaysAsItWasAfterAnError(t *testing.T) {
	admin := startPostgreSQL(t)
	query(t, admin, "postgres", "CREATE DATABASE shop")
	query(t, admin, "shop", "CREATE TABLE numbers AS SELECT n FROM generate_series(1, 1000) n")
	dsn, dir := admin+" dbname=shop", t.TempDir()
	s := Sealed{Of: PostgreSQL{DSN: dsn}}
	must(t, s.Take(t.Context(), dir))
	query(t, admin, "shop", "DELETE FROM numbers WHERE n > 1")
	unchanged := func() {
		t.Helper()
		if n := query(t, admin, "shop", "SELECT count(*) FROM numbers"); n != "1" {
			t.Errorf("the database has %s rows", n)
		}
		if n := query(t, admin, "postgres", "SELECT count(*) FROM pg_database"); n != "4" {
			t.Errorf("there are %s databases", n)
		}
	}

	broken := t.TempDir()
	must(t, os.CopyFS(broken, os.DirFS(dir)))
	data, err := filepath.Glob(broken + "/dump/*.dat.gz")
	must(t, err)
	must(t, os.Truncate(data[0], 100))
	for _, err := range []error{s.Of.Check(t.Context(), broken), s.Of.Put(t.Context(), broken)} {
		fails(t, err, "pg_restore")
	}
	fails(t, s.Put(t.Context(), broken), "it had")
	unchanged()

	ctx, stop := context.WithCancelCause(t.Context())
	stop(errors.New("enough"))
	fails(t, s.Of.Put(ctx, dir), "enough")
	unchanged()

	locker := psql(t, admin, "shop", "BEGIN; LOCK numbers; SELECT pg_sleep(60)") // a dump waits for it
	must(t, locker.Start())
	await(t, admin, "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted", "1")
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("too long"))
	defer cancel()
	empty := t.TempDir()
	fails(t, s.Take(ctx, empty), "pg_dump", "too long")
	isEmpty(t, empty)
	must(t, locker.Process.Kill())
	_ = locker.Wait()

	wrong := PostgreSQL{DSN: strings.Replace(dsn, password, "hunter3", 1)}
	for _, err := range []error{wrong.Take(t.Context(), t.TempDir()), wrong.Put(t.Context(), dir)} {
		fails(t, err, "password authentication failed")
		if strings.Contains(err.Error(), "hunter3") {
			t.Errorf("the error tells the password: %v", err)
		}
	}
	query(t, admin, "postgres", `CREATE DATABASE shop_golive_new; CREATE ROLE eve LOGIN PASSWORD '`+password+`'`) // of a put that was killed
	fails(t, PostgreSQL{DSN: strings.Replace(dsn, "admin", "eve", 1)}.Put(t.Context(), dir), "is as it was", "must be owner")
	must(t, s.Put(t.Context(), dir))
	if n := query(t, admin, "shop", "SELECT count(*) FROM numbers"); n != "1000" {
		t.Errorf("put back it has %s rows", n)
	}
}

func await(t *testing.T, dsn, statement, want string) {
	t.Helper()
	tick, deadline := time.NewTicker(20*time.Millisecond), time.After(30*time.Second)
	defer tick.Stop()
	for query(t, dsn, "postgres", statement) != want {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not %s: %s", want, statement)
		}
	}
}

func TestPostgreSQLInARehearsal(t *testing.T) {
	admin := startPostgreSQL(t)
	query(t, admin, "postgres", "CREATE ROLE bob")
	query(t, admin, "postgres", "CREATE DATABASE shop OWNER bob")
	query(t, admin, "shop", "CREATE TABLE numbers AS SELECT n FROM generate_series(1, 1000) n; ALTER TABLE numbers OWNER TO bob")
	dir := t.TempDir()
	must(t, Sealed{Of: PostgreSQL{DSN: admin + " dbname=shop"}}.Take(t.Context(), dir))

	sandbox := startPostgreSQL(t) // where nobody knows bob
	t.Setenv(EnvSandbox, "1")
	s := Sealed{Of: PostgreSQL{DSN: sandbox + " dbname=shop"}}
	for range 2 {
		must(t, s.Put(t.Context(), dir))
		if got := query(t, sandbox, "shop", "SELECT count(*), (SELECT tableowner FROM pg_tables WHERE tablename = 'numbers') FROM numbers"); got != "1000|admin" {
			t.Errorf("it has %s", got)
		}
	}
	for range 2 {
		must(t, s.Drop(t.Context(), dir))
		if n := query(t, sandbox, "postgres", "SELECT count(*) FROM pg_database"); n != "3" {
			t.Errorf("there are %s databases", n)
		}
	}

	production := Sealed{Of: PostgreSQL{DSN: admin + " dbname=shop"}}
	fails(t, production.Put(t.Context(), dir), "is as it was", "it is no sandbox's")
	must(t, production.Drop(t.Context(), dir))
	if n := query(t, admin, "shop", "SELECT count(*) FROM numbers"); n != "1000" {
		t.Errorf("production has %s rows", n)
	}
}

// TestPostgreSQLTellsNoSecretToOtherUsers looks at the arguments of its programs, as ps does.
func TestPostgreSQLTellsNoSecretToOtherUsers(t *testing.T) {
	bin, seen := t.TempDir(), filepath.Join(t.TempDir(), "seen")
	for _, tool := range []string{"pg_dump", "pg_restore", "psql"} {
		must(t, os.WriteFile(filepath.Join(bin, tool), []byte("#!/bin/sh\necho \"$0 $*\" >>"+seen+"\n"), 0o755))
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	p := PostgreSQL{DSN: "postgres://bob:" + password + "@db/shop"}
	must(t, p.Take(t.Context(), t.TempDir()))
	must(t, p.Put(t.Context(), t.TempDir()))
	must(t, p.Check(t.Context(), t.TempDir()))
	data, err := os.ReadFile(seen)
	must(t, err)
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	if slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, password) }) || len(lines) < 5 {
		t.Errorf("the programs were called as\n%s", data)
	}
}

func BenchmarkPostgreSQL(b *testing.B) {
	admin := startPostgreSQL(b)
	query(b, admin, "postgres", "CREATE DATABASE shop")
	query(b, admin, "shop", "CREATE TABLE numbers AS SELECT n, md5(n::text) || md5((-n)::text) AS text FROM generate_series(1, 640000) n")
	size, err := strconv.ParseInt(query(b, admin, "shop", "SELECT pg_database_size('shop')"), 10, 64)
	check(b, err)
	takeAndPut(b, Sealed{Of: PostgreSQL{DSN: admin + " dbname=shop"}}, size)
}

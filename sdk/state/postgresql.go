package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// PostgreSQL is the state in a PostgreSQL database, by way of the server's own programs
// pg_dump, pg_restore and psql, which have to be in PATH.
//
// Take dumps the database as it is at one moment, also while it is written to. Put restores it
// to a new database, which then takes the old one's name in one transaction, with its owner,
// locale, settings and grants. Connections to the old one are ended for that; pools connect
// anew. So the user needs the right to create databases, the one of the database's owner, and
// room for both on the server.
//
// In a rehearsal the DSN is the sandbox's. Put makes the database there without owners and
// grants, marks it as a sandbox's, and replaces none that has no such mark; Drop removes it.
// What is not in the database itself, such as roles and tablespaces, is neither taken nor put.
type PostgreSQL struct {
	// DSN says where the database is, as a URL or as libpq's key=value, with its name. Have it
	// from the environment or a file. It is handed on to the programs in their environment,
	// never among their arguments, and is in no error. What it leaves out, or all of it where
	// it is empty, comes from libpq's own variables (PGHOST, PGPASSFILE, PGDATABASE …).
	DSN string
}

const (
	dumpName       = "dump"
	connectTimeout = "10"            // seconds, where nobody says otherwise
	toolGrace      = 2 * time.Second // from SIGTERM to SIGKILL of a program whose context has ended
	maxToolOutput  = 4 << 10         // bytes that are kept of the end of what a program complains about
	maxName        = 63 - len(newSuffix)
	newSuffix      = "_golive_new"
	oldSuffix      = "_golive_old"
	sandboxMark    = "golive sandbox"
)

// Take dumps the database into dir.
func (p PostgreSQL) Take(ctx context.Context, dir string) error {
	c, err := p.connection()
	if err != nil {
		return err
	}
	return c.run(ctx, nil, io.Discard, "pg_dump", "--dbname="+c.database, "--format=directory", "--compress=1", "--file="+filepath.Join(dir, dumpName))
}

// Check reads the whole dump in dir; it needs no server.
func (p PostgreSQL) Check(ctx context.Context, dir string) error {
	return connection{environ: os.Environ()}.run(ctx, nil, io.Discard, "pg_restore", "--file=-", filepath.Join(dir, dumpName))
}

// Put replaces the database by the dump in dir, or makes it. With an error the database is as
// before.
func (p PostgreSQL) Put(ctx context.Context, dir string) error {
	c, err := p.connection()
	if err != nil {
		return err
	}
	sandbox := InSandbox()
	if err := c.makeNew(ctx, sandbox); err != nil {
		return fmt.Errorf("database %s is as it was: %w", c.database, err)
	}
	restore := []string{"--dbname=" + c.database + newSuffix, "--exit-on-error"}
	if sandbox {
		restore = append(restore, "--no-owner", "--no-acl")
	}
	err = c.run(ctx, nil, io.Discard, "pg_restore", append(restore, filepath.Join(dir, dumpName))...)
	if err == nil {
		err = c.swap(ctx)
	}
	if err != nil {
		after, cancel := context.WithTimeout(context.WithoutCancel(ctx), toolGrace)
		defer cancel()
		return errors.Join(fmt.Errorf("database %s is as it was: %w", c.database, err), c.sql(after, dropNew))
	}
	if err := c.sql(ctx, dropOld); err != nil {
		return fmt.Errorf("database %s is put back, but the one of before is still there: %w", c.database, err)
	}
	return nil
}

// Drop removes the database of a rehearsal, and outside of one it does nothing.
func (p PostgreSQL) Drop(ctx context.Context, _ string) error {
	if !InSandbox() {
		return nil
	}
	c, err := p.connection()
	if err != nil {
		return err
	}
	return c.sql(ctx, dropNew+dropOld+`
		SELECT format('DROP DATABASE %I WITH (FORCE)', datname) FROM pg_database
			WHERE datname = :'name' AND shobj_description(oid, 'pg_database') = :'mark' \gexec
	`)
}

const (
	dropNew = `DROP DATABASE IF EXISTS :"new";` + "\n"
	dropOld = `DROP DATABASE IF EXISTS :"old";` + "\n"
)

// makeNew makes the empty database beside the one that is to be replaced. What puts that were
// killed have left is removed; one that is at work still has it open, and it fails then.
func (c connection) makeNew(ctx context.Context, sandbox bool) error {
	if sandbox {
		err := c.sql(ctx, `SELECT count(*) > 0 AS foreign FROM pg_database
				WHERE datname = :'name' AND shobj_description(oid, 'pg_database') IS DISTINCT FROM :'mark' \gset
			\if :foreign
				DO $$ BEGIN RAISE 'it is no sandbox''s, and a rehearsal replaces no other: let the DSN be the sandbox''s'; END $$;
			\endif
		`)
		if err != nil {
			return err
		}
	}
	err := c.sql(ctx, dropNew+dropOld+`
		SELECT format('CREATE DATABASE %I TEMPLATE template0 OWNER %I ENCODING %L LC_COLLATE %L LC_CTYPE %L', :'new',
				pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype)
			|| CASE to_jsonb(d)->>'datlocprovider' WHEN 'i' THEN
				format(' LOCALE_PROVIDER icu ICU_LOCALE %L', coalesce(to_jsonb(d)->>'daticulocale', to_jsonb(d)->>'datlocale'))
				ELSE '' END
			FROM pg_database d WHERE datname = :'name'
		UNION ALL SELECT format('CREATE DATABASE %I TEMPLATE template0', :'new')
			WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \gexec
	`)
	if err == nil && sandbox {
		err = c.sql(ctx, `COMMENT ON DATABASE :"new" IS :'mark';`)
	}
	return err
}

// swap gives the new database what belongs to the old one and is not in it, and then its
// name. New connections wait meanwhile.
func (c connection) swap(ctx context.Context) error {
	return c.sql(ctx, `
		BEGIN;
		SELECT format('ALTER ROLE %I IN DATABASE %I SET %I TO %s', r.rolname, :'new', split_part(v, '=', 1),
				CASE WHEN split_part(v, '=', 1) IN ('search_path', 'temp_tablespaces', 'session_preload_libraries', 'local_preload_libraries')
					THEN substr(v, strpos(v, '=') + 1) ELSE quote_literal(substr(v, strpos(v, '=') + 1)) END)
			FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase JOIN pg_roles r ON r.oid = s.setrole, unnest(setconfig) v
			WHERE datname = :'name' \gexec
		SELECT format('ALTER DATABASE %I SET %I TO %s', :'new', split_part(v, '=', 1),
				CASE WHEN split_part(v, '=', 1) IN ('search_path', 'temp_tablespaces', 'session_preload_libraries', 'local_preload_libraries')
					THEN substr(v, strpos(v, '=') + 1) ELSE quote_literal(substr(v, strpos(v, '=') + 1)) END)
			FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase, unnest(setconfig) v
			WHERE datname = :'name' AND s.setrole = 0 \gexec
		SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', :'new') FROM pg_database WHERE datname = :'name' AND datacl IS NOT NULL
		UNION ALL SELECT format('GRANT %s ON DATABASE %I TO %s', a.privilege_type, :'new',
				CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END
				|| CASE WHEN a.is_grantable AND a.grantee <> d.datdba THEN ' WITH GRANT OPTION' ELSE '' END)
			FROM pg_database d, aclexplode(d.datacl) a WHERE datname = :'name' \gexec
		SELECT format('ALTER DATABASE %I CONNECTION LIMIT %s', :'new', datconnlimit) FROM pg_database WHERE datname = :'name' AND datconnlimit >= 0 \gexec
		SELECT count(pg_terminate_backend(pid)) AS ended FROM pg_stat_activity WHERE datname = :'name' \gset
		SELECT format('ALTER DATABASE %I RENAME TO %I', :'name', :'old') WHERE EXISTS (SELECT FROM pg_database WHERE datname = :'name') \gexec
		ALTER DATABASE :"new" RENAME TO :"name";
		COMMIT;
	`)
}

// connection is how the programs reach a server.
type connection struct {
	environ  []string
	database string
	secret   string // which no error may hold
}

// sql has psql run statements on the server, and stops at the first that fails. Names are the
// variables name, new, old and mark.
func (c connection) sql(ctx context.Context, statements string) error {
	beside := "postgres"
	if c.database == beside {
		beside = "template1"
	}
	return c.run(ctx, strings.NewReader(statements), io.Discard, "psql", "--dbname="+beside, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1",
		"--set=name="+c.database, "--set=new="+c.database+newSuffix, "--set=old="+c.database+oldSuffix, "--set=mark="+sandboxMark)
}

// run runs a program to its end, which comes soon after that of ctx. The error has what it
// complained about.
func (c connection) run(ctx context.Context, in io.Reader, out io.Writer, tool string, args ...string) error {
	cmd := exec.CommandContext(ctx, tool, args...)
	complaints := &tail{}
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = c.environ, in, out, complaints
	if tool != "pg_restore" || c.database != "" { // it connects
		cmd.Args = append(cmd.Args[:1:1], append([]string{"--no-password"}, args...)...)
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = toolGrace
	err := cmd.Run()
	switch {
	case err == nil:
		return nil
	case errors.Is(err, exec.ErrNotFound):
		return fmt.Errorf("%w: install the client programs of PostgreSQL", err)
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	}
	said := strings.TrimSpace(complaints.String())
	if c.secret != "" {
		said = strings.ReplaceAll(said, c.secret, "***")
	}
	if said == "" {
		return fmt.Errorf("%s: %w", tool, err)
	}
	return fmt.Errorf("%s: %w: %s", tool, err, strings.ReplaceAll(said, "\n", "; "))
}

// tail keeps the end of what is written to it.
type tail struct{ bytes.Buffer }

func (t *tail) Write(p []byte) (int, error) {
	t.Buffer.Write(p)
	if over := t.Len() - maxToolOutput; over > 0 {
		t.Next(over)
	}
	return len(p), nil
}

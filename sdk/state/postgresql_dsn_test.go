package state

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestADSNIsHandedOnInTheEnvironment(t *testing.T) {
	t.Setenv("PGSERVICE", "other")
	t.Setenv("PGDATABASE", "fallback")
	for _, c := range []struct{ dsn, database, env string }{
		{"", "fallback", "PGCONNECT_TIMEOUT=10 PGDATABASE=fallback PGSERVICE=other"},
		{"postgres://bob:p%40ss@db:5433/shop?sslmode=require&connect_timeout=3", "shop",
			"PGCONNECT_TIMEOUT=10 PGCONNECT_TIMEOUT=3 PGDATABASE=fallback PGHOST=db PGPASSWORD=p@ss PGPORT=5433 PGSSLMODE=require PGUSER=bob"},
		{"postgresql:///shop?host=/run/postgresql", "shop", "PGCONNECT_TIMEOUT=10 PGDATABASE=fallback PGHOST=/run/postgresql"},
		{`host = db  password='it\'s \\ a = b'
			dbname=shop`, "shop", `PGCONNECT_TIMEOUT=10 PGDATABASE=fallback PGHOST=db PGPASSWORD=it's \ a = b`},
		{"service=mine", "fallback", "PGCONNECT_TIMEOUT=10 PGDATABASE=fallback PGSERVICE=mine PGSERVICE=other"},
	} {
		got, err := PostgreSQL{DSN: c.dsn}.connection()
		must(t, err)
		env := slices.DeleteFunc(got.environ, func(v string) bool { return !strings.HasPrefix(v, "PG") })
		slices.Sort(env)
		if text := strings.Join(env, " "); got.database != c.database || text != c.env {
			t.Errorf("%s: database %s, %s; want %s, %s", c.dsn, got.database, text, c.database, c.env)
		}
	}
}

// TestADSNThatCannotBeReadIsNotTold: it may hold a password.
func TestADSNThatCannotBeReadIsNotTold(t *testing.T) {
	for dsn, says := range map[string]string{
		"postgres://bob:hunter2@db:port/shop":             "neither postgres://",
		"postgres://bob:hunter2@h1:1,h2:2/shop":           "neither postgres://",
		"postgres://bob:hunter2@db/shop?x=%zz":            "neither postgres://",
		"postgres://bob:hunter2@db/shop?pool_max_conns=2": `the word "pool_max_conns"`,
		"hunter2":                           "neither postgres://",
		"password='hunter2":                 "neither postgres://",
		"password hunter2 host=db":          "neither postgres://",
		"password=hunter2 host=db":          "no database is named",
		"dbname=template1":                  "the server's own",
		"dbname='a=b'":                      "taken for a DSN",
		"dbname=postgres://x":               "taken for a DSN",
		"dbname=" + strings.Repeat("x", 53): "has 53 bytes: at most 52",
	} {
		_, err := PostgreSQL{DSN: dsn}.connection()
		fails(t, err, says)
		if strings.Contains(fmt.Sprint(err), "hunter2") {
			t.Errorf("the error tells the password: %v", err)
		}
	}
	if _, err := (PostgreSQL{DSN: "dbname=" + strings.Repeat("x", 52)}).connection(); err != nil {
		t.Error(err)
	}
}

func FuzzDSN(f *testing.F) {
	for _, dsn := range []string{"postgres://u:p@h:1/d?sslmode=x", `host=h password='a\'b' dbname=d`, "a=", "=", `a='`, `a=\`} {
		f.Add(dsn)
	}
	f.Fuzz(func(t *testing.T, dsn string) {
		words, err := parseDSN(dsn)
		if err != nil || strings.Contains(dsn, "://") {
			return
		}
		var again strings.Builder
		for _, word := range slices.Sorted(maps.Keys(words)) {
			fmt.Fprintf(&again, "%s='%s' ", word, strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(words[word]))
		}
		if strings.Contains(again.String(), "://") {
			return
		}
		if got, err := parseDSN(again.String()); err != nil || !maps.Equal(got, words) {
			t.Errorf("%q is %v, and written again %v, %v", dsn, words, got, err)
		}
	})
}

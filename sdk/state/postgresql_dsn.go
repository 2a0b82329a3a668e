package state

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
)

// variables are libpq's, by the words of a DSN.
var variables = map[string]string{
	"host": "PGHOST", "hostaddr": "PGHOSTADDR", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "passfile": "PGPASSFILE",
	"service": "PGSERVICE", "options": "PGOPTIONS", "application_name": "PGAPPNAME", "connect_timeout": "PGCONNECT_TIMEOUT",
	"client_encoding": "PGCLIENTENCODING", "target_session_attrs": "PGTARGETSESSIONATTRS",
	"sslmode": "PGSSLMODE", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY", "sslrootcert": "PGSSLROOTCERT", "sslcrl": "PGSSLCRL",
	"channel_binding": "PGCHANNELBINDING", "gssencmode": "PGGSSENCMODE", "krbsrvname": "PGKRBSRVNAME",
}

// errDSN is a DSN that cannot be read. The DSN itself is not told: it may hold a password.
var errDSN = errors.New("the DSN is neither postgres://USER:PASSWORD@HOST:PORT/DATABASE nor a row of key=value")

// connection reads the DSN.
func (p PostgreSQL) connection() (c connection, err error) {
	words, err := parseDSN(p.DSN)
	if err != nil {
		return c, fmt.Errorf("PostgreSQL: %w", err)
	}
	c.environ = os.Environ()
	if p.DSN != "" && words["service"] == "" { // it would win over the DSN
		c.environ = slices.DeleteFunc(c.environ, func(v string) bool { return strings.HasPrefix(v, "PGSERVICE=") })
	}
	if os.Getenv("PGCONNECT_TIMEOUT") == "" {
		c.environ = append(c.environ, "PGCONNECT_TIMEOUT="+connectTimeout)
	}
	c.database, c.secret = os.Getenv("PGDATABASE"), words["password"]
	for word, value := range words {
		if word == "dbname" {
			c.database = value
			continue
		}
		variable, known := variables[word]
		if !known {
			return c, fmt.Errorf("PostgreSQL: the DSN has the word %q, which cannot be handed on: leave it out", word)
		}
		c.environ = append(c.environ, variable+"="+value)
	}
	return c, checkDatabase(c.database)
}

// checkDatabase returns an error if there is no name, or one that the programs would take for
// something else.
func checkDatabase(name string) error {
	switch {
	case name == "":
		return errors.New("PostgreSQL: no database is named: give its name in the DSN, or in PGDATABASE")
	case len(name) > maxName:
		return fmt.Errorf("PostgreSQL: the name of database %s has %d bytes: at most %d are left beside those that a put needs", name, len(name), maxName)
	case strings.ContainsAny(name, "=\x00") || strings.Contains(name, "://"):
		return fmt.Errorf("PostgreSQL: the name of database %q would be taken for a DSN: give it another one", name)
	case name == "template0", name == "template1":
		return fmt.Errorf("PostgreSQL: database %s is the server's own: keep the state in another one", name)
	}
	return nil
}

// parseDSN gives the words of a DSN.
func parseDSN(dsn string) (map[string]string, error) {
	if strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://") {
		return parseURL(dsn)
	}
	words := make(map[string]string)
	for rest := strings.TrimSpace(dsn); rest != ""; rest = strings.TrimSpace(rest) {
		word, after, found := strings.Cut(rest, "=")
		word = strings.TrimSpace(word)
		if !found || word == "" || strings.ContainsAny(word, " \t\n'\\") {
			return nil, errDSN
		}
		value, after, ok := dsnValue(strings.TrimLeft(after, " \t\n"))
		if !ok {
			return nil, errDSN
		}
		words[word], rest = value, after
	}
	return words, nil
}

// dsnValue reads a value, which may be quoted, and gives what is behind it.
func dsnValue(text string) (value, rest string, ok bool) {
	var b strings.Builder
	quoted := strings.HasPrefix(text, "'")
	if quoted {
		text = text[1:]
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text):
			i++
			b.WriteByte(text[i])
		case quoted && c == '\'':
			return b.String(), text[i+1:], true
		case !quoted && strings.IndexByte(" \t\n", c) >= 0:
			return b.String(), text[i:], true
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), "", !quoted
}

func parseURL(dsn string) (map[string]string, error) {
	u, err := url.Parse(dsn)
	if err != nil || strings.Contains(u.Host, ",") { // several hosts can be written as key=value
		return nil, errDSN
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, errDSN
	}
	password, _ := u.User.Password()
	words := map[string]string{
		"host": u.Hostname(), "port": u.Port(), "user": u.User.Username(), "password": password,
		"dbname": strings.TrimPrefix(u.Path, "/"),
	}
	for word := range query {
		words[word] = query.Get(word)
	}
	for word, value := range words {
		if value == "" {
			delete(words, word)
		}
	}
	return words, nil
}

package main

import (
	"cmp"
	"fmt"
	"io"
	"net/url"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay"
)

// setting is an effective value and where it comes from.
type setting struct {
	Key         string `json:"key"`
	Value       string `json:"value"`
	Source      string `json:"source"` // file:line, default, flag --nats, environment variable GOLIVE_NATS_URL, golive up
	Environment string `json:"environment,omitempty"`
}

func configCommand(c *command) *cobra.Command {
	return &cobra.Command{
		Use:   "config [DIR]",
		Short: "Print every effective setting, and where it comes from",
		Long: `config prints what the manifest, golive.yaml, in DIR (default: this folder)
says, in the environment that --env names: each value that is in force, and the
line, flag, variable or default that it comes from. Secrets are not printed.`,
		Example: `  golive config
  golive config --env production examples/todo -o json`,
		Args: arguments(0, 1, "at most one folder"),
		RunE: func(_ *cobra.Command, args []string) error {
			dir := "."
			if len(args) > 0 {
				dir = args[0]
			}
			m, err := c.load(dir)
			if err != nil {
				return err
			}
			all := append(busSettings(c, m, dir), manifestSettings(c, m)...)
			return c.print(all, func(w io.Writer) {
				if m.Environment.Name != "" {
					fmt.Fprintf(w, "%s %s in %s\n\n", m.App, m.Version, m.Environment.Name)
				} else {
					fmt.Fprintf(w, "%s %s\n\n", m.App, m.Version)
				}
				var rows [][]string
				for _, s := range all {
					from := s.Source
					if s.Environment != "" {
						from += " (" + s.Environment + ")"
					}
					rows = append(rows, []string{s.Key, s.Value, from})
				}
				terminal.Columns(w, []string{"SETTING", "VALUE", "FROM"}, rows)
			})
		},
	}
}

// manifestSettings are what the manifest says, but for where the bus is.
func manifestSettings(c *command, m *release.Manifest) []setting {
	var all []setting
	for _, s := range m.Settings() {
		if s.Key == "nats" || s.Key == "creds" || s.Key == "context" {
			continue
		}
		all = append(all, settingOf(c, s))
	}
	return all
}

func settingOf(c *command, s release.Setting) setting {
	from := "default"
	if s.File != "" {
		from = fmt.Sprintf("%s:%d", c.short(s.File), s.Line)
	}
	return setting{Key: s.Key, Value: s.Value, Source: from, Environment: s.Within}
}

// busSettings tell where the bus is: by a flag, else a variable, else the environment of the
// manifest, else a golive up that runs.
func busSettings(c *command, m *release.Manifest, dir string) []setting {
	by := func(flag, variable string) string {
		if c.Getenv(variable) != "" && !c.given[flag] {
			return "environment variable " + variable
		}
		return "flag --" + flag
	}
	var all []setting
	if c.env != "" {
		all = append(all, setting{Key: "env", Value: c.env, Source: by("env", "GOLIVE_ENV")})
	}
	if c.domain != "" {
		all = append(all, setting{Key: "jsDomain", Value: c.domain, Source: by("js-domain", "GOLIVE_JS_DOMAIN")})
	}
	if c.inbox != "" {
		all = append(all, setting{Key: "inboxPrefix", Value: c.inbox, Source: by("inbox-prefix", relay.EnvInbox)})
	}
	said := make(map[string]setting)
	for _, s := range m.Settings() {
		said[s.Key] = settingOf(c, s)
	}
	switch {
	case c.context != "":
		return append(all, setting{Key: "context", Value: c.context, Source: by("context", "GOLIVE_NATS_CONTEXT")})
	case c.nats != "":
		all = append(all, setting{Key: "nats", Value: masked(c.nats), Source: by("nats", "GOLIVE_NATS_URL")})
	case m.Environment.Context != "":
		return append(all, said["context"])
	case m.Environment.NATS != "":
		all = append(all, said["nats"])
	default:
		if p, err := c.address(dir); err == nil {
			all = append(all, setting{Key: "nats", Value: masked(p.URL), Source: "golive up, which runs"})
		}
	}
	switch {
	case c.creds != "":
		all = append(all, setting{Key: "creds", Value: c.creds, Source: by("creds", "GOLIVE_NATS_CREDS")})
	case c.nats == "" && m.Environment.Creds != "":
		s := said["creds"]
		s.Value = cmp.Or(c.short(c.within(m, m.Environment).Creds), filepath.Clean(m.Environment.Creds))
		all = append(all, s)
	}
	return all
}

// masked is a URL without its password.
func masked(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "(not a URL)"
	}
	return u.Redacted()
}

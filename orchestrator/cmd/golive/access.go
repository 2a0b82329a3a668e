package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/golive-dev/golive/orchestrator/access"
	"github.com/golive-dev/golive/orchestrator/terminal"
)

func busCommand(c *command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bus",
		Short: "Write the configuration of a bus with users",
		Long: `A bus with users lets each program and each person do what is its work, and
nothing else.`,
		Example: `  golive bus config --to bus --person ann --deployer ci --agent web-1`,
		Args:    arguments(0, 0, "a command: config"),
		RunE:    func(cmd *cobra.Command, _ []string) error { return misused(cmd, "golive bus needs the command config") },
	}
	cmd.AddCommand(busConfigCommand(c))
	return cmd
}

// busOptions are the flags of bus config.
type busOptions struct {
	team      access.Team
	server    access.Config
	folder    string
	url, ca   string
	unsecured bool
}

func busConfigCommand(c *command) *cobra.Command {
	var o busOptions
	cmd := &cobra.Command{
		Use:   "config [DIR]",
		Short: "Give each program and person a user with the rights that it needs",
		Long: `config writes what a NATS server needs to know so that each program of the app
in DIR (default: this folder), and each person, has a user with the rights of
its role and no others: the orchestrators, each service, each setup service,
agents, people, deployment systems, observers. Those who may approve, by the
approvals of the environment, are people.

It writes FOLDER/nats-server.conf, and for each user the file
FOLDER/contexts/USER.json, a context of the nats command line, with a password
that it makes: golive and services connect by it (--context FILE,
GOLIVE_NATS_CONTEXT). Called again it keeps the passwords that are there. Rights
of setup services hold for all versions with the same major number and the next
one, so that it is called again when services come and go, not for each release.

Streams and buckets of services are to be made by somebody with all rights,
such as the user orchestrator: who makes or changes a stream can have the server
publish on any subject. A new configuration takes effect with
nats-server --signal reload.`,
		Example: `  golive bus config --to bus --person ann --deployer ci --agent web-1
  golive bus config --env production --listen 0.0.0.0:4222 \
    --url tls://nats.example.org --ca ca.pem \
    --server-cert /etc/nats/server.pem --server-key /etc/nats/server.key`,
		Args: arguments(0, 1, "at most one folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) > 0 {
				dir = args[0]
			}
			if err := o.check(cmd); err != nil {
				return err
			}
			return writeBus(c, dir, o)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.folder, "to", "bus", "folder to write to")
	flags.StringArrayVar(&o.team.People, "person", nil, "somebody who operates the environment, may be repeated")
	flags.StringArrayVar(&o.team.Deployers, "deployer", nil, "a system that deploys, may be repeated")
	flags.StringArrayVar(&o.team.Rehearsers, "rehearser", nil, "somebody who rehearses releases, may be repeated")
	flags.StringArrayVar(&o.team.Observers, "observer", nil, "somebody who only looks, may be repeated")
	flags.StringArrayVar(&o.team.Agents, "agent", nil, "the name of an agent, may be repeated")
	flags.StringVar(&o.server.Listen, "listen", "127.0.0.1:4222", "where the server listens")
	flags.StringVar(&o.server.Storage, "storage", "jetstream", "folder of JetStream, as the server sees it")
	flags.StringVar(&o.server.Cert, "server-cert", "", "file of the server's certificate, as the server sees it")
	flags.StringVar(&o.server.Key, "server-key", "", "file of the key of that certificate")
	flags.StringVar(&o.ca, "ca", "", "file of the authority that has signed it, as users see it (default: those of the system)")
	flags.StringVar(&o.url, "url", "", "URL by which users reach the server (default: that of --listen)")
	flags.BoolVar(&o.unsecured, "without-tls", false, "listen beyond this machine although everybody on the way can read along")
	return cmd
}

// check looks at the flags together, and fills in what is not given.
func (o *busOptions) check(cmd *cobra.Command) error {
	host, port, err := net.SplitHostPort(o.server.Listen)
	if err != nil || port == "" || port == "0" {
		return misused(cmd, fmt.Sprintf("--listen: %q is no host and port, such as 127.0.0.1:4222", o.server.Listen))
	}
	if (o.server.Cert == "") != (o.server.Key == "") {
		return misused(cmd, "--server-cert and --server-key need each other")
	}
	if ip := net.ParseIP(host); o.server.Cert == "" && !o.unsecured && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return misused(cmd, fmt.Sprintf("--listen %s is reached from other machines: give --server-cert and --server-key, or --without-tls", o.server.Listen))
	}
	if o.url == "" {
		scheme := "nats"
		if o.server.Cert != "" {
			scheme = "tls"
		}
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			return misused(cmd, "--listen "+o.server.Listen+" names no machine: say with --url how users reach it")
		}
		o.url = scheme + "://" + o.server.Listen
	}
	return nil
}

// busUser is a user in the answer of bus config.
type busUser struct {
	User    string      `json:"user"`
	Role    access.Role `json:"role"`
	Of      string      `json:"of,omitempty"`
	Context string      `json:"context"` // file
}

func writeBus(c *command, dir string, o busOptions) error {
	m, err := c.load(dir)
	if err != nil {
		return err
	}
	users, err := access.Users(m.Release(), o.team)
	if err != nil {
		return &failure{code: codeMisused, exit: exitMisused, message: err.Error()}
	}
	folder := c.absolute(o.folder)
	contexts := filepath.Join(folder, "contexts")
	if err := os.MkdirAll(contexts, 0o700); err != nil {
		return err
	}
	passwords := make(map[string]string)
	var told []busUser
	for _, u := range users {
		file := filepath.Join(contexts, u.Name+".json")
		password, err := keptPassword(file)
		if err != nil {
			return err
		}
		passwords[u.Name] = password
		if err := writeSecret(file, access.For(u, o.url, o.ca, password).JSON()); err != nil {
			return err
		}
		told = append(told, busUser{u.Name, u.Role, u.Of, c.short(file)})
	}
	config, err := o.server.Server(users, func(user string) string { return passwords[user] })
	if err != nil {
		return err
	}
	file := filepath.Join(folder, "nats-server.conf")
	if err := writeSecret(file, config); err != nil { // last: whom it knows has a password
		return err
	}
	return c.print(told, func(w io.Writer) {
		var rows [][]string
		for _, u := range told {
			rows = append(rows, []string{u.User, string(u.Role), u.Of, u.Context})
		}
		terminal.Columns(w, []string{"USER", "ROLE", "OF", "CONTEXT"}, rows)
		fmt.Fprintf(w, "\nnext: nats-server -c %s\n      golive serve --context %s\n", c.short(file), told[0].Context)
	})
}

// keptPassword is the one that a context has already, or a new one where there is none.
func keptPassword(file string) (string, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return access.NewPassword(), nil
	}
	var there access.Credentials
	if err == nil {
		err = json.Unmarshal(text, &there)
	}
	if err != nil {
		return "", fmt.Errorf("read the password in %s: %w", file, err)
	}
	if there.Password == "" {
		return "", fmt.Errorf("%s holds no password: remove it, and a new one is made", file)
	}
	return there.Password, nil
}

// writeSecret writes a file that only its owner may read, whole or not at all.
func writeSecret(file string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".golive-*") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

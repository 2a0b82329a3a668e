package main

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/golive-dev/golive/orchestrator"
	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/embedded"
)

type upOptions struct {
	once   bool
	older  bool
	data   string
	listen string
	seed   int // GOLIVE_SEED of the seed command; 0: it is not run
}

func (c *command) upCommand() *cobra.Command {
	var o upOptions
	cmd := &cobra.Command{
		Use:   "up [DIR]",
		Short: "Run the app in DIR on this machine and bring its version live",
		Long: `up runs the app whose manifest, golive.yaml, is in DIR (default: this folder):
a bus, its services, its setup services and the rollout of its version. It
stays up until Ctrl-C. What it keeps lies in the data folder, so the next up
knows which scripts have run. With --seed N it has the manifest's seed command
make N records, or whatever N means to it, before the rollout begins.`,
		Example: `  golive up examples/todo
  golive up --once --data /tmp/try examples/todo
  golive up --seed 100000 examples/todo`,
		Args: arguments(0, 1, "at most one folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) > 0 {
				dir = args[0]
			}
			if cmd.Flags().Changed("seed") && o.seed < 1 {
				return misused(cmd, "--seed must be at least 1")
			}
			return c.up(cmd.Context(), dir, o)
		},
	}
	cmd.Flags().BoolVar(&o.older, "allow-older", false, "bring a version that is older than what has run here")
	cmd.Flags().BoolVar(&o.once, "once", false, "end when the rollout has ended: exit code 0 if completed, 1 if failed")
	cmd.Flags().IntVar(&o.seed, "seed", 0, "run the manifest's seed command first, with this number as GOLIVE_SEED")
	cmd.Flags().StringVar(&o.data, "data", "", "folder of what it keeps (environment: GOLIVE_DATA; default .golive in DIR)")
	cmd.Flags().StringVar(&o.listen, "listen", embedded.DefaultListen, "where the bus listens, HOST:PORT; port 0 is a free one")
	return cmd
}

// up is one run of the command: what it has started, it stops.
func (c *command) up(ctx context.Context, dir string, o upOptions) (err error) {
	m, err := c.load(dir)
	if err != nil {
		return err
	}
	if o.seed > 0 && m.Seed == nil {
		return &failure{code: codeMisused, exit: exitMisused, message: "--seed needs the key seed in " + c.short(m.Path) + ", which has none",
			hint: "give there the command that makes data: seed: [go, run, ./seed]"}
	}
	s := c.narrator()
	data := c.dataFolder(m, o.data)
	bus, r, err := c.openBus(ctx, m, data, o.listen, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bus.close()) }()

	working, stopWorking := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWorking()
	e, err := newEngine(ctx, r, orchestrator.Config{Replicas: 1, Logger: c.logger()}, gate.Config{})
	if err != nil {
		return err
	}
	ended, err := e.start(working)
	if err != nil {
		return err
	}
	a := newApp(m, bus.place, filepath.Join(data, "services"), s.Talk)
	u := &upRun{command: c, options: o, app: a, engine: e, ended: ended, relay: r, story: s, client: api.NewClient(r.Conn())}
	err = u.run(ctx)
	s.Say(terminal.Dim, "▪", "stopping what was started")
	if e := a.stop(atOnce(ctx)); e != nil {
		err = errors.Join(err, e)
	}
	stopWorking()
	if e := <-ended; e != nil && err == nil {
		err = e
	}
	return err
}

func (c *command) dataFolder(m *release.Manifest, flag string) string {
	switch env := c.Getenv("GOLIVE_DATA"); {
	case flag != "":
		return c.absolute(flag)
	case env != "":
		return c.absolute(env)
	case filepath.IsAbs(m.Data):
		return m.Data
	}
	return filepath.Join(m.Dir, m.Data)
}

// bus is where up's messages go: a server of its own, or one that runs already.
type bus struct {
	place
	close func() error
}

func (c *command) openBus(ctx context.Context, m *release.Manifest, data, listen string, s *narrator) (*bus, *relay.Relay, error) {
	if named := c.named(m); named.is() {
		r, err := c.connect(ctx, named)
		if err != nil {
			return nil, nil, err
		}
		s.Say(terminal.Plain, "▸", "bus: %s", r.Conn().ConnectedUrlRedacted())
		return &bus{place: named, close: func() error { r.Close(); return nil }}, r, nil
	}
	server, err := embedded.Start(embedded.Config{Data: data, Listen: listen, Logger: c.logger()})
	if err != nil {
		return nil, nil, err
	}
	r, err := relay.Connect(ctx, relay.Config{Server: server, Name: "golive up", Logger: c.logger()})
	if err != nil {
		return nil, nil, errors.Join(err, server.Stop())
	}
	put, err := beacon{URL: server.URL(), Dir: m.Dir, Cwd: c.Dir, Data: data}.light(beaconFolder(c.Getenv))
	if err != nil {
		r.Close()
		return nil, nil, errors.Join(err, server.Stop())
	}
	s.Say(terminal.Plain, "▸", "bus: %s, its data in %s", server.URL(), c.short(data))
	return &bus{place: place{url: server.URL()}, close: func() error {
		put()
		r.Close()
		return server.Stop()
	}}, r, nil
}

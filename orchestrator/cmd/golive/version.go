package main

import (
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/golive-dev/golive/relay"
)

// versionAnswer is what `golive version` says.
type versionAnswer struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	MinNATS string `json:"minNATS"` // the oldest nats-server it works with
}

func versionCommand(c *command) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Which golive this is",
		Example: `  golive version -o json`,
		Args:    arguments(0, 0, "no arguments"),
		RunE: func(*cobra.Command, []string) error {
			v := versionAnswer{Version: Version, Go: runtime.Version(), MinNATS: relay.MinServer}
			return c.print(v, func(w io.Writer) {
				fmt.Fprintf(w, "golive %s (%s, needs nats-server %s or newer)\n", v.Version, v.Go, v.MinNATS)
			})
		},
	}
}

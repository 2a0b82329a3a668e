// Command ledgerbook is a service that keeps its state in an SQLite database, the setup service
// of its version 0.0.2, and the command that takes the state and puts it back.
//
//	ledgerbook serve                         the service
//	ledgerbook setup                         the setup service
//	ledgerbook state take|put|check|drop     the state, in the folder GOLIVE_SNAPSHOT_DIR
//	ledgerbook enter ACCOUNT CENTS TEXT      asks the service to add an entry
//	ledgerbook show ACCOUNT                  asks it for the entries and the balance
//
// The database is the file that LEDGERBOOK_DB names.
package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/sdk"
	"github.com/golive-dev/golive/sdk/state"
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	switch path := databasePath(); {
	case len(args) == 1 && args[0] == "serve":
		return relay.MainWith(func(ctx context.Context, _ *relay.Relay) (relay.Service, error) {
			b, err := openBook(ctx, path) // closed with the program
			if err != nil {
				return relay.Service{}, err
			}
			return b.service(os.Getenv(relay.EnvVersion)), nil
		})
	case len(args) == 1 && args[0] == "setup":
		return sdk.Main(setup(path))
	case len(args) == 2 && args[0] == "state":
		return state.Main(state.SQLite{Path: path})
	case len(args) == 4 && args[0] == "enter", len(args) == 2 && args[0] == "show":
		return ask(args)
	}
	fmt.Fprintln(os.Stderr, "usage: ledgerbook serve | setup | state take|put|check|drop | enter ACCOUNT CENTS TEXT | show ACCOUNT")
	return 2
}

// databasePath is where the database is: of all programs that golive starts on this machine
// the same, beside the folders that they have for themselves.
func databasePath() string {
	beside := filepath.Join(cmp.Or(os.Getenv("GOLIVE_DATA_DIR"), "."), "..", "ledgerbook.db")
	return cmp.Or(os.Getenv("LEDGERBOOK_DB"), beside)
}

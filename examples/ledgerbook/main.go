// Command ledgerbook is two services that keep their state outside of NATS: the book, in an SQLite
// database, with the setup service of its version 0.0.2 and the command that takes the database and
// puts it back; and the receipts, in files, which take and put them themselves.
//
//	ledgerbook serve                         the service book
//	ledgerbook receipts                      the service receipts
//	ledgerbook setup                         the setup service of the book
//	ledgerbook state take|put|check|drop     the database, in the folder GOLIVE_SNAPSHOT_DIR
//	ledgerbook enter ACCOUNT CENTS TEXT      asks the book to add an entry
//	ledgerbook show ACCOUNT                  asks it for the entries and the balance
//	ledgerbook file ENTRY TEXT               asks the receipts to file one for an entry
//	ledgerbook receipt ENTRY                 asks them for it
//
// The database is the file that LEDGERBOOK_DB names; the receipts are in a folder beside it.
package main

import (
	"cmp"
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
		return relay.Main(bookService(path, ""))
	case len(args) == 1 && args[0] == "receipts":
		r, err := openReceipts(filepath.Join(filepath.Dir(path), "ledgerbook-receipts"))
		if err != nil {
			fmt.Fprintf(os.Stderr, "error: %v\n", err)
			return 1
		}
		return relay.Main(r.service(""))
	case len(args) == 1 && args[0] == "setup":
		return sdk.Main(setup(path))
	case len(args) == 2 && args[0] == "state":
		return state.Main(state.SQLite{Path: path})
	case len(args) == 4 && args[0] == "enter", len(args) == 2 && args[0] == "show", len(args) == 3 && args[0] == "file", len(args) == 2 && args[0] == "receipt":
		return ask(args)
	}
	fmt.Fprintln(os.Stderr, "usage: ledgerbook serve | receipts | setup | state take|put|check|drop | enter ACCOUNT CENTS TEXT | show ACCOUNT | file ENTRY TEXT | receipt ENTRY")
	return 2
}

// databasePath is where the database is: of all programs that golive starts on this machine
// the same, beside the folders that they have for themselves.
func databasePath() string {
	beside := filepath.Join(cmp.Or(os.Getenv("GOLIVE_DATA_DIR"), "."), "..", "ledgerbook.db")
	return cmp.Or(os.Getenv("LEDGERBOOK_DB"), beside)
}

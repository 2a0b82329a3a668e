// Command todo-search is the service that finds todos by the words in their titles.
//
// It answers todo-search.add, add-all, find and missing from a full-text index in the
// folder that GOLIVE_DATA_DIR names, or else in the user's cache folder. A todo that
// has been added is on disk and found from then on; adding it again replaces it. The
// service knows only what it is told: it never asks another service.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/golive-dev/golive/relay"
)

func main() { os.Exit(run()) }

func run() int {
	index, err := openIndex(folder())
	if err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		return 1
	}
	defer index.close()
	return relay.Main(service(index))
}

// service is todo-search 0.0.1.
func service(index *index) relay.Service {
	return relay.Service{
		Name: "todo-search", Version: "0.0.1",
		Handlers: map[string]relay.Handler{
			"add":     relay.JSON(index.add),
			"add-all": relay.JSON(index.addAll),
			"find":    relay.JSON(index.find),
			"missing": relay.JSON(index.missing),
		},
	}
}

// folder is where the index lives.
func folder() string {
	if given := os.Getenv("GOLIVE_DATA_DIR"); given != "" {
		return filepath.Join(given, "index")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	return filepath.Join(cache, "golive-todo-search", "index")
}

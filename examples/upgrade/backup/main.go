// Command backup copies the articles of the shop into a file before their prices are
// converted, and puts them back when a person asks for that.
//
//	backup save FILE      make a copy
//	backup restore FILE   put the articles back as they are in a copy
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/golive-dev/golive/relay"
)

// before is the version of the catalog that is asked: at its private address, because it is
// under maintenance.
const before = "1.0.0"

func main() {
	ctx, stop := relay.UntilStopped(context.Background())
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	switch {
	case len(args) == 2 && args[0] == "save":
		return save(ctx, args[1])
	case len(args) == 2 && args[0] == "restore":
		return restore(ctx, args[1])
	}
	return errors.New("usage: backup save|restore FILE")
}

// save writes the copy: all of it, or none.
func save(ctx context.Context, file string) error {
	bus, err := relay.Connect(ctx, relay.FromEnvironment())
	if err != nil {
		return err
	}
	defer bus.Close()
	var articles []json.RawMessage
	if err := bus.Request(ctx, "catalog.stored", nil, &articles, relay.ToVersion(before)); err != nil {
		return err
	}
	data, err := json.MarshalIndent(articles, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(file+".part", append(data, '\n'), 0o600); err != nil {
		return err
	}
	if err := os.Rename(file+".part", file); err != nil {
		return err
	}
	fmt.Printf("%d articles are in %s\n", len(articles), file)
	return nil
}

// restore stores what is in the copy. Articles that are not in it stay.
func restore(ctx context.Context, file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var articles []json.RawMessage
	if err := json.Unmarshal(data, &articles); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	bus, err := relay.Connect(ctx, relay.FromEnvironment())
	if err != nil {
		return err
	}
	defer bus.Close()
	for _, article := range articles {
		if err := bus.Request(ctx, "catalog.store", article, nil, relay.ToVersion(before)); err != nil {
			return err
		}
	}
	fmt.Printf("%d articles are as they were\n", len(articles))
	return nil
}

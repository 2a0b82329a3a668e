package main

import (
	"context"
	"fmt"
	"os"
	"strconv"

	"github.com/golive-dev/golive/relay"
)

// ask is a client of the service, on the bus that GOLIVE_NATS_URL names.
func ask(args []string) int {
	ctx, stop := relay.UntilStopped(context.Background())
	defer stop()
	r, err := relay.Connect(ctx, relay.FromEnvironment())
	if err == nil {
		defer r.Close()
		switch args[0] {
		case "enter":
			err = enter(ctx, r, args[1], args[2], args[3])
		case "show":
			err = show(ctx, r, args[1])
		case "file":
			err = r.Request(ctx, "receipts.file", receipt{Entry: args[1], Text: args[2]}, nil)
		default:
			var found receipt
			if err = r.Request(ctx, "receipts.get", receipt{Entry: args[1]}, &found); err == nil {
				fmt.Println(found.Text)
			}
		}
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		return 1
	}
	return 0
}

func enter(ctx context.Context, r *relay.Relay, account, cents, text string) error {
	n, err := strconv.ParseInt(cents, 10, 64)
	if err != nil {
		return fmt.Errorf("cents are a whole number, not %q", cents)
	}
	var made entry
	if err := r.Request(ctx, "book.enter", entry{Account: account, Cents: n, Text: text}, &made); err != nil {
		return err
	}
	fmt.Printf("entry %d is made\n", made.ID)
	return nil
}

func show(ctx context.Context, r *relay.Relay, account string) error {
	of := map[string]string{"account": account}
	var all []entry
	if err := r.Request(ctx, "book.entries", of, &all); err != nil {
		return err
	}
	var balance int64
	if err := r.Request(ctx, "book.balance", of, &balance); err != nil {
		return err
	}
	for _, e := range all {
		fmt.Printf("%4d %10d  %q\n", e.ID, e.Cents, e.Text)
	}
	fmt.Printf("     %10d  balance\n", balance)
	return nil
}

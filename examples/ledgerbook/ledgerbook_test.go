package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
	"github.com/golive-dev/golive/sdk/state"
)

// TestMain lets the test's program be the ledger book.
func TestMain(m *testing.M) {
	if os.Getenv("LEDGERBOOK_TEST") == "1" {
		main()
	}
	m.Run()
}

// ledgerbook calls the program, and gives what it says.
func ledgerbook(t *testing.T, database, folder string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), "LEDGERBOOK_TEST=1", "LEDGERBOOK_DB="+database, state.EnvSnapshotDir+"="+folder)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func open(t *testing.T, path string) *book {
	t.Helper()
	b, err := openBook(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.db.Close() })
	return b
}

// texts are those of an account's entries, and their sum.
func texts(t *testing.T, b *book, account string) string {
	t.Helper()
	of := struct{ Account string }{account}
	all, err := b.entries(t.Context(), of)
	cents, err2 := b.balance(t.Context(), of)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	var each []string
	for _, e := range all {
		each = append(each, e.Text)
	}
	return fmt.Sprintf("%s: %d", strings.Join(each, ", "), cents)
}

func TestTheBooksAreClosedAndOpenedAgain(t *testing.T) {
	path, folder := filepath.Join(t.TempDir(), "ledgerbook.db"), t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	bus := relaytest.Start(t)
	r := bus.Connect()
	before := open(t, path)
	bus.Serve(bookService(path, "0.0.1"))
	for _, e := range []entry{{Account: "rent", Cents: -80000, Text: "March"}, {Account: "rent", Cents: -80000, Text: "April"}, {Account: "pay", Cents: 250000, Text: "April"}} {
		if err := r.Request(ctx, "book.enter", e, nil, relay.ToVersion("0.0.1")); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := ledgerbook(t, path, folder, "state", "take"); err != nil { // while it serves
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := ledgerbook(t, path, folder, "state", "check"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}

	running, end := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- setup(path).Run(running, bus.Connect()) }()
	defer func() {
		end()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	for range 2 {
		var answer protocol.Answer
		err := relay.ErrNobodyListens
		for errors.Is(err, relay.ErrNobodyListens) { // until it has come up
			err = r.Request(ctx, "deployment-book-0.0.2-offline-start", nil, &answer)
		}
		if err != nil || !answer.Done {
			t.Fatalf("answered %+v, %v", answer, err)
		}
		if got, want := texts(t, before, "rent"), "brought forward: -160000"; got != want {
			t.Errorf("the closed book has %s, want %s", got, want)
		}
	}

	if out, err := ledgerbook(t, path, folder, "state", "put"); err == nil || !strings.Contains(out, "close it everywhere") {
		t.Errorf("put while somebody has it open: %v: %s", err, out)
	}
	if err := before.db.Close(); err != nil {
		t.Fatal(err)
	}
	if out, err := ledgerbook(t, path, folder, "state", "put"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	after := open(t, path)
	for account, want := range map[string]string{"rent": "March, April: -160000", "pay": "April: 250000", "none": ": 0"} {
		if got := texts(t, after, account); got != want {
			t.Errorf("%s has %s, want %s", account, got, want)
		}
	}
}

func TestTheReceiptsTakeAndPutThemselves(t *testing.T) {
	bus := relaytest.Start(t)
	r, err := openReceipts(filepath.Join(t.TempDir(), "receipts"))
	if err != nil {
		t.Fatal(err)
	}
	s := r.service("0.0.1")
	bus.Serve(s)
	client := bus.Connect()
	ask := func(message string, of receipt) (receipt, error) {
		err := client.Request(t.Context(), "receipts."+message, of, &of, relay.ToVersion("0.0.1"))
		return of, err
	}
	if _, err := ask("file", receipt{Entry: "1", Text: "paid"}); err != nil {
		t.Fatal(err)
	}
	var taken bytes.Buffer
	if err := s.State.Take(t.Context(), "one", &taken); err != nil {
		t.Fatal(err)
	}
	for _, one := range []receipt{{"1", "changed"}, {"2", "added"}} {
		if _, err := ask("file", one); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := errors.Join(s.State.Check(t.Context(), "one", bytes.NewReader(taken.Bytes())), s.State.Put(t.Context(), "one", bytes.NewReader(taken.Bytes()))); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := ask("get", receipt{Entry: "1"}); err != nil || got.Text != "paid" {
		t.Errorf("the receipt is %+v, %v", got, err)
	}
	for _, one := range []receipt{{Entry: "2"}, {Entry: "../1"}} {
		if _, err := ask("get", one); err == nil {
			t.Errorf("there is a receipt %s", one.Entry)
		}
	}
	if _, err := ask("file", receipt{Entry: "../1", Text: "x"}); err == nil {
		t.Error("a path is an entry")
	}
}

func TestWhatIsNotRightIsRefused(t *testing.T) {
	b := open(t, filepath.Join(t.TempDir(), "ledgerbook.db"))
	for _, e := range []entry{{}, {Account: "rent"}, {Cents: 1}} {
		refused := new(relay.Error)
		if _, err := b.enter(t.Context(), e); !errors.As(err, &refused) || refused.Code != relay.CodeBadRequest {
			t.Errorf("%+v: %v", e, err)
		}
	}
	for _, args := range [][]string{nil, {"state"}, {"sing"}, {"serve", "now"}} {
		if out, err := ledgerbook(t, "", "", args...); err == nil || !strings.HasPrefix(out, "usage: ") {
			t.Errorf("%q: %v: %s", args, err, out)
		}
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sync"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/sdk/state"
)

// receipt belongs to an entry of the book.
type receipt struct {
	Entry string `json:"entry"`
	Text  string `json:"text"`
}

// receipts are files in a folder, one for each entry. They take and put their own state: a file is
// never written while that goes on. Nothing else may write to the folder.
type receipts struct {
	mu    sync.RWMutex
	files state.Files
}

// openReceipts makes the folder where the service runs for the first time.
func openReceipts(dir string) (*receipts, error) {
	return &receipts{files: state.Files{Dir: dir}}, os.MkdirAll(dir, 0o700)
}

// service answers receipts.file and receipts.get, and takes and puts the state of the service.
func (r *receipts) service(version string) relay.Service {
	return relay.Service{
		Name: "receipts", Version: version,
		Handlers: map[string]relay.Handler{"file": relay.JSON(r.file), "get": relay.JSON(r.get)},
		State:    state.Served(r, filepath.Dir(r.files.Dir)),
	}
}

// entryID is the number of an entry, and no path.
var entryID = regexp.MustCompile(`^[0-9]{1,18}$`)

// file keeps a receipt; another one of the same entry is replaced.
func (r *receipts) file(_ context.Context, one receipt) (receipt, error) {
	if !entryID.MatchString(one.Entry) || one.Text == "" {
		return one, &relay.Error{Code: relay.CodeBadRequest, Message: "a receipt needs the number of an entry, and a text"}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	path := filepath.Join(r.files.Dir, one.Entry)
	if err := os.WriteFile(path+".new", []byte(one.Text), 0o600); err != nil {
		return one, err
	}
	return one, os.Rename(path+".new", path)
}

// get gives the receipt of an entry.
func (r *receipts) get(_ context.Context, of receipt) (receipt, error) {
	if !entryID.MatchString(of.Entry) {
		return of, &relay.Error{Code: relay.CodeBadRequest, Message: "an entry has a number"}
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	text, err := os.ReadFile(filepath.Join(r.files.Dir, of.Entry))
	if errors.Is(err, fs.ErrNotExist) {
		return of, &relay.Error{Code: "404", Message: fmt.Sprintf("entry %s has no receipt", of.Entry)}
	}
	of.Text = string(text)
	return of, err
}

// Take is of [state.Provider].
func (r *receipts) Take(ctx context.Context, dir string) error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.files.Take(ctx, dir)
}

// Check is of [state.Provider].
func (r *receipts) Check(ctx context.Context, dir string) error { return r.files.Check(ctx, dir) }

// Put is of [state.Provider].
func (r *receipts) Put(ctx context.Context, dir string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.files.Put(ctx, dir)
}

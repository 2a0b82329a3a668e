package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay"
)

const (
	bucketName  = "todos"
	maxTitle    = 1000            // characters
	readTimeout = 5 * time.Second // of the whole list
)

// todo is one entry of the list.
type todo struct {
	ID        string    `json:"id"`
	Title     string    `json:"title"`
	CreatedAt time.Time `json:"createdAt"`
}

// list is the bucket of all todos, by id.
type list struct{ bucket jetstream.KeyValue }

// openList finds the bucket, or makes it where the service runs for the first time.
func openList(ctx context.Context, nc *nats.Conn) (*list, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	bucket, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: bucketName})
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", bucketName, err)
	}
	return &list{bucket}, nil
}

// create adds a todo.
func (l *list) create(ctx context.Context, in struct{ Title string }) (todo, error) {
	title := strings.TrimSpace(in.Title)
	if title == "" {
		return todo{}, invalid("title is empty: say what is to be done")
	}
	if n := utf8.RuneCountInString(title); n > maxTitle {
		return todo{}, invalid("title has %d characters: at most %d are allowed", n, maxTitle)
	}
	t := todo{ID: uuid.NewString(), Title: title, CreatedAt: time.Now().UTC()}
	data, err := json.Marshal(t)
	if err != nil {
		return todo{}, err
	}
	if _, err := l.bucket.Create(ctx, t.ID, data); err != nil {
		return todo{}, fmt.Errorf("keep todo %s: %w", t.ID, err)
	}
	return t, nil
}

// all reads every todo, the oldest first: a bucket gives its entries in the order in
// which they were written.
func (l *list) all(ctx context.Context, _ struct{}) ([]todo, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	entries, err := l.bucket.WatchAll(ctx, jetstream.IgnoreDeletes())
	if err != nil {
		return nil, fmt.Errorf("read bucket %s: %w", bucketName, err)
	}
	defer func() { _ = entries.Stop() }() // it has ended already if ctx has
	todos, unread := []todo{}, error(nil)
	for entry := range entries.Updates() {
		if entry == nil { // that was the last of those there are
			return todos, unread
		}
		t, err := read(entry)
		todos, unread = append(todos, t), errors.Join(unread, err)
	}
	return nil, fmt.Errorf("read bucket %s: %w", bucketName, context.Cause(ctx))
}

// get reads one todo.
func (l *list) get(ctx context.Context, in struct{ ID string }) (todo, error) {
	entry, err := l.bucket.Get(ctx, in.ID)
	if errors.Is(err, jetstream.ErrKeyNotFound) || errors.Is(err, jetstream.ErrInvalidKey) {
		return todo{}, &relay.Error{Code: "404", Message: fmt.Sprintf("there is no todo with the id %q", in.ID)}
	}
	if err != nil {
		return todo{}, fmt.Errorf("read todo %s: %w", in.ID, err)
	}
	return read(entry)
}

func read(entry jetstream.KeyValueEntry) (todo, error) {
	var t todo
	if err := json.Unmarshal(entry.Value(), &t); err != nil {
		return todo{}, fmt.Errorf("read todo %s: %w", entry.Key(), err)
	}
	return t, nil
}

func invalid(format string, a ...any) error {
	return &relay.Error{Code: "400", Message: fmt.Sprintf(format, a...)}
}

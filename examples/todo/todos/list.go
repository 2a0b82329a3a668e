package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
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
	maxImport   = 1000            // todos; the server takes no more at once
	readTimeout = 5 * time.Second // of a list that is one message
)

// todo is one entry of the list.
type todo struct {
	ID        string    `json:"id"`
	Title     string    `json:"title"`
	CreatedAt time.Time `json:"createdAt"`
}

// list is the bucket of all todos, by id.
type list struct {
	nc     *nats.Conn
	bucket jetstream.KeyValue
	stream jetstream.Stream // that the bucket is made of: a todo's place in it is its cursor
}

// openList finds the bucket, or makes it where the service runs for the first time.
func openList(ctx context.Context, nc *nats.Conn) (*list, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	bucket, err := js.KeyValue(ctx, bucketName)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		bucket, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: bucketName})
	}
	if errors.Is(err, jetstream.ErrBucketExists) { // another instance has just made it
		bucket, err = js.KeyValue(ctx, bucketName)
	}
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", bucketName, err)
	}
	stream, err := js.Stream(ctx, "KV_"+bucketName)
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", bucketName, err)
	}
	if c := stream.CachedInfo().Config; !c.AllowAtomicPublish {
		c.AllowAtomicPublish = true // for imports
		if stream, err = js.UpdateStream(ctx, c); err != nil {
			return nil, fmt.Errorf("open bucket %s: %w", bucketName, err)
		}
	}
	return &list{nc, bucket, stream}, nil
}

// create adds a todo.
func (l *list) create(ctx context.Context, in struct{ Title string }) (todo, error) {
	t := todo{ID: uuid.NewString(), Title: strings.TrimSpace(in.Title), CreatedAt: time.Now().UTC()}
	if err := checkTitle(t.Title); err != nil {
		return todo{}, err
	}
	data, err := json.Marshal(t)
	if err != nil {
		return todo{}, err
	}
	if _, err := l.bucket.Create(ctx, t.ID, data); err != nil {
		return todo{}, fmt.Errorf("keep todo %s: %w", t.ID, err)
	}
	return t, nil
}

func checkTitle(title string) error {
	if title == "" {
		return invalid("title is empty: say what is to be done")
	}
	if n := utf8.RuneCountInString(title); n > maxTitle {
		return invalid("title has %d characters: at most %d are allowed", n, maxTitle)
	}
	return nil
}

// addAll adds todos that have their ids already, all of them or none. Adding them again
// changes nothing but their places: they become the newest.
func (l *list) addAll(ctx context.Context, todos []todo) (struct{}, error) {
	if n := len(todos); n < 1 || n > maxImport {
		return struct{}{}, invalid("%d todos are to be imported: send from 1 to %d at a time", n, maxImport)
	}
	batch := make([]*nats.Msg, len(todos))
	for i, t := range todos {
		if _, err := uuid.Parse(t.ID); err != nil {
			return struct{}{}, invalid("todo %d: its id %q is no UUID", i+1, t.ID)
		}
		t.Title = strings.TrimSpace(t.Title)
		if err := checkTitle(t.Title); err != nil {
			return struct{}{}, invalid("todo %d: %v", i+1, err)
		}
		data, err := json.Marshal(t)
		if err != nil {
			return struct{}{}, err
		}
		batch[i] = &nats.Msg{Subject: "$KV." + bucketName + "." + t.ID, Data: data, Header: nats.Header{}}
	}
	return struct{}{}, l.publish(ctx, batch)
}

// publish stores messages together, by JetStream's atomic batches: a hundred times as fast
// as one after the other where each write is synced to disk.
func (l *list) publish(ctx context.Context, batch []*nats.Msg) error {
	id := uuid.NewString()
	for i, m := range batch {
		m.Header.Set("Nats-Batch-Id", id)
		m.Header.Set("Nats-Batch-Sequence", strconv.Itoa(i+1))
		if i < len(batch)-1 {
			if err := l.nc.PublishMsg(m); err != nil {
				return fmt.Errorf("import: %w", err)
			}
			continue
		}
		m.Header.Set("Nats-Batch-Commit", "1")
		reply, err := l.nc.RequestMsgWithContext(ctx, m)
		if err != nil {
			return fmt.Errorf("import: %w", err)
		}
		var stored struct {
			Count int
			Error struct{ Description string }
		}
		if err := json.Unmarshal(reply.Data, &stored); err != nil || stored.Count != len(batch) {
			return fmt.Errorf("import: the server stored %d of %d todos: %s", stored.Count, len(batch), stored.Error.Description)
		}
	}
	return nil
}

// newest reads the todos, the oldest first: all that there are or, with a limit, those
// that were added last.
func (l *list) newest(ctx context.Context, in struct{ Limit int }) ([]todo, error) {
	if in.Limit < 0 {
		return nil, invalid("limit is %d, it must not be negative", in.Limit)
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	info, err := l.stream.Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("read todos: %w", err)
	}
	span := info.State.LastSeq // of places to look at, some of which may be empty
	if in.Limit > 0 {
		span = min(span, uint64(in.Limit))
	}
	for {
		todos := []todo{}
		err := l.read(ctx, info.State.LastSeq-span, func(t todo, _ uint64) error {
			todos = append(todos, t)
			return nil
		})
		switch {
		case err != nil:
			return nil, err
		case in.Limit > 0 && len(todos) > in.Limit:
			return todos[len(todos)-in.Limit:], nil
		case len(todos) == in.Limit, span == info.State.LastSeq:
			return todos, nil
		}
		span = min(4*span, info.State.LastSeq)
	}
}

// all streams the todos, the oldest first.
func (l *list) all(ctx context.Context, _ struct{}, after string, out *relay.Sender) error {
	var place uint64
	if after != "" {
		var err error
		if place, err = strconv.ParseUint(after, 10, 64); err != nil {
			return invalid("cursor %q is none of this list", after)
		}
	}
	total, err := l.count(ctx, struct{}{})
	if err != nil {
		return err
	}
	out.Total(total)
	return l.read(ctx, place, func(t todo, place uint64) error {
		return out.Send(t, strconv.FormatUint(place, 10))
	})
}

// count is how many todos there are.
func (l *list) count(ctx context.Context, _ struct{}) (int64, error) {
	info, err := l.stream.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("count todos: %w", err)
	}
	return int64(info.State.Msgs), nil
}

// read gives each todo behind a place, and its own.
func (l *list) read(ctx context.Context, after uint64, each func(t todo, place uint64) error) error {
	info, err := l.stream.Info(ctx)
	if err != nil {
		return fmt.Errorf("read todos: %w", err)
	}
	end := info.State.LastSeq
	if after >= end {
		return nil
	}
	consumer, err := l.stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1,
	})
	if err != nil {
		return fmt.Errorf("read todos: %w", err)
	}
	messages, err := consumer.Messages()
	if err != nil {
		return fmt.Errorf("read todos: %w", err)
	}
	defer messages.Stop()
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("read todos: %w", err)
		}
		about, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("read todos: %w", err)
		}
		var t todo
		if err := json.Unmarshal(m.Data(), &t); err != nil {
			return fmt.Errorf("read todo %s: %w", strings.TrimPrefix(m.Subject(), "$KV."+bucketName+"."), err)
		}
		if err := each(t, about.Sequence.Stream); err != nil {
			return err
		}
		if about.Sequence.Stream >= end || about.NumPending == 0 {
			return nil
		}
	}
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
	var t todo
	if err := json.Unmarshal(entry.Value(), &t); err != nil {
		return todo{}, fmt.Errorf("read todo %s: %w", entry.Key(), err)
	}
	return t, nil
}

func invalid(format string, a ...any) error {
	return &relay.Error{Code: relay.CodeBadRequest, Message: fmt.Sprintf(format, a...)}
}

// Command seed gives the service todos 0.0.1 so many todos as GOLIVE_SEED says, for trying
// out what happens to a long list. They are the same each time: run again, it adds none.
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/golive-dev/golive/relay"
)

// batch is how many todos are sent in one message.
const batch = 1000

// todo is one as the service todos takes it.
type todo struct {
	ID        string    `json:"id"`
	Title     string    `json:"title"`
	CreatedAt time.Time `json:"createdAt"`
}

func main() {
	ctx, stop := relay.UntilStopped(context.Background())
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	count, err := strconv.Atoi(os.Getenv("GOLIVE_SEED"))
	if err != nil || count < 1 {
		return errors.New("GOLIVE_SEED must be the number of todos to make: golive up --seed sets it")
	}
	c := relay.FromEnvironment()
	c.Name = "seed"
	r, err := relay.Connect(ctx, c)
	if err != nil {
		return err
	}
	defer r.Close()
	return seed(ctx, r, count)
}

// seed sends the todos to their version at its private address: it may not be online yet.
func seed(ctx context.Context, r *relay.Relay, count int) error {
	begun, added := time.Now(), 0
	for first := 1; first <= count; first += batch {
		todos := make([]todo, 0, batch)
		for n := first; n < first+batch && n <= count; n++ {
			todos = append(todos, made(n))
		}
		if there, err := known(ctx, r, todos[len(todos)-1]); err != nil {
			return err
		} else if there { // with all of its batch: added again, they would become the newest
			continue
		}
		if err := r.Request(ctx, "todos.import", todos, nil, relay.ToVersion("0.0.1")); err != nil {
			return err
		}
		added += len(todos)
	}
	fmt.Printf("%d todos, %d of them new, in %s\n", count, added, time.Since(begun).Round(time.Millisecond))
	return nil
}

// known reports whether a todo was added before.
func known(ctx context.Context, r *relay.Relay, t todo) (bool, error) {
	var refused *relay.Error
	err := r.Request(ctx, "todos.get", map[string]string{"id": t.ID}, nil, relay.ToVersion("0.0.1"))
	if errors.As(err, &refused) && refused.Code == "404" {
		return false, nil
	}
	return err == nil, err
}

var (
	verbs   = []string{"Buy", "Call", "Clean", "Find", "Fix", "Plan", "Read", "Sell", "Visit", "Write"}
	objects = []string{"the bicycle", "a birthday present", "milk", "the kitchen", "a letter", "the neighbours", "a novel", "the roof", "tickets", "the tax return"}
)

// made is the n-th todo.
func made(n int) todo {
	return todo{
		ID:        uuid.NewSHA1(uuid.NameSpaceOID, binary.BigEndian.AppendUint64([]byte("todo"), uint64(n))).String(),
		Title:     fmt.Sprintf("%s %s (%d)", verbs[n%len(verbs)], objects[n/len(verbs)%len(objects)], n),
		CreatedAt: time.Date(2026, 1, 1, 0, 0, n, 0, time.UTC),
	}
}

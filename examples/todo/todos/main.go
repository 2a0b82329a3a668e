// Command todos is the service that keeps the todo list.
//
// It answers todos.create, todos.list and todos.get, and keeps the todos in a
// JetStream bucket, so they outlive the process. A list is a single message: it can
// be as long as the largest message of the bus, 1 MiB unless told otherwise, which
// is some thousands of todos. The service never changes or deletes a todo.
package main

import (
	"context"
	"os"

	"github.com/golive-dev/golive/relay"
)

func main() { os.Exit(relay.MainWith(service)) }

// service is todos 0.0.1, its data being on the bus as well.
func service(ctx context.Context, r *relay.Relay) (relay.Service, error) {
	list, err := openList(ctx, r.Conn())
	if err != nil {
		return relay.Service{}, err
	}
	return relay.Service{
		Name: "todos", Version: "0.0.1",
		Handlers: map[string]relay.Handler{
			"create": relay.JSON(list.create),
			"list":   relay.JSON(list.all),
			"get":    relay.JSON(list.get),
		},
		Schemas: map[string]relay.Schema{
			"create": {Request: `{"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}`, Response: todoSchema},
			"list":   {Response: `{"type": "array", "items": ` + todoSchema + `}`},
			"get":    {Request: `{"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}`, Response: todoSchema},
		},
	}, nil
}

// todoSchema is what `nats micro info todos` shows of a todo.
const todoSchema = `{"type": "object", "properties": {"id": {"type": "string"}, "title": {"type": "string"}, "createdAt": {"type": "string", "format": "date-time"}}}`

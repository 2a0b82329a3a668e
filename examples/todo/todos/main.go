// Command todos is the service that keeps the todo list.
//
// It answers todos.create, todos.get and todos.count, and todos.list with one message,
// which holds a thousand todos or so, or with a stream of any number. todos.import adds many
// that have their ids already. The todos are in a JetStream bucket, so they outlive the
// process. The service never changes or deletes one.
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
			"import": relay.JSON(list.addAll),
			"list":   relay.JSON(list.newest),
			"get":    relay.JSON(list.get),
			"count":  relay.JSON(list.count),
		},
		Streams: map[string]relay.StreamHandler{"list": relay.JSONStream(list.all)},
		Schemas: map[string]relay.Schema{
			"create": {Request: `{"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}`, Response: todoSchema},
			"import": {Request: `{"type": "array", "maxItems": 1000, "items": ` + todoSchema + `}`},
			"count":  {Response: `{"type": "integer"}`},
			"list":   {Request: `{"type": "object", "properties": {"limit": {"type": "integer"}}}`, Response: `{"type": "array", "items": ` + todoSchema + `}`},
			"get":    {Request: `{"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}`, Response: todoSchema},
		},
	}, nil
}

// todoSchema is what `nats micro info todos` shows of a todo.
const todoSchema = `{"type": "object", "properties": {"id": {"type": "string"}, "title": {"type": "string"}, "createdAt": {"type": "string", "format": "date-time"}}}`

package main

import (
	"context"
	"net/http"
	"time"

	"go.uber.org/zap"
)

// todo is one as the service todos tells it.
type todo struct {
	ID        string    `json:"id"`
	Title     string    `json:"title"`
	CreatedAt time.Time `json:"createdAt"`

	Unsearchable bool `json:"unsearchable,omitempty"` // it was added, but search does not know it
}

// hit is a todo as the service todo-search tells it.
type hit struct {
	ID    string `json:"id"`
	Title string `json:"title"`
}

// maxShown is how many todos are listed.
const maxShown = 200

// list asks for the todos that were added last, the oldest of them first.
func (s *site) list(ctx context.Context) (todos []todo, p *problem) {
	p = s.ask(ctx, "todos.list", map[string]int{"limit": maxShown}, &todos)
	return todos, p
}

// count asks how many todos there are.
func (s *site) count(ctx context.Context) (n int, p *problem) {
	p = s.ask(ctx, "todos.count", nil, &n)
	return n, p
}

// find asks for those that match the query.
func (s *site) find(ctx context.Context, query string) (hits []hit, p *problem) {
	p = s.ask(ctx, "todo-search.find", map[string]string{"query": query}, &hits)
	return hits, p
}

// add creates a todo and tells search about it. The todo is there even if search
// cannot be told, of which visitors hear only when they could have searched for it.
func (s *site) add(ctx context.Context, title string) (t todo, p *problem) {
	p = s.ask(ctx, "todos.create", map[string]string{"title": title}, &t)
	if p == nil && s.search != none {
		lost := s.ask(ctx, "todo-search.add", hit{t.ID, t.Title}, nil) != nil
		t.Unsearchable = lost && s.search == shown
	}
	return t, p
}

// ask sends a message to another service and stores its answer in reply.
func (s *site) ask(ctx context.Context, message string, payload, reply any) *problem {
	err := s.bus.Request(ctx, message, payload, reply)
	if err == nil {
		return nil
	}
	p := explain(message, err)
	if p.status >= http.StatusInternalServerError {
		s.log.Warn("no answer", zap.Error(err))
	}
	return p
}

package main

import (
	"bytes"
	"net/http"
	"slices"
	"strings"

	"go.uber.org/zap"
)

// page is what page.html shows.
type page struct {
	Version      string
	Search       bool     // whether visitors can search
	Problems     []string // what did not work
	Unsearchable bool     // whether a todo was added that search does not know
	Title        string   // what was typed and could not be added
	Query        string
	Results      []hit
	Todos        []todo
	More         int // how many todos there are in all; 0: those that are shown
}

// showPage shows the todos and, when asked, those that were found.
func (s *site) showPage(w http.ResponseWriter, r *http.Request) {
	s.send(w, r, page{Query: strings.TrimSpace(r.FormValue("q")), Unsearchable: s.search == shown && r.FormValue("added") == "unsearchable"}, nil)
}

// submit adds a todo, and sends the visitor back to the page, so that loading it
// again does not add the todo again.
func (s *site) submit(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		s.send(w, r, page{}, unreadable(err))
		return
	}
	title := r.PostForm.Get("title")
	t, p := s.add(r.Context(), title)
	switch {
	case p != nil:
		s.send(w, r, page{Title: title}, p)
	case t.Unsearchable:
		http.Redirect(w, r, "/?added=unsearchable", http.StatusSeeOther)
	default:
		http.Redirect(w, r, "/", http.StatusSeeOther)
	}
}

// send fills in the rest of the page and sends it. What did not work so far, and what
// does not work now, is told on it; the rest is shown all the same.
func (s *site) send(w http.ResponseWriter, r *http.Request, show page, before *problem) {
	show.Version, show.Search = s.version, s.search == shown
	status := http.StatusOK
	tell := func(p *problem) {
		if p != nil && !slices.Contains(show.Problems, p.text) {
			status, show.Problems = max(status, p.status), append(show.Problems, p.text)
		}
	}
	tell(before)
	var p *problem
	show.Todos, p = s.list(r.Context())
	tell(p)
	if len(show.Todos) == maxShown {
		show.More, p = s.count(r.Context())
		tell(p)
	}
	if show.Search && show.Query != "" {
		show.Results, p = s.find(r.Context(), show.Query)
		tell(p)
	}
	var body bytes.Buffer
	if err := s.page.Execute(&body, show); err != nil {
		s.log.Error("page", zap.Error(err))
		http.Error(w, "the page cannot be shown", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = body.WriteTo(w) // the visitor may have gone
}

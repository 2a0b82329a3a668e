package main

import (
	"encoding/json"
	"net/http"
)

func (s *site) apiList(w http.ResponseWriter, r *http.Request) {
	todos, p := s.list(r.Context())
	answer(w, http.StatusOK, todos, p)
}

func (s *site) apiAdd(w http.ResponseWriter, r *http.Request) {
	var in struct{ Title string }
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		answer(w, 0, nil, unreadable(err))
		return
	}
	t, p := s.add(r.Context(), in.Title)
	answer(w, http.StatusCreated, t, p)
}

func (s *site) apiSearch(w http.ResponseWriter, r *http.Request) {
	hits, p := s.find(r.Context(), r.FormValue("q"))
	answer(w, http.StatusOK, hits, p)
}

// answer sends v as JSON or, where there is one, the problem.
func answer(w http.ResponseWriter, status int, v any, p *problem) {
	if p != nil {
		status, v = p.status, map[string]string{"error": p.text}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the visitor may have gone
}

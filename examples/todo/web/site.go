package main

import (
	"embed"
	"html/template"
	"net/http"

	"go.uber.org/zap"

	"github.com/golive-dev/golive/relay"
)

const maxBody = 16 << 10 // bytes of a request

//go:embed page.html style.css
var files embed.FS

// site is what a visitor sees of one version of the app.
type site struct {
	bus     *relay.Relay
	version string
	search  use
	page    *template.Template // of a page
	log     *zap.Logger
}

func newSite(bus *relay.Relay, version, search string, log *zap.Logger) (*site, error) {
	use, err := useOf(search, version)
	if err != nil {
		return nil, err
	}
	page, err := template.ParseFS(files, "page.html")
	if err != nil {
		return nil, err
	}
	return &site{bus: bus, version: version, search: use, page: page, log: log}, nil
}

func (s *site) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.showPage)
	mux.HandleFunc("POST /{$}", s.submit)
	mux.HandleFunc("GET /style.css", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, files, "style.css")
	})
	mux.HandleFunc("GET /api/todos", s.apiList)
	mux.HandleFunc("POST /api/todos", s.apiAdd)
	if s.search == shown {
		mux.HandleFunc("GET /api/search", s.apiSearch)
	}
	return guard(mux)
}

// guard bounds what visitors send, and keeps other sites from sending it for them.
func guard(h http.Handler) http.Handler {
	h = http.MaxBytesHandler(http.NewCrossOriginProtection().Handler(h), maxBody)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		h.ServeHTTP(w, r)
	})
}

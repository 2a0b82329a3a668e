package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/relay"
)

const (
	requestTimeout = 5 * time.Second // of a request over the bus
	withoutBus     = 3 * time.Second // after which a front end ends
	closeTimeout   = time.Second     // for requests to be answered at the end
)

// front is a front end that runs.
type front struct {
	bus    *relay.Relay
	config map[string]string
}

// serve is a front end, until ctx ends or the bus has been gone for too long.
func serve(ctx context.Context, m machine, address string) error {
	release, err := m.claim()
	if err != nil {
		return err
	}
	defer release()
	config, err := readConfig(m.config())
	if err != nil {
		return err
	}
	c := relay.FromEnvironment()
	c.Name, c.RequestTimeout = "front "+version, requestTimeout
	connecting, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	bus, err := relay.Connect(connecting, c)
	if err != nil {
		return err
	}
	defer bus.Close()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	ctx, cancel = context.WithCancel(ctx)
	defer cancel()
	go func() { defer cancel(); awaitLoss(ctx, bus.Conn()) }()
	f := &front{bus, config}
	return serveHTTP(ctx, listener, f.handler())
}

// readConfig reads lines like title = The shop. A key that this version does not know is an
// error: somebody wants what it cannot do.
func readConfig(file string) (map[string]string, error) {
	known := []string{"title"}
	if version != "1.0.0" {
		known = append(known, "currency")
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	config := make(map[string]string)
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), "=")
		key = strings.TrimSpace(key)
		if !slices.Contains(known, key) {
			return nil, fmt.Errorf("%s: front end %s does not know the key %q", file, version, key)
		}
		config[key] = strings.TrimSpace(value)
	}
	return config, lines.Err()
}

// awaitLoss returns when the bus has been gone for too long, or when ctx ends.
func awaitLoss(ctx context.Context, nc *nats.Conn) {
	look := time.NewTicker(withoutBus / 10)
	defer look.Stop()
	for since := time.Now(); time.Since(since) < withoutBus; {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		if nc.IsConnected() {
			since = time.Now()
		}
	}
}

// serveHTTP answers requests until ctx ends, and then those it has got.
func serveHTTP(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: requestTimeout}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	err := s.Shutdown(closing)
	if err != nil {
		err = s.Close()
	}
	<-ended
	return err
}

func (f *front) handler() http.Handler {
	pages := http.NewServeMux()
	pages.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { f.articles(w, r) })
	// The same page before visitors see it: from the catalog of this version, at its private address.
	pages.HandleFunc("GET /smoke", func(w http.ResponseWriter, r *http.Request) { f.articles(w, r, relay.ToVersion(version)) })
	pages.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, version) })
	return pages
}

// article is one as the catalog lists it.
type article struct {
	Name  string
	Price string // of 1.0.0
	Cents int    // of 2.0.0
}

func (f *front) articles(w http.ResponseWriter, r *http.Request, to ...relay.RequestOption) {
	var articles []article
	if err := f.bus.Request(r.Context(), "catalog.list", nil, &articles, to...); err != nil {
		unavailable(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, "<!doctype html><title>%[1]s</title><h1>%[1]s</h1>\n<ul>\n", html.EscapeString(f.config["title"]))
	for _, a := range articles {
		fmt.Fprintf(w, "<li>%s, %s\n", html.EscapeString(a.Name), html.EscapeString(f.price(a)))
	}
	fmt.Fprintf(w, "</ul>\n<p>shop %s\n", version)
}

// unavailable answers with 503, which becomes the maintenance page at the door, and while the
// catalog is under maintenance with the time after which it is worth trying again.
func unavailable(w http.ResponseWriter, err error) {
	fmt.Fprintf(os.Stderr, "no articles: %v\n", err)
	var answered *relay.Error
	if errors.Is(err, relay.ErrMaintenance) && errors.As(err, &answered) {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(answered.RetryAfter.Seconds()))))
	}
	http.Error(w, "no articles: "+err.Error(), http.StatusServiceUnavailable)
}

func (f *front) price(a article) string {
	if version == "1.0.0" {
		return a.Price
	}
	return fmt.Sprintf("%d.%02d %s", a.Cents/100, a.Cents%100, f.config["currency"])
}

// look reports what is not well at a page.
func look(ctx context.Context, url string, texts []string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s is answered with %s", url, response.Status)
	}
	for _, text := range texts {
		if !strings.Contains(string(body), text) {
			return errors.New(url + " does not hold " + text)
		}
	}
	return nil
}

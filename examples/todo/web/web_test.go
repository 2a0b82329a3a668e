package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

// todos plays the service todos.
type todos struct {
	mu   sync.Mutex
	kept []todo
}

func (d *todos) create(_ context.Context, in struct{ Title string }) (todo, error) {
	if in.Title == "" {
		return todo{}, &relay.Error{Code: "400", Message: "title is empty"}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	t := todo{ID: fmt.Sprint(len(d.kept) + 1), Title: in.Title, CreatedAt: time.Now().UTC()}
	d.kept = append(d.kept, t)
	return t, nil
}

func (d *todos) list(_ context.Context, in struct{ Limit int }) ([]todo, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]todo{}, d.kept[max(0, len(d.kept)-in.Limit):]...), nil
}

func (d *todos) count(context.Context, struct{}) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.kept), nil
}

func (d *todos) service() relay.Service {
	return relay.Service{Name: "todos", Version: "0.0.1", Handlers: map[string]relay.Handler{
		"create": relay.JSON(d.create), "list": relay.JSON(d.list), "count": relay.JSON(d.count),
	}}
}

// search plays the service todo-search: it finds whole titles.
type search struct {
	mu    sync.Mutex
	added []hit
}

func (d *search) add(_ context.Context, h hit) (struct{}, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.added = append(d.added, h)
	return struct{}{}, nil
}

func (d *search) find(_ context.Context, in struct{ Query string }) ([]hit, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	found := []hit{}
	for _, h := range d.added {
		if h.Title == in.Query {
			found = append(found, h)
		}
	}
	return found, nil
}

func (d *search) service() relay.Service {
	return relay.Service{Name: "todo-search", Version: "0.0.1", Handlers: map[string]relay.Handler{
		"add": relay.JSON(d.add), "find": relay.JSON(d.find),
	}}
}

// serveOnline runs a service and gives it the production traffic, as golive would.
func serveOnline(t *testing.T, server *relaytest.Bus, s relay.Service) (stop func()) {
	t.Helper()
	client := server.Connect().Conn()
	confirmed, err := client.SubscribeSync(protocol.ConfirmSubject(s.Name, "*"))
	if err != nil {
		t.Fatal(err)
	}
	routes, _, err := bus.MakeRoutes(t.Context(), client, "", 1)
	if err != nil {
		t.Fatal(err)
	}
	route, err := json.Marshal(protocol.Route{Service: s.Name, Versions: []protocol.RouteVersion{{Version: s.Version, State: protocol.StateOnline}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := routes.Put(t.Context(), s.Name, route); err != nil {
		t.Fatal(err)
	}
	stop = server.Serve(s)
	if _, err := confirmed.NextMsg(10 * time.Second); err != nil {
		t.Fatalf("%s is not online: %v", s.Name, err)
	}
	return stop
}

// visit opens the app in the version, and gives the address of its page.
func visit(t *testing.T, bus *relaytest.Bus, version string) string {
	t.Helper()
	return visitWith(t, bus, version, "")
}

// visitWith opens it with -search, too.
func visitWith(t *testing.T, bus *relaytest.Bus, version, search string) string {
	t.Helper()
	s, err := newSite(bus.Connect(), version, search, zaptest.NewLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s.handler())
	t.Cleanup(server.Close)
	return server.URL
}

// answerTo sends a request and gives its status and body.
func answerTo(t *testing.T, method, url, contentType, body string, header ...string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", contentType)
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

func get(t *testing.T, url string) (int, string) { return answerTo(t, "GET", url, "", "") }

func submit(t *testing.T, site, title string) (int, string) {
	return answerTo(t, "POST", site+"/", "application/x-www-form-urlencoded", url.Values{"title": {title}}.Encode())
}

// expect checks the status of an answer, and what its body holds or, behind a "!",
// does not hold.
func expect(t *testing.T, want int, holds ...string) func(int, string) {
	t.Helper()
	return func(status int, body string) {
		t.Helper()
		if status != want {
			t.Errorf("status is %d, want %d", status, want)
		}
		for _, part := range holds {
			wanted, part := !strings.HasPrefix(part, "!"), strings.TrimPrefix(part, "!")
			if strings.Contains(body, part) != wanted {
				t.Errorf("the answer holds %q: %t, want %t", part, !wanted, wanted)
			}
		}
		if t.Failed() {
			t.Log(body)
		}
	}
}

func TestTheFirstVersionAddsAndLists(t *testing.T) {
	bus := relaytest.Start(t)
	serveOnline(t, bus, new(todos).service())
	other := new(search)
	stop := serveOnline(t, bus, other.service())
	site := visit(t, bus, "0.0.1")

	expect(t, 200, "<title>Todo 0.0.1</title>", "Nothing to do yet", `id="title"`, `id="add"`, "!search")(get(t, site))
	expect(t, 200, `<li>buy &lt;b&gt;milk&lt;/b&gt; <time`, "!role=\"alert\"")(submit(t, site, "buy <b>milk</b>"))
	expect(t, 404)(get(t, site+"/api/search?q=milk"))
	if len(other.added) != 0 {
		t.Errorf("it told search about %v", other.added)
	}
	stop()
	expect(t, 200, "!role=\"alert\"")(get(t, site+"/?q=milk"))
}

func TestTheSecondVersionSearches(t *testing.T) {
	bus := relaytest.Start(t)
	serveOnline(t, bus, new(todos).service())
	serveOnline(t, bus, new(search).service())
	site := visit(t, bus, "0.0.2")

	expect(t, 200, "<title>Todo 0.0.2</title>", `id="query"`, `id="search"`, `!id="results"`)(get(t, site))
	expect(t, 200, "<li>milk", `!id="results"`, "!role=\"status\"")(submit(t, site, "milk"))
	expect(t, 200, `id="results"`, "<li>milk</li>", `value="milk"`)(get(t, site+"/?q=milk"))
	expect(t, 200, `id="results"`, "Nothing.", "!<li>milk</li>", "<li>milk <time")(get(t, site+"/?q=bread"))
	expect(t, 200, "max-width")(get(t, site+"/style.css"))
}

func TestSearchIsFedInTheDark(t *testing.T) {
	bus := relaytest.Start(t)
	serveOnline(t, bus, new(todos).service())
	other := new(search)
	stop := serveOnline(t, bus, other.service())
	site := visitWith(t, bus, "0.0.2", "fed")

	expect(t, 200, "<title>Todo 0.0.2</title>", "!search")(get(t, site))
	expect(t, 200, "<li>milk <time", "!search")(submit(t, site, "milk"))
	expect(t, 404)(get(t, site+"/api/search?q=milk"))
	if len(other.added) != 1 || other.added[0].Title != "milk" {
		t.Errorf("it told search about %v", other.added)
	}
	stop()
	expect(t, 201, "!unsearchable")(answerTo(t, "POST", site+"/api/todos", "application/json", `{"title": "tea"}`))
	expect(t, 200, "<li>tea <time", "!role=\"status\"", "!role=\"alert\"", "!search")(get(t, site+"/?q=tea&added=unsearchable"))
}

func TestUseOfSearch(t *testing.T) {
	for _, c := range []struct {
		asked, version string
		want           use
	}{
		{"", "0.0.1", none}, {"", "0.0.2", shown}, {"", "0.1.0", shown},
		{"fed", "0.0.2", fed}, {"none", "0.0.3", none}, {"shown", "0.0.1", shown},
	} {
		if got, err := useOf(c.asked, c.version); err != nil || got != c.want {
			t.Errorf("-search=%s of %s is %s, %v, want %s", c.asked, c.version, got, err, c.want)
		}
	}
	for _, wrong := range [][2]string{{"dark", "0.0.2"}, {"fed", "2"}} {
		if _, err := useOf(wrong[0], wrong[1]); err == nil {
			t.Errorf("-search=%s of %s is taken", wrong[0], wrong[1])
		}
	}
}

func TestTheAPI(t *testing.T) {
	bus := relaytest.Start(t)
	serveOnline(t, bus, new(todos).service())
	serveOnline(t, bus, new(search).service())
	site := visit(t, bus, "0.0.2")
	post := func(body string) (int, string) {
		return answerTo(t, "POST", site+"/api/todos", "application/json", body)
	}

	expect(t, 200, "[]")(get(t, site+"/api/todos"))
	expect(t, 201, `"id":"1"`, `"title":"milk"`, `"createdAt":"2`, "!unsearchable")(post(`{"title": "milk"}`))
	expect(t, 200, `[{"id":"1","title":"milk","createdAt":"2`)(get(t, site+"/api/todos"))
	expect(t, 200, `[{"id":"1","title":"milk"}]`)(get(t, site+"/api/search?q=milk"))
	expect(t, 400, `{"error":"title is empty"}`)(post(`{}`))
	expect(t, 400, `{"error":"the request cannot be read`)(post(`milk`))
	expect(t, 413, `{"error":"that is too much text`)(post(`{"title": "` + strings.Repeat("x", maxBody) + `"}`))
}

func TestMistakesAreToldOnThePage(t *testing.T) {
	bus := relaytest.Start(t)
	serveOnline(t, bus, new(todos).service())
	site := visit(t, bus, "0.0.2")
	expect(t, 400, `role="alert">title is empty<`, `id="add"`)(submit(t, site, ""))
	expect(t, 413, `role="alert">that is too much text`, `id="add"`)(submit(t, site, strings.Repeat("x", maxBody)))
}

func TestSearchIsDown(t *testing.T) {
	bus := relaytest.Start(t)
	serveOnline(t, bus, new(todos).service())
	stop := serveOnline(t, bus, new(search).service())
	site := visit(t, bus, "0.0.2")
	submit(t, site, "milk")
	stop()

	const away = "The service todo-search is not there at the moment"
	expect(t, 503, away, "<li>milk <time", "!Nothing")(get(t, site+"/?q=milk"))
	expect(t, 503, away)(get(t, site+"/api/search?q=milk"))
	expect(t, 200, "<li>bread <time", `role="status">Added.`)(submit(t, site, "bread"))
	expect(t, 200, "<li>bread <time", "!role=\"status\"", "!role=\"alert\"")(get(t, site))
	expect(t, 201, `"unsearchable":true`)(answerTo(t, "POST", site+"/api/todos", "application/json", `{"title": "tea"}`))

	serveOnline(t, bus, new(search).service())
	expect(t, 200, "Nothing.", "!role=\"alert\"")(get(t, site+"/?q=milk"))
}

func TestTodosAreDown(t *testing.T) {
	site := visit(t, relaytest.Start(t), "0.0.2")
	const away = "The service todos is not there at the moment"
	expect(t, 503, away, `id="add"`, "!Nothing")(get(t, site))
	expect(t, 503, away, `value="milk"`)(submit(t, site, "milk"))
	expect(t, 503, away)(get(t, site+"/api/todos"))
}

func TestTodosAreUnderMaintenanceOrBroken(t *testing.T) {
	bus := relaytest.Start(t)
	answer := &relay.Error{Code: relay.CodeUnavailable, Message: "under maintenance"}
	serveOnline(t, bus, relay.Service{Name: "todos", Version: "0.0.1", Handlers: map[string]relay.Handler{
		"list":   func(context.Context, *relay.Message) (any, error) { return nil, answer },
		"create": func(context.Context, *relay.Message) (any, error) { return nil, errors.New("disk full") },
	}})
	site := visit(t, bus, "0.0.2")
	expect(t, 503, "The service todos is being worked on")(get(t, site))
	expect(t, 502, "The service todos could not do it")(answerTo(t, "POST", site+"/api/todos", "application/json", `{"title": "milk"}`))
}

func TestOtherSitesCannotAddTodos(t *testing.T) {
	bus := relaytest.Start(t)
	kept := new(todos)
	serveOnline(t, bus, kept.service())
	site := visit(t, bus, "0.0.2")
	expect(t, 403)(answerTo(t, "POST", site+"/", "application/x-www-form-urlencoded", "title=spam", "Origin", "https://example.com"))
	if len(kept.kept) != 0 {
		t.Errorf("todos hold %v", kept.kept)
	}
}

func TestServeUntilStopped(t *testing.T) {
	server := relaytest.Start(t)
	t.Setenv(relay.EnvURL, server.URL())
	t.Setenv(relay.EnvVersion, "0.0.1")
	t.Setenv("WEB_LISTEN", "127.0.0.1:0")
	nc := server.Connect().Conn()
	if _, _, err := bus.MakeRoutes(t.Context(), nc, "", 1); err != nil {
		t.Fatal(err)
	}
	online, err := nc.SubscribeSync(protocol.ConfirmSubject("web", "*"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, "") }()
	if _, err := online.NextMsg(10 * time.Second); err != nil {
		t.Fatal(err)
	}

	var pong struct{ Version, URL string }
	if err := server.Connect().Request(t.Context(), "web.ping", nil, &pong, relay.ToVersion("0.0.1")); err != nil {
		t.Fatal(err)
	}
	if pong.Version != "0.0.1" {
		t.Errorf("web is %s, want 0.0.1", pong.Version)
	}
	expect(t, 503, "<title>Todo 0.0.1</title>")(get(t, pong.URL))
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := http.Get(pong.URL); err == nil {
		t.Error("the page is still there")
	}
}

func TestListen(t *testing.T) {
	log := zaptest.NewLogger(t)
	if taken, err := net.Listen("tcp", defaultAddress); err == nil {
		defer taken.Close() // else another program has it, which does as well
	}
	l, err := listen("", log)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a := l.Addr().(*net.TCPAddr); !a.IP.IsLoopback() || a.String() == defaultAddress {
		t.Errorf("listens on %s", a)
	}
	for _, refused := range []string{"0.0.0.0:0", ":0", "8080", l.Addr().String()} {
		if l, err := listen(refused, log); err == nil {
			l.Close()
			t.Errorf("listens on %s", refused)
		}
	}
}

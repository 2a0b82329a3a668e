package agent_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
)

// site answers one status after the other, and keeps when it was asked.
type site struct {
	*httptest.Server
	mu    sync.Mutex
	codes []int // the last one stays
	asked []time.Time
}

func newSite(t *testing.T, codes ...int) *site {
	s := &site{codes: codes}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		code := s.codes[0]
		if len(s.codes) > 1 {
			s.codes = s.codes[1:]
		}
		s.asked = append(s.asked, time.Now())
		if code >= 300 && code < 400 {
			w.Header().Set("Location", r.URL.Path+"x")
		}
		w.WriteHeader(code)
		_, _ = w.Write([]byte("all is well, secret"))
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *site) times() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func checking(c release.Check) release.Step { return release.Step{Name: "looks", Check: &c} }

func TestHTTPCheck(t *testing.T) {
	for name, c := range map[string]struct {
		codes []int
		check release.Check
		looks int    // at least, if it has to be well for a while
		error string // empty: well; URL stands for the site's
	}{
		"well":              {codes: []int{204}, looks: 1},
		"not well":          {codes: []int{503}, looks: 1, error: "GET URL/p answered 503, expected 200 to 299 (1 try)"},
		"well in time":      {codes: []int{503, 500, 200}, check: release.Check{Tries: 3}, looks: 3},
		"not well in time":  {codes: []int{503, 500, 404, 200}, check: release.Check{Tries: 3}, looks: 3, error: "GET URL/p answered 404, expected 200 to 299 (3 tries)"},
		"expected":          {codes: []int{404}, check: release.Check{Expect: 404}, looks: 1},
		"not expected":      {codes: []int{200}, check: release.Check{Expect: 404}, looks: 1, error: "GET URL/p answered 200, expected 404 (1 try)"},
		"contains":          {codes: []int{200}, check: release.Check{Contains: "is well"}, looks: 1},
		"does not contain":  {codes: []int{200}, check: release.Check{Contains: "ok"}, looks: 1, error: `GET URL/p answered 200, but without "ok" (1 try)`},
		"three redirects":   {codes: []int{301, 302, 307, 200}, looks: 4},
		"four redirects":    {codes: []int{301, 302, 307, 301, 200}, looks: 4, error: "GET URL/p answered 301, expected 200 to 299 (1 try)"},
		"expected redirect": {codes: []int{302, 200}, check: release.Check{Expect: 302}, looks: 1},
		"healthy for":       {codes: []int{200}, check: release.Check{HealthyFor: 500 * time.Millisecond, Pause: 100 * time.Millisecond}, looks: 2},
		"well, and then not": {
			codes: []int{200, 200, 503, 200}, check: release.Check{HealthyFor: 2 * time.Second, Pause: 100 * time.Millisecond, Tries: 2}, looks: 5,
		},
		"on and off": {
			codes: []int{200, 503, 200, 503, 200}, check: release.Check{HealthyFor: time.Minute, Tries: 2}, looks: 4,
			error: "GET URL/p answered 503, expected 200 to 299 (2 tries)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, c.codes...)
			if c.check.Pause == 0 {
				c.check.Pause = time.Millisecond
			}
			c.check.HTTP = s.URL + "/p?token=secret"
			h := newHost(t, checking(c.check))
			h.record()
			h.run(h.config())
			got := h.do("looks", false)
			want := strings.ReplaceAll(c.error, "URL", s.URL)
			at := s.times()
			lasting := c.check.HealthyFor > 0 && want == ""
			if got.Error != want || (got.Status == protocol.HostDone) != (want == "") || len(at) < c.looks || len(at) > c.looks && !lasting {
				t.Errorf("%+v, %d looks", got, len(at))
			}
			first := slices.Index(c.codes, 503) + 1                                         // that was well, and all behind it
			if lasting && at[len(at)-1].Sub(at[first])+c.check.Pause < c.check.HealthyFor { // the last look counts until its end
				t.Error("it was not well for so long")
			}
		})
	}
}

func TestHTTPCheckWithoutAnswer(t *testing.T) {
	hangs := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hangs }))
	defer s.Close()
	defer close(hangs)
	gone := httptest.NewServer(nil)
	gone.Close()
	h := newHost(t,
		release.Step{Name: "hangs", Check: &release.Check{HTTP: s.URL, Within: 100 * time.Millisecond, Tries: 2, Pause: time.Millisecond}},
		release.Step{Name: "gone", Check: &release.Check{HTTP: "http://user:secret@" + strings.TrimPrefix(gone.URL, "http://") + "/?token=secret"}},
		release.Step{Name: "odd", Check: &release.Check{HTTP: "http://[secret"}},
		release.Step{Name: "waits", Check: &release.Check{HTTP: gone.URL, Tries: 1000, Pause: time.Hour}},
	)
	h.record()
	a := h.run(h.config())
	if got := h.do("hangs", false); got.Error != "GET "+s.URL+": no answer within 100ms (2 tries)" {
		t.Errorf("%+v", got)
	}
	if got := h.do("gone", false); !strings.Contains(got.Error, "refused") || strings.Contains(got.Error, "secret") {
		t.Errorf("%+v", got)
	}
	if got := h.do("odd", false); got.Error == "" || strings.Contains(got.Error, "secret") {
		t.Errorf("%+v", got)
	}
	if code := h.tell("run", h.order("waits")); code != "" {
		t.Fatal(code)
	}
	must(t, a.end(t)) // a pause is broken off
	if got := h.await(h.key(4, false), ended); got.Error != "cancelled: the agent was stopped" {
		t.Errorf("%+v", got)
	}
}

func TestProgramCheck(t *testing.T) {
	h := newHost(t,
		release.Step{Name: "args", Check: &release.Check{Args: []string{"sh", "-c", "echo >>ran; echo $#; test $(wc -l <ran) -ge 3"}, Tries: 3, Pause: time.Millisecond}},
		release.Step{Name: "shell", Check: &release.Check{Shell: "echo $#; exit 2", Tries: 2, Pause: time.Millisecond}},
		release.Step{Name: "slow", Check: &release.Check{Shell: "sleep 60", Within: 100 * time.Millisecond}},
	)
	h.record()
	h.run(h.config())
	if got := h.do("args", false); got.Status != protocol.HostDone || *got.Exit != 0 || got.Output != "0\n0\n0" {
		t.Errorf("%+v", got)
	}
	if got := h.do("shell", false); got.Error != "exit code 2 (2 tries)" || *got.Exit != 2 || got.Output != "0\n0" {
		t.Errorf("%+v", got)
	}
	if got := h.do("slow", false); got.Error != "the program has not ended within 100ms (1 try)" || got.Exit != nil {
		t.Errorf("%+v", got)
	}
}

func TestMessageCheck(t *testing.T) {
	h := newHost(t,
		release.Step{Name: "well", Check: &release.Check{Message: "todos.count", Payload: `{"of":"all"}`, Contains: `"of":"all"`}},
		release.Step{Name: "without", Check: &release.Check{Message: "todos.count", Contains: "nothing"}},
		release.Step{Name: "in-time", Check: &release.Check{Message: "todos.flaky", Tries: 3, Pause: time.Millisecond, HealthyFor: 50 * time.Millisecond}},
		release.Step{Name: "error", Check: &release.Check{Message: "todos.breaks"}},
		release.Step{Name: "unknown", Check: &release.Check{Message: "todos.lists.unknown"}},
		release.Step{Name: "service", Check: &release.Check{Message: "other.count"}},
	)
	var calls atomic.Int64
	serve := func(version, answer string) {
		h.bus.Serve(relay.Service{Name: "todos", Version: version, Handlers: map[string]relay.Handler{
			"count": func(_ context.Context, m *relay.Message) (any, error) {
				return map[string]string{"version": answer, "got": string(m.Data)}, nil
			},
			"flaky": func(context.Context, *relay.Message) (any, error) {
				if calls.Add(1) < 3 {
					return nil, &relay.Error{Code: "500", Message: "not yet"}
				}
				return "ok", nil
			},
			"breaks": func(context.Context, *relay.Message) (any, error) {
				return nil, &relay.Error{Code: "409", Message: "no such list"}
			},
		}})
	}
	serve("1.1.0", "old")
	serve("1.2.0", "new")
	h.manifest.Steps[0].Check.Contains = `"version":"new"`
	h.matches()
	h.record()
	h.run(h.config())
	for step, want := range map[string]string{
		"well":    "",
		"without": `message todos.count to todos 1.2.0 was answered without "nothing" (1 try)`,
		"in-time": "",
		"error":   "message todos.breaks to todos 1.2.0 was answered with an error: 409 no such list (1 try)",
		"unknown": "message todos.lists.unknown to todos 1.2.0: nobody listens (1 try)",
		"service": "message other.count: the release has no service other (1 try)",
	} {
		if got := h.do(step, false); got.Error != want || (got.Status == protocol.HostDone) != (want == "") {
			t.Errorf("%s: %+v", step, got)
		}
	}
	if calls.Load() < 4 {
		t.Error(calls.Load(), "calls")
	}
}

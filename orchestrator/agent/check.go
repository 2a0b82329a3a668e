package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/relay/protocol"
)

// What a check does unless its manifest says otherwise.
const (
	defaultTries  = 1
	defaultPause  = time.Second
	defaultWithin = 10 * time.Second
)

const (
	maxBody      = 1 << 20 // bytes of an answer that are looked at
	maxRedirects = 3
)

// check looks until it has been well for long enough, or until too many looks were not. The
// error tells what was seen last.
func (d *execution) check(ctx context.Context) error {
	c := *d.step.Check
	tries, pause := cmp.Or(c.Tries, defaultTries), cmp.Or(c.Pause, defaultPause)
	var well time.Time // since when it has been, without a break
	for failed := 0; ; {
		err := d.look(ctx, c)
		now := time.Now()
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			well = time.Time{}
			if failed++; failed >= tries {
				return fmt.Errorf("%w (%s)", err, count(failed, "try", "tries"))
			}
		case well.IsZero():
			well = now
		}
		wait := pause
		if !well.IsZero() {
			left := c.HealthyFor - now.Sub(well)
			if left <= 0 {
				return nil
			}
			wait = min(wait, left)
		}
		if rest(ctx, wait); ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// look looks once. The error tells what is not well.
func (d *execution) look(ctx context.Context, c release.Check) error {
	within := cmp.Or(c.Within, defaultWithin)
	late := fmt.Errorf("no answer within %s", within)
	ctx, cancel := context.WithTimeoutCause(ctx, within, late)
	defer cancel()
	switch {
	case c.HTTP != "":
		return get(ctx, c, late)
	case c.Message != "":
		return d.send(ctx, c, late)
	}
	code, err := d.program(ctx, line(c.Args, c.Shell))
	d.exit = nil
	switch {
	case errors.Is(err, late):
		return fmt.Errorf("the program has not ended within %s", within)
	case err != nil:
		return err
	case code != 0:
		d.exit = &code
		return fmt.Errorf("exit code %d", code)
	}
	d.exit = &code
	return nil
}

// get looks at a URL. Neither password nor body is in the error.
func get(ctx context.Context, c release.Check, late error) error {
	what := "GET " + redact(c.HTTP)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.HTTP, nil)
	if err != nil {
		return fmt.Errorf("%s: the URL cannot be used", what)
	}
	request.Header.Set("User-Agent", "golive")
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}
	client := http.Client{Transport: transport, CheckRedirect: func(_ *http.Request, via []*http.Request) error {
		if c.Expect >= 300 && c.Expect < 400 || len(via) > maxRedirects {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("%s: %w", what, reason(ctx, err, late))
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return fmt.Errorf("%s answered %d, and then: %w", what, response.StatusCode, reason(ctx, err, late))
	}
	switch code := response.StatusCode; {
	case c.Expect != 0 && code != c.Expect:
		return fmt.Errorf("%s answered %d, expected %d", what, code, c.Expect)
	case c.Expect == 0 && (code < 200 || code > 299):
		return fmt.Errorf("%s answered %d, expected 200 to 299", what, code)
	case !strings.Contains(string(body), c.Contains):
		return fmt.Errorf("%s answered %d, but without %q", what, code, c.Contains)
	}
	return nil
}

func redact(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "a URL that cannot be read"
	}
	u.RawQuery, u.Fragment = "", ""
	return u.Redacted()
}

// reason is why a look has no answer, without the URL that http's own errors repeat.
func reason(ctx context.Context, err, late error) error {
	if errors.Is(context.Cause(ctx), late) {
		return late
	}
	if u := new(url.Error); errors.As(err, &u) {
		return u.Err
	}
	return err
}

// send looks at the answer to a message, of the version that the release brings.
func (d *execution) send(ctx context.Context, c release.Check, late error) error {
	service, message, _ := strings.Cut(c.Message, ".")
	version := ""
	for _, s := range d.manifest.Services {
		if s.Name == service {
			version = s.Version
		}
	}
	if version == "" {
		return fmt.Errorf("message %s: the release has no service %s", c.Message, service)
	}
	what := fmt.Sprintf("message %s to %s %s", c.Message, service, version)
	m := &nats.Msg{Subject: protocol.PrivateSubject(service, version, message), Data: []byte(c.Payload)}
	answer, err := d.agent.c.Conn.RequestMsgWithContext(ctx, m)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return fmt.Errorf("%s: nobody listens", what)
	case err != nil && errors.Is(context.Cause(ctx), late):
		return fmt.Errorf("%s: %w", what, late)
	case err != nil:
		return fmt.Errorf("%s: %w", what, err)
	}
	code, text := answer.Header.Get(protocol.HeaderErrorCode), answer.Header.Get(protocol.HeaderError)
	switch {
	case code != "" || text != "":
		return fmt.Errorf("%s was answered with an error: %s", what, strings.TrimSpace(code+" "+text))
	case !strings.Contains(string(answer.Data), c.Contains):
		return fmt.Errorf("%s was answered without %q", what, c.Contains)
	}
	return nil
}

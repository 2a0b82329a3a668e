package rehearsal

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay"
)

// Limits of a load.
const (
	MaxLoad      = 1000    // requests in a file
	MaxLoadLine  = 1 << 20 // bytes of one
	DefaultEvery = 100 * time.Millisecond
	MinEvery     = time.Millisecond
	MaxEvery     = time.Minute
	MaxErrors    = 5 // different errors of a service that are kept
	answerWithin = 5 * time.Second
)

// Load is one request that is sent again and again.
type Load struct {
	Message string           `json:"message"` // "todos.list"
	Payload json.RawMessage  `json:"payload,omitempty"`
	Every   rollout.Duration `json:"every,omitempty"` // between two of them, from [MinEvery] to [MaxEvery]; 0: [DefaultEvery]. One that is not answered yet is waited for
}

// ReadLoad reads a load: a request on each line, in JSON; empty lines do not count. The errors name
// the line.
func ReadLoad(r io.Reader) ([]Load, error) {
	var all []Load
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, MaxLoadLine)
	for n := 1; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		if len(all) == MaxLoad {
			return nil, fmt.Errorf("line %d: at most %d requests are allowed", n, MaxLoad)
		}
		d := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		d.DisallowUnknownFields()
		var l Load
		if err := d.Decode(&l); err != nil {
			return nil, fmt.Errorf(`line %d: it is no request like {"message": "todos.list", "payload": {}, "every": "100ms"}: %w`, n, err)
		}
		every := cmp.Or(time.Duration(l.Every), DefaultEvery)
		service, message, _ := strings.Cut(l.Message, ".")
		switch {
		case service == "" || message == "" || strings.ContainsAny(l.Message, "*> \t"):
			return nil, fmt.Errorf("line %d: %q is no message of a service, like todos.list", n, rollout.Clip(l.Message))
		case every < MinEvery || every > MaxEvery:
			return nil, fmt.Errorf("line %d: every is %s, it must be from %s to %s", n, every, MinEvery, MaxEvery)
		}
		l.Every = rollout.Duration(every)
		all = append(all, l)
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return nil, fmt.Errorf("a line has more than %d bytes", MaxLoadLine)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, errors.New("there is no request in it")
	}
	return all, nil
}

// Seen is what callers of a service have seen.
type Seen struct {
	Service     string           `json:"service"`
	Sent        int              `json:"sent"` // that have ended
	Answered    int              `json:"answered"`
	Maintenance int              `json:"maintenance"` // were told to come back later
	Errors      int              `json:"errors"`      // all others
	Kinds       []SeenError      `json:"kinds"`       // of errors, the first few
	Slowest     rollout.Duration `json:"slowest"`     // answer
	Silence     rollout.Duration `json:"silence"`     // the longest time without an answer, also from the first request on and until the last
}

// SeenError is an error, and how often callers have seen it.
type SeenError struct {
	Error string `json:"error"`
	Times int    `json:"times"`
}

// SendLoad sends a load until ctx ends, each request in a goroutine of its own, which it waits
// for. It gives what callers have seen, by service.
func SendLoad(ctx context.Context, r *relay.Relay, load []Load) []Seen {
	began := time.Now()
	seen := make(map[string]*callers)
	var sending sync.WaitGroup
	for _, l := range load {
		service, _, _ := strings.Cut(l.Message, ".")
		if seen[service] == nil {
			seen[service] = &callers{Seen: Seen{Service: service, Kinds: []SeenError{}}, last: began}
		}
		sending.Go(func() { seen[service].send(ctx, r, l) })
	}
	sending.Wait()
	var all []Seen
	for _, c := range seen {
		c.silent(time.Now())
		all = append(all, c.Seen)
	}
	slices.SortFunc(all, func(a, b Seen) int { return strings.Compare(a.Service, b.Service) })
	return all
}

// callers are those of one service.
type callers struct {
	mu sync.Mutex
	Seen
	last time.Time // when an answer came last
}

func (c *callers) send(ctx context.Context, r *relay.Relay, l Load) {
	tick := time.NewTicker(time.Duration(l.Every))
	defer tick.Stop()
	for ctx.Err() == nil {
		began := time.Now()
		asking, cancel := context.WithTimeout(ctx, answerWithin)
		err := r.Request(asking, l.Message, l.Payload, nil)
		cancel()
		if ctx.Err() != nil {
			return // it was ended, and not answered
		}
		c.note(began, time.Now(), err)
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// note takes down how a request has ended.
func (c *callers) note(began, ended time.Time, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Sent++
	switch {
	case err == nil:
		c.Answered++
		c.Slowest = max(c.Slowest, rollout.Duration(ended.Sub(began).Round(time.Microsecond)))
		c.silent(ended)
		c.last = ended
	case errors.Is(err, relay.ErrMaintenance):
		c.Maintenance++
	default:
		c.Errors++
		c.kind(rollout.Clip(err.Error()))
	}
}

func (c *callers) kind(text string) {
	i := slices.IndexFunc(c.Kinds, func(k SeenError) bool { return k.Error == text })
	switch {
	case i >= 0:
		c.Kinds[i].Times++
	case len(c.Kinds) < MaxErrors:
		c.Kinds = append(c.Kinds, SeenError{text, 1})
	}
}

// silent takes down that there was no answer until now.
func (c *callers) silent(now time.Time) {
	c.Silence = max(c.Silence, rollout.Duration(now.Sub(c.last).Round(time.Millisecond)))
}

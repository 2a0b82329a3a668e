package spec

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
)

// Double stands for one version of a service: it holds entries, which are JSON
// objects, and answers the messages it is given here, one at a time. A scenario has
// those doubles that it names.
//
// It serves through the relay like a real service. The double of the version that is
// set up answers at its private address only until the rollout puts it online; every
// other one is in production from the start, also an older version of the same
// service, which serves until then.
type Double struct {
	Name    string // what features call it, one word; required
	Service string // what the bus calls it; empty: Name
	Version string // required

	List   string // message answered with all entries, as a JSON array or, to who asks so, as a stream; empty: none
	Add    string // message whose payload, an object or an array of them, is kept; empty: none
	Remove string // message that drops the entries which have all fields of its payload, so {} drops all; empty: none

	Handlers map[string]relay.Handler // further messages, by name

	// Entry makes an entry of a table's row, by field. Nil: the entry has the row's
	// fields, as strings.
	Entry func(row map[string]string) any
}

func (d Double) check() error {
	switch {
	case d.Name == "" || strings.ContainsAny(d.Name, " \t\n"):
		return fmt.Errorf("double %q: its Name must be one word", d.Name)
	case len(d.handlers(&entries{})) == 0:
		return fmt.Errorf("double %s answers no message: give List, Add, Remove or Handlers", d.Name)
	}
	for _, m := range []string{d.List, d.Add, d.Remove} {
		if _, twice := d.Handlers[m]; twice {
			return fmt.Errorf("double %s answers %s twice: leave it out of Handlers, or do not say List, Add or Remove", d.Name, m)
		}
	}
	if err := protocol.ValidateName(d.Service); err != nil {
		return fmt.Errorf("double %s: %w", d.Name, err)
	}
	if err := protocol.ValidateVersion(d.Version); err != nil {
		return fmt.Errorf("double %s: %w", d.Name, err)
	}
	return nil
}

func (d Double) handlers(h *entries) map[string]relay.Handler {
	all := make(map[string]relay.Handler)
	for message, handler := range d.Handlers {
		all[message] = unlessSettling(handler)
	}
	for message, handler := range map[string]relay.Handler{d.List: h.list, d.Add: h.add, d.Remove: h.remove} {
		if message != "" {
			all[message] = unlessSettling(handler)
		}
	}
	return all
}

// streams are the messages that are answered as a stream as well.
func (d Double) streams(h *entries) map[string]relay.StreamHandler {
	if d.List == "" {
		return nil
	}
	return map[string]relay.StreamHandler{d.List: h.stream}
}

// entry makes an entry of a row of a table.
func (d Double) entry(row map[string]string) (entry, error) {
	var made any = row
	if d.Entry != nil {
		made = d.Entry(row)
	}
	data, err := json.Marshal(made)
	if err != nil {
		return nil, fmt.Errorf("entry of %s: %w", d.Name, err)
	}
	e, err := readEntry(data)
	if err != nil {
		return nil, fmt.Errorf("entry of %s: Entry must make %w", d.Name, err)
	}
	return e, nil
}

// entries are those of a double. It is safe for concurrent use.
type entries struct {
	mu      sync.Mutex
	entries []entry
}

func (h *entries) all() []entry {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]entry{}, h.entries...)
}

func (h *entries) keep(e entry) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.entries = append(h.entries, e)
}

func (h *entries) list(context.Context, *relay.Message) (any, error) { return h.all(), nil }

// stream gives the entries from behind the one whose number the cursor is.
func (h *entries) stream(_ context.Context, m *relay.Message, out *relay.Sender) error {
	all, first := h.all(), 0
	if m.Cursor != "" {
		var err error
		if first, err = strconv.Atoi(m.Cursor); err != nil || first < 0 || first > len(all) {
			return &relay.Error{Code: relay.CodeBadRequest, Message: fmt.Sprintf("%s has no entry %q", m.Name, m.Cursor)}
		}
	}
	out.Total(int64(len(all)))
	for i, e := range all[first:] {
		if err := out.Send(e, strconv.Itoa(first+i+1)); err != nil {
			return err
		}
	}
	return nil
}

func (h *entries) add(_ context.Context, m *relay.Message) (any, error) {
	parts := []json.RawMessage{m.Data}
	if bytes.HasPrefix(bytes.TrimSpace(m.Data), []byte("[")) {
		if err := m.Decode(&parts); err != nil {
			return nil, err
		}
	}
	var entries []entry
	for _, part := range parts {
		e, err := readEntry(part)
		if err != nil {
			return nil, &relay.Error{Code: relay.CodeBadRequest, Message: fmt.Sprintf("%s takes an entry: %v", m.Name, err)}
		}
		entries = append(entries, e)
	}
	for _, e := range entries {
		h.keep(e)
	}
	return nil, nil
}

func (h *entries) remove(_ context.Context, m *relay.Message) (any, error) {
	like, err := readEntry(m.Data)
	if err != nil {
		return nil, &relay.Error{Code: relay.CodeBadRequest, Message: fmt.Sprintf("%s takes the fields of the entries to remove: %v", m.Name, err)}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.entries = slices.DeleteFunc(h.entries, func(e entry) bool {
		for field, value := range like {
			if text(e.field(field)) != text(value) {
				return false
			}
		}
		return true
	})
	return nil, nil
}

// readEntry reads a JSON object; its numbers stay as they are written.
func readEntry(data []byte) (entry, error) {
	var e entry
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(&e); err != nil {
		return nil, fmt.Errorf("a JSON object: %w", err)
	}
	if e == nil {
		return nil, errors.New("a JSON object, not null")
	}
	return e, nil
}

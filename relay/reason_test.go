package relay_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

// Callers know maintenance, and that no version is online, by a header: the text is for
// people.
func TestTheReasonOfARefusalIsAHeader(t *testing.T) {
	bus := relaytest.Start(t)
	r := bus.Connect()
	answers := make(chan *nats.Msg, 1)
	_, err := r.Conn().Subscribe("todos.say", func(m *nats.Msg) {
		answer := <-answers
		answer.Subject = m.Reply
		if err := m.RespondMsg(answer); err != nil {
			t.Error(err)
		}
	})
	must(t, err)
	for _, tt := range []struct {
		code, text, reason string
		maintenance, none  bool
	}{
		{"503", "under maintenance", "maintenance", true, false},
		{"503", "wir sind gleich wieder da", "maintenance", true, false},
		{"503", "", "maintenance", true, false},
		{"503", "under maintenance", "", false, false},
		{"503", "under maintenance", "a reason of tomorrow", false, false},
		{"500", "under maintenance", "maintenance", false, false},
		{"503", "no version of the service is online", "no-version", false, true},
		{"503", "niemand ist da", "no-version", false, true},
		{"503", "no version of the service is online", "", false, false},
	} {
		h := nats.Header{"Nats-Service-Error-Code": {tt.code}, "Nats-Service-Error": {tt.text}}
		if tt.reason != "" {
			h.Set("Golive-Reason", tt.reason)
		}
		answers <- &nats.Msg{Header: h}
		_, err := ask(t, r, "todos.say")
		if errors.Is(err, relay.ErrMaintenance) != tt.maintenance || errors.Is(err, relay.ErrNobodyListens) != tt.none {
			t.Errorf("%+v is taken for maintenance: %t, for nobody: %t", tt,
				errors.Is(err, relay.ErrMaintenance), errors.Is(err, relay.ErrNobodyListens))
		}
	}
}

// A handler has seen the request, whatever it answers: so its own 503 is not waited out as
// maintenance, not even when it passes on that another service is under maintenance.
func TestAHandlersAnswerIsNeverTakenForARefusal(t *testing.T) {
	bus := relaytest.Start(t)
	r := bus.Connect()
	confirmed := listenToConfirmations(t, r, "todos")
	bus.Serve(says("todos", "0.0.1", "old"))
	confirmed.await(writeRoute(t, r, protocol.Route{
		Service: "todos", Versions: []protocol.RouteVersion{{Version: "0.0.1", State: protocol.StateOnline}},
		Maintenance: &protocol.Maintenance{RetryAfter: protocol.Duration(7 * time.Second)},
	}), protocol.StateOnline)
	_, maintenance := ask(t, r, "todos.say")
	if !errors.Is(maintenance, relay.ErrMaintenance) {
		t.Fatalf("under maintenance: %v", maintenance)
	}
	bus.Serve(relay.Service{
		Name: "web", Version: "0.0.1",
		Handlers: map[string]relay.Handler{
			"closed": func(context.Context, *relay.Message) (any, error) {
				return nil, &relay.Error{Code: relay.CodeUnavailable, Message: "under maintenance"}
			},
			"pass": func(context.Context, *relay.Message) (any, error) { return nil, maintenance },
		},
		Streams: map[string]relay.StreamHandler{
			"list": func(context.Context, *relay.Message, *relay.Sender) error { return maintenance },
		},
	})
	here := relay.ToVersion("0.0.1")
	for _, message := range []string{"web.closed", "web.pass"} {
		_, err := ask(t, r, message, here, relay.AwaitMaintenance()) // it would wait for ever
		mustBePlain(t, message, err)
	}
	for _, err := range r.Stream(within(t, patience), "web.list", nil, here, relay.AwaitMaintenance()) {
		mustBePlain(t, "web.list", err)
	}
}

// mustBePlain fails the test unless an error is the 503 of a handler.
func mustBePlain(t *testing.T, message string, err error) {
	t.Helper()
	var answered *relay.Error
	if !errors.As(err, &answered) || answered.Code != relay.CodeUnavailable || errors.Is(err, relay.ErrMaintenance) || errors.Is(err, relay.ErrNobodyListens) {
		t.Errorf("%s: %v", message, err)
	}
}

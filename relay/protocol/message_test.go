package protocol_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/golive-dev/golive/relay/protocol"
)

var (
	moment = time.Date(2026, 11, 20, 10, 15, 0, 0, time.UTC)
	no     = false
	some   = int64(512)
)

// Every payload as README.md writes it. Changing one is a breaking change.
func TestPayloads(t *testing.T) {
	tests := []struct {
		value any
		json  string
	}{
		{
			protocol.StartMessage{
				Rollout: rollout, Step: "todo-search/offline", Attempt: 1, App: "todo-app", AppVersion: "0.0.2",
				Service: "todo-search", Version: "0.0.1", Phase: protocol.Offline, Deadline: moment, Heartbeat: protocol.Duration(5 * time.Second),
				Services: map[string]string{"todo-search": "0.0.1"},
			},
			`{"rollout":"` + rollout + `","step":"todo-search/offline","attempt":1,"app":"todo-app","appVersion":"0.0.2",` +
				`"service":"todo-search","version":"0.0.1","phase":"offline","revert":false,"deadline":"2026-11-20T10:15:00Z",` +
				`"heartbeat":"5s","services":{"todo-search":"0.0.1"}}`,
		},
		{
			protocol.StartMessage{Rollout: rollout, Step: "todo-app/setup", Attempt: 2, App: "todo-app", AppVersion: "0.0.2", Phase: protocol.Setup, Revert: true, Heartbeat: protocol.Duration(5 * time.Second)},
			`{"rollout":"` + rollout + `","step":"todo-app/setup","attempt":2,"app":"todo-app","appVersion":"0.0.2","phase":"setup","revert":true,"heartbeat":"5s"}`,
		},
		{
			protocol.StartMessage{
				Rollout: rollout, Step: "todo-search/offline", Attempt: 1, App: "todo-app", AppVersion: "0.0.2", Service: "todo-search",
				Version: "0.0.1", Phase: protocol.Offline, Deadline: moment, Left: protocol.Until(moment, moment.Add(-90*time.Second)),
			},
			`{"rollout":"` + rollout + `","step":"todo-search/offline","attempt":1,"app":"todo-app","appVersion":"0.0.2",` +
				`"service":"todo-search","version":"0.0.1","phase":"offline","revert":false,"deadline":"2026-11-20T10:15:00Z","left":"1m30s"}`,
		},
		{
			protocol.ControlMessage{Rollout: rollout, Attempt: 1, Deadline: moment, Left: protocol.Until(moment, moment.Add(time.Hour))},
			`{"rollout":"` + rollout + `","attempt":1,"deadline":"2026-11-20T10:15:00Z","left":"1ms"}`,
		},
		{
			protocol.ControlMessage{Rollout: rollout, Attempt: 1, Left: protocol.Until(time.Time{}, moment)},
			`{"rollout":"` + rollout + `","attempt":1}`,
		},
		{protocol.Answer{}, `{}`},
		{
			protocol.Answer{Rollout: rollout, Attempt: 1, Done: true, Items: 1204, Note: "indexed", Digest: "sha256:00"},
			`{"rollout":"` + rollout + `","attempt":1,"done":true,"items":1204,"note":"indexed","digest":"sha256:00"}`,
		},
		{
			protocol.Answer{Rollout: rollout, Attempt: 1, Error: &protocol.ScriptError{Code: "failed", Message: "disk full", Retry: &no}},
			`{"rollout":"` + rollout + `","attempt":1,"error":{"code":"failed","message":"disk full","retry":false}}`,
		},
		{protocol.Lease{Version: "0.0.2"}, `{"version":"0.0.2"}`},
		{protocol.Lease{Version: "0.0.2", Host: "web-1", PID: 4711}, `{"version":"0.0.2","host":"web-1","pid":4711}`},
		{protocol.ProgressMessage{Rollout: rollout, Attempt: 1}, `{"rollout":"` + rollout + `","attempt":1}`},
		{
			protocol.ProgressMessage{Rollout: rollout, Attempt: 1, Done: &some, Total: 1204, Note: "indexing"},
			`{"rollout":"` + rollout + `","attempt":1,"done":512,"total":1204,"note":"indexing"}`,
		},
		{
			protocol.LogLine{Step: "todo-search/offline", Attempt: 1, Time: moment, Level: "info", Text: "half way"},
			`{"step":"todo-search/offline","attempt":1,"time":"2026-11-20T10:15:00Z","level":"info","text":"half way"}`,
		},
		{protocol.Accepted{Accepted: &no, Reason: "stale"}, `{"accepted":false,"reason":"stale"}`},
		{protocol.ServiceError{Code: "invalid", Message: "no id", Hint: "make one"}, `{"code":"invalid","message":"no id","hint":"make one"}`},
		{
			protocol.ServiceError{Code: "no_revert", Message: "nobody listens", Unheard: []string{"deployment-todos-0.0.1-online-revert-start"}},
			`{"code":"no_revert","message":"nobody listens","unheard":["deployment-todos-0.0.1-online-revert-start"]}`,
		},
		{
			protocol.Wanted{Starts: []string{"deployment-todos-0.0.1-online-revert-start", "shop-1.0.0-setup-revert-start"}},
			`{"starts":["deployment-todos-0.0.1-online-revert-start","shop-1.0.0-setup-revert-start"]}`,
		},
		{protocol.Starting{Starts: []string{}}, `{"starts":[]}`},
		{
			protocol.Route{Service: "todos", Rollout: rollout, Sequence: 7, Versions: []protocol.RouteVersion{{Version: "0.0.1", State: protocol.StateFenced}, {Version: "0.0.2", State: protocol.StateOnline}}},
			`{"service":"todos","rollout":"` + rollout + `","sequence":7,"versions":[{"version":"0.0.1","state":"fenced"},{"version":"0.0.2","state":"online"}]}`,
		},
		{
			protocol.Route{Service: "todos", Rollout: rollout, Versions: []protocol.RouteVersion{}, Maintenance: &protocol.Maintenance{Since: moment, RetryAfter: protocol.Duration(30 * time.Second)}},
			`{"service":"todos","rollout":"` + rollout + `","versions":[],"maintenance":{"since":"2026-11-20T10:15:00Z","retryAfter":"30s"}}`,
		},
		{protocol.Confirmation{Revision: 3, State: protocol.StateOffline, Version: "0.0.1"}, `{"revision":3,"state":"offline","version":"0.0.1"}`},
		{
			protocol.Confirmation{Revision: 3, State: protocol.StateOnline, Version: "0.0.1", Unleased: protocol.Duration(25 * time.Second), Address: true},
			`{"revision":3,"state":"online","version":"0.0.1","unleased":"25s","address":true}`,
		},
	}
	for _, tt := range tests {
		data, err := json.Marshal(tt.value)
		if err != nil || string(data) != tt.json {
			t.Errorf("%T is written\n%s\nwant\n%s\nerror %v", tt.value, data, tt.json, err)
		}
		back := reflect.New(reflect.TypeOf(tt.value))
		if err := json.Unmarshal([]byte(tt.json), back.Interface()); err != nil || !reflect.DeepEqual(back.Elem().Interface(), tt.value) {
			t.Errorf("%s is read\n%+v\nwant\n%+v\nerror %v", tt.json, back.Elem(), tt.value, err)
		}
	}
}

func TestAReplyOfAStreamIsNotAccepted(t *testing.T) {
	var a protocol.Accepted
	if err := json.Unmarshal([]byte(`{"stream":"GOLIVE","seq":12}`), &a); err != nil || a.Accepted != nil {
		t.Errorf("accepted %v, error %v", a.Accepted, err)
	}
}

func TestTheScriptOfAStart(t *testing.T) {
	m := protocol.StartMessage{App: "todo-app", AppVersion: "0.0.2", Service: "todos", Version: "0.0.1", Phase: protocol.Online}
	if got, want := m.Script(), (protocol.Script{Name: "todos", Version: "0.0.1", Phase: protocol.Online}); got != want {
		t.Errorf("script %v, want %v", got, want)
	}
	m.Phase = protocol.Setup
	if got, want := m.Script(), (protocol.Script{Name: "todo-app", Version: "0.0.2", Phase: protocol.Setup}); got != want {
		t.Errorf("script %v, want %v", got, want)
	}
}

func TestErrorsReadAsSentences(t *testing.T) {
	for want, err := range map[string]error{
		"disk full":         &protocol.ScriptError{Message: "disk full"},
		"failed: disk full": &protocol.ScriptError{Code: "failed", Message: "disk full"},
		"no such rollout":   &protocol.ServiceError{Code: "not_found", Message: "no such rollout", Hint: "golive list"},
	} {
		if err.Error() != want {
			t.Errorf("%q, want %q", err, want)
		}
	}
}

func TestTheStateOfAVersionInARoute(t *testing.T) {
	r := protocol.Route{Versions: []protocol.RouteVersion{
		{Version: "0.0.1", State: protocol.StateDraining}, {Version: "0.0.2", State: protocol.StateOnline}, {Version: "0.0.3", State: protocol.StateOnline},
	}}
	for version, want := range map[string]protocol.VersionState{
		"0.0.1": protocol.StateDraining, "0.0.2": protocol.StateOnline, "0.0.4": protocol.StateOffline, "": protocol.StateOffline,
	} {
		if got := r.State(version); got != want {
			t.Errorf("version %q is %s, want %s", version, got, want)
		}
	}
	if got := r.Online(); !reflect.DeepEqual(got, []string{"0.0.2", "0.0.3"}) {
		t.Errorf("online are %v", got)
	}
	if none := (protocol.Route{}); none.State("0.0.1") != protocol.StateOffline || none.Online() != nil {
		t.Errorf("the zero route lists %v", none.Online())
	}
}

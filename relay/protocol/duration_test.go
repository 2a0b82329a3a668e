package protocol_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/golive-dev/golive/relay/protocol"
)

func TestDurationsAreText(t *testing.T) {
	for d, want := range map[time.Duration]string{0: `"0s"`, 5 * time.Second: `"5s"`, 90 * time.Second: `"1m30s"`, 1500 * time.Millisecond: `"1.5s"`} {
		data, err := json.Marshal(protocol.Duration(d))
		if err != nil || string(data) != want {
			t.Errorf("%s is written %s, want %s, error %v", d, data, want, err)
		}
		var back protocol.Duration
		if err := json.Unmarshal(data, &back); err != nil || time.Duration(back) != d {
			t.Errorf("%s is read %s, error %v", data, time.Duration(back), err)
		}
	}
	for _, wrong := range []string{`5`, `"5"`, `"soon"`, `""`} {
		var d protocol.Duration
		if err := json.Unmarshal([]byte(wrong), &d); err == nil {
			t.Errorf("%s is read %s", wrong, time.Duration(d))
		}
	}
}

// A start and a route of before have other names for their durations. They say nothing then,
// which has a meaning of its own: the usual time of a script, no time for callers.
func TestDurationsOfBeforeAreNotTaken(t *testing.T) {
	var m protocol.StartMessage
	if err := json.Unmarshal([]byte(`{"heartbeatSeconds":1}`), &m); err != nil || m.Heartbeat != 0 {
		t.Errorf("the heartbeat is %s, error %v", time.Duration(m.Heartbeat), err)
	}
	var route protocol.Route
	err := json.Unmarshal([]byte(`{"service":"todos","maintenance":{"since":"2026-11-20T10:15:00Z","retryAfterSeconds":30}}`), &route)
	if err != nil || route.Maintenance == nil || route.Maintenance.RetryAfter != 0 {
		t.Errorf("the route is %+v, error %v", route, err)
	}
}

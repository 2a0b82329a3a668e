package relay_test

import (
	"reflect"
	"testing"

	"github.com/golive-dev/golive/relay"
)

// An option that would do nothing does not compile.
func TestOptionsFitWhereTheyHaveAnEffect(t *testing.T) {
	for name, tt := range map[string]struct {
		option                any
		send, request, stream bool
	}{
		"ToVersion":        {relay.ToVersion, true, true, true},
		"MessageID":        {relay.MessageID, true, true, true},
		"AwaitMaintenance": {relay.AwaitMaintenance, false, true, true},
		"After":            {relay.After, false, false, true},
		"TotalTo":          {relay.TotalTo, false, false, true},
	} {
		kind := reflect.TypeOf(tt.option).Out(0)
		send, request, stream := kind.Implements(reflect.TypeFor[relay.SendOption]()),
			kind.Implements(reflect.TypeFor[relay.RequestOption]()), kind.Implements(reflect.TypeFor[relay.StreamOption]())
		if send != tt.send || request != tt.request || stream != tt.stream {
			t.Errorf("%s fits Send: %t, Request: %t, Stream: %t", name, send, request, stream)
		}
	}
}

package protocol_test

import (
	"errors"
	"math"
	"strconv"
	"testing"

	"github.com/golive-dev/golive/relay/protocol"
)

// notNumbers are texts that stand where a number from 1 is expected, and are none.
var notNumbers = []string{
	"", "0", "-1", "+1", "01", "1.0", "1e0", "0x1", " 1", "1 ", "1\n", "1_0", "abc", "null", "true", "١",
	"18446744073709551616", "99999999999999999999999",
}

func TestNumbersAreWrittenOneWay(t *testing.T) {
	for _, text := range notNumbers {
		if n, ok := protocol.ParseNumber(text); ok {
			t.Errorf("%q is taken as %d", text, n)
		}
		var invalid *protocol.InvalidError
		if n, err := protocol.ParseAttempt(text); n != 0 || !errors.As(err, &invalid) || invalid.Value != text {
			t.Errorf("%q is taken as attempt %d, %v", text, n, err)
		}
	}
	for text, want := range map[string]uint64{"1": 1, "10": 10, "18446744073709551615": math.MaxUint64} {
		if n, ok := protocol.ParseNumber(text); !ok || n != want {
			t.Errorf("%q is taken as %d, %t", text, n, ok)
		}
	}
	if n, err := protocol.ParseAttempt(strconv.Itoa(math.MaxInt)); err != nil || n != math.MaxInt {
		t.Errorf("the greatest attempt is taken as %d, %v", n, err)
	}
	if n, err := protocol.ParseAttempt("9223372036854775808"); err == nil {
		t.Errorf("an attempt that is too large is taken as %d", n)
	}
}

func TestAboutWhichAttemptAMessageIs(t *testing.T) {
	const none = -1 // no header
	header := func(rollout string, attempt ...string) map[string][]string {
		h := make(map[string][]string)
		if rollout != "" {
			h[protocol.HeaderRollout] = []string{rollout}
		}
		if attempt != nil {
			h[protocol.HeaderAttempt] = attempt
		}
		return h
	}
	for name, c := range map[string]struct {
		header  map[string][]string
		payload string
		rollout string
		attempt int // none: it is refused
	}{
		"nothing":                          {},
		"headers":                          {header("r", "2"), "", "r", 2},
		"fields":                           {nil, `{"rollout":"r","attempt":2}`, "r", 2},
		"a header wins over a field":       {header("r", "2"), `{"rollout":"s","attempt":3}`, "r", 2},
		"an empty rollout names none":      {header("", "2"), `{"rollout":"s"}`, "s", 2},
		"text":                             {header("r", "2"), "attempt: 0", "r", 2},
		"an array":                         {header("r", "2"), "[0]", "r", 2},
		"null is absent":                   {header("r"), `{"rollout":null,"attempt":null}`, "r", 0},
		"a header twice":                   {header("r", "2", "2"), "", "r", 2},
		"a header twice, one of them none": {header("r", "x", "2"), "", "", none},
		"a field that is text":             {header("r"), `{"attempt":"1"}`, "", none},
		"a field with a point":             {header("r"), `{"attempt":1.0}`, "", none},
		"a field that is 0":                {header("r"), `{"attempt":0}`, "", none},
		"a field that is negative":         {header("r"), `{"attempt":-1}`, "", none},
		"a field that is too large":        {header("r"), `{"attempt":9223372036854775808}`, "", none},
		"a field that is an object":        {header("r"), `{"attempt":{}}`, "", none},
		"a wrong field beside a header":    {header("r", "1"), `{"attempt":0}`, "", none},
		"a wrong header beside a field":    {header("r", "0"), `{"attempt":1}`, "", none},
		"a rollout that is a number":       {nil, `{"rollout":1,"attempt":1}`, "", none},
	} {
		rollout, attempt, err := protocol.About(c.header, []byte(c.payload))
		if c.attempt == none {
			if !errors.As(err, new(*protocol.InvalidError)) {
				t.Errorf("%s: it is about rollout %q, attempt %d, %v; want it refused", name, rollout, attempt, err)
			}
			continue
		}
		if err != nil || rollout != c.rollout || attempt != c.attempt {
			t.Errorf("%s: it is about rollout %q, attempt %d, %v", name, rollout, attempt, err)
		}
	}
	for _, text := range notNumbers {
		if _, attempt, err := protocol.About(header("r", text), nil); err == nil {
			t.Errorf("a header that says %q is taken as attempt %d", text, attempt)
		}
	}
}

package terminal

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"time"
)

func TestWords(t *testing.T) {
	const day = 24 * time.Hour
	for _, c := range []struct{ got, want string }{
		{Took(-1), "-"}, {Took(0), "0s"}, {Took(1234567), "1.2ms"}, {Took(123456789), "123ms"},
		{Took(1234567890), "1.23s"}, {Took(90*time.Second + 400*time.Millisecond), "1m30s"},
		{Ago(time.Time{}), "-"}, {Ago(time.Now().Add(-90 * time.Minute)), "1h ago"}, {Ago(time.Now().Add(-3 * day)), "3d ago"},
		{OrDash(""), "-"}, {OrDash("a"), "a"},
		{fmt.Sprint(NonEmpty("", "a", "", "b")), "[a b]"},
		{Plural(1, "step"), "1 step"}, {Plural(0, "step"), "0 steps"}, {Plural(12345, "step"), "12,345 steps"},
		{Grouped(9999), "9999"}, {Grouped(10000), "10,000"}, {Grouped(1234567), "1,234,567"},
		{PerSecond(0.012), "0.012/s"}, {PerSecond(2), "2/s"}, {PerSecond(2.54), "2.5/s"}, {PerSecond(12345.6), "12,346/s"},
		{PathFrom("/home/ann/app", "/home/ann/app/golive.yaml"), "golive.yaml"}, {PathFrom("/home/ann", "/etc/x"), "/etc/x"},
	} {
		if c.got != c.want {
			t.Errorf("it says %q, want %q", c.got, c.want)
		}
	}
}

func TestPrint(t *testing.T) {
	type row struct {
		App string `json:"app"`
	}
	list := []row{{"a"}, {"b"}}
	table := func(w io.Writer) { Columns(w, []string{"APP", "NUMBER"}, [][]string{{"todo-app", "1"}, {"a", "2"}}) }
	for form, want := range map[string]string{
		"table": "APP       NUMBER\ntodo-app  1\na         2\n",
		"json":  "[\n  {\n    \"app\": \"a\"\n  },\n  {\n    \"app\": \"b\"\n  }\n]\n",
		"jsonl": "{\"app\":\"a\"}\n{\"app\":\"b\"}\n",
		"yaml":  "- app: a\n- app: b\n",
	} {
		var out bytes.Buffer
		if err := Print(&out, form, list, table); err != nil || out.String() != want {
			t.Errorf("as %s it is %q (%v), want %q", form, out.String(), err, want)
		}
	}
	var out bytes.Buffer
	if err := Print(&out, "table", list, nil); err != nil || out.Len() > 0 {
		t.Errorf("without a table it is %q (%v)", out.String(), err)
	}
}

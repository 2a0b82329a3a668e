package spec

import (
	"encoding/json"
	"testing"
)

func TestDiff(t *testing.T) {
	t.Parallel()
	todos := table{fields: []string{"title", "done"}, rows: [][]string{{"one", "true"}, {"one", "true"}, {"two", ""}}}
	for _, test := range []struct{ name, entries, want string }{
		{"the same, in another order and with fields of no interest",
			`[{"title": "two", "id": 2}, {"Title": "one", "DONE": true}, {"title": "one", "done": "true"}]`, ""},
		{"null is nothing", `[{"title": "two", "done": null}, {"title": "one", "done": true}, {"title": "one", "done": true}]`, ""},
		{"a row that is there once instead of twice", `[{"title": "one", "done": true}, {"title": "two"}]`, `
      | TITLE | DONE |
      | one   | true |
    - | one   | true |
      | two   |      |`},
		{"values that a cell cannot show", `[{"title": "one", "done": true}, {"title": "one", "done": true}, {"title": "two"},
			{"title": "a|b", "done": 1.50}, {"title": "größer ", "done": {"by": ["me"]}}]`, `
      | TITLE     | DONE          |
      | one       | true          |
      | one       | true          |
      | two       |               |
    + | "a|b"     | 1.50          |
    + | "größer " | {"by":["me"]} |`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var objects []json.RawMessage
			if err := json.Unmarshal([]byte(test.entries), &objects); err != nil {
				t.Fatal(err)
			}
			var entries []entry
			for _, o := range objects {
				e, err := readEntry(o)
				if err != nil {
					t.Fatal(err)
				}
				entries = append(entries, e)
			}
			if got := todos.diff(entries); got != test.want {
				t.Errorf("got %s\nwant %s", got, test.want)
			}
		})
	}
}

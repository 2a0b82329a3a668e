package process

import "testing"

func TestParseStat(t *testing.T) {
	t.Parallel()
	const rest = " 34816 77 4194304 1 2 3 4 5 6 7 8 20 0 "
	for _, test := range []struct {
		name, stat string
		pgid       int
		zombie, ok bool
	}{
		{"a process", "12 (todos) S 1 7 7" + rest + "9 0 100", 7, false, true},
		{"a zombie", "12 (todos) Z 1 7 7" + rest + "1 0 100", 7, true, true},
		{"a zombie of which a thread still runs", "12 (todos) Z 1 7 7" + rest + "2 0 100", 7, false, true},
		{"a process being removed", "12 (todos) X 1 7 7" + rest + "0 0 100", 7, true, true},
		{"a name that looks like the rest", "12 (x) Z 1 8 8) R 1 7 7" + rest + "1 0 100", 7, false, true},
		{"a name of several lines", "12 (a\nb c) R 1 7 7" + rest + "1 0 100", 7, false, true},
		{"no group", "12 (todos) R 1 ? 7" + rest + "1 0 100", 0, false, false},
		{"too short", "12 (todos) R 1 7", 0, false, false},
		{"no name", "12 todos R 1 7 7" + rest + "1 0 100", 0, false, false},
		{"nothing", "", 0, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			pgid, zombie, ok := parseStat(test.stat)
			if ok != test.ok || ok && (pgid != test.pgid || zombie != test.zombie) {
				t.Errorf("got group %d, zombie %t, ok %t", pgid, zombie, ok)
			}
		})
	}
}

func TestParseProgram(t *testing.T) {
	t.Parallel()
	const rest = " S 1 7 7 34816 77 4194304 1 2 3 4 5 6 7 8 20 0 9 0 "
	for stat, want := range map[string][2]string{
		"12 (todos)" + rest + "100 5 6":         {"todos", "100"},
		"12 (a (b) c)" + rest + "4242 1":        {"a (b) c", "4242"},
		"12 (todos) S 1 7 7 34816 77 4194304 1": {"todos", ""},
		"":                                      {"", ""},
	} {
		if program, began := parseProgram(stat); program != want[0] || began != want[1] {
			t.Errorf("%q: program %q, began %q", stat, program, began)
		}
	}
}

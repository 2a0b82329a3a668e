package mask

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

var key = []byte("a key of a test, and of nothing else")

func newMask(t testing.TB, r Rules) *Mask {
	t.Helper()
	m, err := New(key, r)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestPayloads(t *testing.T) {
	m := newMask(t, Rules{Fields: map[string]Kind{
		"title": Text, "owner.mail": Mail, "owner.phone": Digits, "secret": Drop, "lines.note": Text, "amount": Digits, "two words": Text, "ſize": Text,
	}})
	title := func(s string) string { return "masked-" + m.name(Text, s) }
	for in, want := range map[string]string{
		``:                                ``,
		`null`:                            `null`,
		` 12 `:                            ` 12 `,
		`{}`:                              `{}`,
		`[]`:                              `[]`,
		`{"title":"a"}`:                   `{"title":"` + title("a") + `"}`,
		`{"title":"\u0061"}`:              `{"title":"` + title("a") + `"}`,
		`{"\u0074itle":"a"}`:              `{"\u0074itle":"` + title("a") + `"}`,
		`{"TITLE":"a"}`:                   `{"TITLE":"` + title("a") + `"}`,
		`{"size":"a", "SIZE":"a"}`:        `{"size":"` + title("a") + `", "SIZE":"` + title("a") + `"}`,
		`{"title":"a","title":"b"}`:       `{"title":"` + title("a") + `","title":"` + title("b") + `"}`,
		`{"title":null,"x":1.0e+07}`:      `{"title":null,"x":1.0e+07}`,
		`{"title":"","x":[]}`:             `{"title":"","x":[]}`,
		`{"title":["a",null,["b"]]}`:      `{"title":["` + title("a") + `",null,["` + title("b") + `"]]}`,
		`[{"title":"a"},[{"title":"b"}]]`: `[{"title":"` + title("a") + `"},[{"title":"` + title("b") + `"}]]`,
		"\t{ \"title\" : \"a\" ,\n\"x\" :\"a\"}\r\n":  "\t{ \"title\" : \"" + title("a") + "\" ,\n\"x\" :\"a\"}\r\n",
		`{"x":{"title":"a"},"titles":"a"}`:            `{"x":{"title":"a"},"titles":"a"}`,
		`{"owner.mail":"a"}`:                          `{"owner.mail":"u` + m.name(Mail, "a") + `@masked.invalid"}`,
		`{"lines":[{"note":"a","n":1},{"n":2}]}`:      `{"lines":[{"note":"` + title("a") + `","n":1},{"n":2}]}`,
		`{"two words":"ä€😀\"\\"}`:                     `{"two words":"` + title("ä€😀\"\\") + `"}`,
		`{"two words":"\ud83d\ude00"}`:                `{"two words":"` + title("😀") + `"}`,
		`{"secret":"a"}`:                              `{}`,
		`{"secret":{"a":["b,}"]}, "x":1}`:             `{ "x":1}`,
		`{"x":1, "secret":1 , "y":2}`:                 `{"x":1 , "y":2}`,
		`{"x":1, "secret":1 }`:                        `{"x":1 }`,
		`{ "secret":1,"secret":2 , "x":{"secret":3}}`: `{ "x":{"secret":3}}`,
		`[{"secret":1},{"secret":true}]`:              `[{},{}]`,
		`{"x":"\u00e4\/","y":9007199254740993}`:       `{"x":"\u00e4\/","y":9007199254740993}`,
	} {
		got, err := m.Payload([]byte(in))
		if err != nil || string(got) != want {
			t.Errorf("%s becomes %s, %v, want %s", in, got, err, want)
		}
	}
}

func TestAWholeMessage(t *testing.T) {
	m := newMask(t, Rules{Fields: map[string]Kind{".": Mail}})
	got, err := m.Payload([]byte(` "anna@example.com" `))
	if want := ` "u` + m.name(Mail, "anna@example.com") + `@masked.invalid" `; err != nil || string(got) != want {
		t.Errorf("it becomes %s, %v", got, err)
	}
	if _, err := m.Payload([]byte(`{"x": 1}`)); !errors.Is(err, ErrRefused) {
		t.Errorf("an object is %v", err)
	}
}

func TestWhatIsRefused(t *testing.T) {
	m := newMask(t, Rules{Fields: map[string]Kind{"title": Text, "mail": Mail, "phone": Digits, "in.side": Text}})
	deep := func(n int) string {
		return strings.Repeat(`{"x":`, n) + `"secret"` + strings.Repeat("}", n)
	}
	for in, says := range map[string]string{
		"secret":                     "not JSON",
		`{"title":"secret"`:          "not JSON",
		`{"title":"secret"} x`:       "not JSON",
		`{"title":'secret'}`:         "not JSON",
		"\xef\xbb\xbf{}":             "not JSON",
		" ":                          "not JSON",
		"\x1f\x8b\x08secret":         "not UTF-8",
		"{\"title\":\"secret\xff\"}": "not UTF-8",
		`{"title":"secret\ud800"}`:   `field "title": it holds half of a surrogate pair`,
		`{"title":true}`:             `field "title": it is an object or a truth value`,
		`{"Title":{"x":"secret"}}`:   `field "Title": it is an object`,
		`{"title":[1234567]}`:        `field "title": it is a number, which cannot be text: mark it as digits`,
		`{"mail":1234567}`:           `which cannot be mail`,
		`{"phone":"secret 12"}`:      `it is marked as digits but holds letters`,
		`{"phone":"١٢٣"}`:            `holds letters`,
		`{"phone":false}`:            `truth value`,
		`{"phone":"` + strings.Repeat("7", MaxDigits+1) + `"}`: "more than 1000 digits",
		`{"in":[{"side":5555}]}`:                               `field "in.side"`,
		deep(10_001):                                           "not JSON",
	} {
		got, err := m.Payload([]byte(in))
		if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), says) || got != nil {
			t.Errorf("%.60q becomes %.60q, %v; want an error with %q", in, got, err, says)
		}
		for _, value := range []string{"secret", "1234567", "5555", "777"} {
			if err != nil && strings.Contains(err.Error(), value) {
				t.Errorf("%.60q: the error tells the value: %v", in, err)
			}
		}
	}
	for _, in := range []string{deep(10_000), `{"phone":"` + strings.Repeat("7", MaxDigits) + `"}`} {
		if _, err := m.Payload([]byte(in)); err != nil {
			t.Errorf("%.60q: %v", in, err)
		}
	}
}

func TestRulesThatAreWrong(t *testing.T) {
	one := map[string]Kind{"x": Text}
	for _, c := range []struct {
		key   []byte
		rules Rules
		says  string
	}{
		{key[:31], Rules{Fields: one}, "the key has 31 bytes: give at least 32"},
		{key, Rules{}, "there is no rule"},
		{key, Rules{Fields: map[string]Kind{"x": "name"}}, `"x": there is no kind "name": take text, mail, digits or drop`},
		{key, Rules{Fields: map[string]Kind{"": Text}}, "a name in the path is empty"},
		{key, Rules{Fields: map[string]Kind{"a..b": Text}}, `"a..b": a name in the path is empty`},
		{key, Rules{Fields: map[string]Kind{"a": Text, "A": Mail}}, "another rule names the same field"},
		{key, Rules{Fields: map[string]Kind{"a": Drop, "a.b": Mail}}, `"a.b": it lies in a field that is masked as a whole`},
		{key, Rules{Fields: map[string]Kind{"a.B": Text, "a": Text}}, "masked as a whole"},
		{key, Rules{Fields: map[string]Kind{"B.a": Text, "b": Text}}, "another rule names the same field, or one in it"},
		{key, Rules{Fields: map[string]Kind{".": Text, "a": Text}}, "masked as a whole"},
		{key, Rules{Fields: map[string]Kind{".": Drop}}, "leave it out of the snapshot"},
		{key, Rules{Tokens: map[int]Kind{0: Text}}, "no token 0: they are counted from 1 to 100"},
		{key, Rules{Tokens: map[int]Kind{101: Text}}, "no token 101"},
		{key, Rules{Tokens: map[int]Kind{2: Mail}}, `token 2 is "mail": a token can be text or digits`},
	} {
		if _, err := New(c.key, c.rules); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: %v, want an error with %q", c.rules, err, c.says)
		}
	}
	if _, err := New(key[:32], Rules{Fields: one, Tokens: map[int]Kind{100: Text, 1: Digits}}); err != nil {
		t.Error(err)
	}
}

func TestSubjects(t *testing.T) {
	m := newMask(t, Rules{Fields: map[string]Kind{"name": Text, "phone": Digits}, Tokens: map[int]Kind{2: Text, 3: Digits}})
	got, err := m.Subject("users.anna.4917012345.new")
	payload, err2 := m.Payload([]byte(`{"name":"anna","phone":4917012345}`))
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	var user struct {
		Name  string
		Phone json.Number
	}
	if err := json.Unmarshal(payload, &user); err != nil {
		t.Fatal(err)
	}
	if want := "users." + user.Name + "." + user.Phone.String() + ".new"; got != want || strings.Contains(got, "anna") || strings.Contains(got, "4917") {
		t.Errorf("the subject becomes %s, the message says %s", got, want)
	}
	for subject, says := range map[string]string{
		"users": "of 1 tokens has no token 2", "users..1": "has no token 2", "users.anna": "no token 3", "users.anna.secret": "token 3: it is marked as digits",
	} {
		if _, err := m.Subject(subject); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", subject, err)
		}
	}
	only := newMask(t, Rules{Tokens: map[int]Kind{1: Text}})
	if got, err := only.Payload([]byte(`{"a": 1}`)); err != nil || string(got) != `{"a": 1}` {
		t.Errorf("a message without rules becomes %s, %v", got, err)
	}
}

// TestDigitsAreOneToOne goes through all there are of some lengths.
func TestDigitsAreOneToOne(t *testing.T) {
	m := newMask(t, Rules{Fields: map[string]Kind{"x": Digits}})
	for length, all := range []int{1, 10, 100, 1000, 10_000} {
		seen, same := make(map[string]bool), 0
		for n := range all {
			in := fmt.Sprintf("%0*d", length, n)
			if length == 0 {
				in = ""
			}
			out, err := m.digits(in)
			if err != nil || len(out) != length || seen[out] || length > 1 && (in[0] == '0') != (out[0] == '0') {
				t.Fatalf("%s becomes %s, %v", in, out, err)
			}
			if seen[out] = true; in == out {
				same++
			}
		}
		if length > 1 && same > 10 {
			t.Errorf("%d of %d become themselves", same, all)
		}
	}
}

func TestNumbersStayNumbersOfTheirForm(t *testing.T) {
	m := newMask(t, Rules{Fields: map[string]Kind{"x": Digits}})
	form := strings.NewReplacer("1", "0", "2", "0", "3", "0", "4", "0", "5", "0", "6", "0", "7", "0", "8", "0", "9", "0")
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.StringMatching(`-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?`).Draw(t, "number")
		out, err := m.number(in)
		if err != nil || !json.Valid([]byte(out)) || form.Replace(out) != form.Replace(in) {
			t.Fatalf("%s becomes %s, %v", in, out, err)
		}
	})
}

func TestJoinsStay(t *testing.T) {
	fields := map[string]Kind{"a": Text, "b.c": Text, "mail": Mail, "n": Digits}
	one, two := newMask(t, Rules{Fields: fields}), newMask(t, Rules{Fields: fields})
	other, err := New([]byte("another key, of another rehearsal at all"), Rules{Fields: fields})
	if err != nil {
		t.Fatal(err)
	}
	back := make(map[Kind]map[string]string) // what was masked, by what has become of it
	for _, k := range fields {
		back[k] = make(map[string]string)
	}
	rapid.Check(t, func(t *rapid.T) {
		path := rapid.SampledFrom([]string{"a", "b.c", "mail", "n"}).Draw(t, "path")
		k := fields[path]
		value := rapid.String().Draw(t, "text")
		if k == Digits {
			value = rapid.StringMatching(`\+?[0-9 /-]{0,30}`).Draw(t, "digits")
		}
		if strings.ContainsRune(value, utf8.RuneError) {
			return
		}
		mask := func(m *Mask) string {
			in, _ := json.Marshal(value)
			if path == "b.c" {
				in = fmt.Appendf(nil, `{"b":[{"c":%s}]}`, in)
			} else {
				in = fmt.Appendf(nil, `{"%s":%s}`, path, in)
			}
			out, err := m.Payload(in)
			if err != nil {
				t.Fatal(err)
			}
			var got struct {
				A, Mail, N string
				B          []struct{ C string }
			}
			if err := json.Unmarshal(out, &got); err != nil {
				t.Fatal(err)
			}
			if len(got.B) == 1 {
				return got.B[0].C
			}
			return got.A + got.Mail + got.N
		}
		masked := mask(one)
		if again := mask(two); again != masked {
			t.Fatalf("%q becomes %q and %q", value, masked, again)
		}
		if before, known := back[k][masked]; known && before != value {
			t.Fatalf("%q and %q become the same", before, value)
		}
		back[k][masked] = value
		if k != Digits && value != "" && mask(other) == masked {
			t.Fatalf("%q becomes %q whatever the key", value, masked)
		}
	})
}

// leaf is a value in a message that holds no others, and where it is.
type leaf struct {
	path  string // in lower case, such as .owner.mail
	value any
}

// leaves reads a message as others would.
func leaves(t testing.TB, message []byte) (all []leaf) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(message))
	d.UseNumber()
	var read func(path string)
	read = func(path string) {
		token, err := d.Token()
		if err != nil {
			t.Fatalf("%q: %v", message, err)
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			all = append(all, leaf{path, token})
			for d.More() {
				below := path
				if token == json.Delim('{') {
					name, err := d.Token()
					if err != nil {
						t.Fatalf("%q: %v", message, err)
					}
					below = path + "." + strings.ToLower(fold(name.(string)))
				}
				read(below)
			}
			if _, err := d.Token(); err != nil {
				t.Fatalf("%q: %v", message, err)
			}
		default:
			all = append(all, leaf{path, token})
		}
	}
	read("")
	if _, err := d.Token(); err != io.EOF {
		t.Fatalf("%q: %v", message, err)
	}
	return all
}

// FuzzPayload: what no rule is about is in its place as it was, and what one is about is
// never there.
func FuzzPayload(f *testing.F) {
	for _, in := range []string{
		`{"title":"Anna","owner":{"mail":"a@b.c","x":[1,2.50,"\u0061"]},"secret":{"a":"b"},"n":12345.678e9}`,
		`[{"TITLE":"x"},{"title":"y","title":["z",null]},"title",-0.0]`,
		`{"secret":1,"a":{"secret":2} , "secret":[3] ,"b":"\"}]"}`, `{"\u0074itle":"\ud83d\ude00"}`, `{"owner.mail":"x"}`, `"x"`, `[[[[]]]]`, ` `, "\xff",
		`{"n":"+49 170 1234567","title":"\ud800"}`, `{"title":{"a":1}}`, `{"a.title":1,"owner":{"Mail":"\\\\"}}`,
	} {
		f.Add([]byte(in))
	}
	kinds := map[string]Kind{"title": Text, "owner.mail": Mail, "n": Digits, "secret": Drop}
	m, err := New(key, Rules{Fields: kinds})
	if err != nil {
		f.Fatal(err)
	}
	ruleOf := func(path string) Kind {
		for name, k := range kinds {
			if strings.HasPrefix(path+".", "."+name+".") {
				return k
			}
		}
		return ""
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		before := bytes.Clone(in)
		out, err := m.Payload(in)
		if !bytes.Equal(in, before) {
			t.Fatal("the message itself was changed")
		}
		if err != nil {
			if !errors.Is(err, ErrRefused) || out != nil {
				t.Fatalf("%q: %q, %v", in, out, err)
			}
			return
		}
		if len(in) == 0 {
			return
		}
		is := leaves(t, out)
		for _, l := range leaves(t, in) {
			k := ruleOf(l.path)
			if k == Drop {
				continue
			}
			if len(is) == 0 || is[0].path != l.path {
				t.Fatalf("%q becomes %q: %v is not in its place", in, out, l)
			}
			want := l.value
			switch text := l.value.(type) {
			case string:
				if k != "" {
					want, err = m.text(k, text)
				}
			case json.Number:
				if k == Digits {
					var masked string
					masked, err = m.number(text.String())
					want = json.Number(masked)
				}
			}
			if err != nil || is[0].value != want {
				t.Fatalf("%q becomes %q: %v is %v, %v, want %v", in, out, l, is[0].value, err, want)
			}
			is = is[1:]
		}
		if len(is) > 0 {
			t.Fatalf("%q becomes %q: %v was not there", in, out, is[0])
		}
	})
}

// TestNoMarkedValueIsLeft draws messages in which marked values stand nowhere else, and
// looks for them in any form.
func TestNoMarkedValueIsLeft(t *testing.T) {
	m := newMask(t, Rules{Fields: map[string]Kind{"title": Text, "owner.mail": Mail, "phone": Digits, "secret": Drop}})
	rapid.Check(t, func(t *rapid.T) {
		var values []string
		marked := func(expression string) string {
			v := rapid.StringMatching(expression).Draw(t, "value")
			values = append(values, v)
			var b strings.Builder
			for _, r := range v { // escaped here and there
				if rapid.Bool().Draw(t, "escaped") {
					fmt.Fprintf(&b, `\u%04X`, r)
					continue
				}
				b.WriteRune(r)
			}
			return `"` + b.String() + `"`
		}
		gap := func() string { return rapid.StringMatching(`[ \n\t]{0,2}`).Draw(t, "gap") }
		object := func(depth int) string {
			var members []string
			for range rapid.IntRange(0, 5).Draw(t, "members") {
				var member string
				switch what := rapid.IntRange(0, 6).Draw(t, "what"); {
				case what == 0:
					member = `"` + rapid.SampledFrom([]string{"title", "Title", `tit\u006Ce`}).Draw(t, "name") + `":` + gap() + marked(`[Q-Zäß]{12}`)
				case what == 1:
					member = `"owner":{"name":"x",` + gap() + `"mail":` + marked(`[Q-Z]{6}@[Q-Z]{6}`) + `}`
				case what == 2:
					member = `"phone":` + marked(`[0-9]{15}`)
				case what == 3:
					member = `"secret":` + gap() + `[{"a":` + marked(`[Q-Z]{12}`) + `}]`
				case what == 4:
					member = `"owner":[[{"mail":[null,` + marked(`[Q-Z]{12}`) + `]}]]`
				case depth > 0:
					member = rapid.SampledFrom([]string{`"owner":`, `"x":`}).Draw(t, "below") + `{"y":[true,1e400,"` + gap2(rapid.Bool().Draw(t, "b")) + `"]}`
				default:
					member = `"z":{"deep":[1,[2]]}`
				}
				members = append(members, gap()+member+gap())
			}
			return "{" + strings.Join(members, ",") + "}"
		}
		in := "[" + object(1) + gap() + "," + object(0) + "]"
		out, err := m.Payload([]byte(in))
		if err != nil || !json.Valid(out) {
			t.Fatalf("%s becomes %s, %v", in, out, err)
		}
		var all any
		d := json.NewDecoder(bytes.NewReader(out))
		d.UseNumber()
		if err := d.Decode(&all); err != nil {
			t.Fatal(err)
		}
		plain := fmt.Sprint(all)
		for _, v := range values {
			if strings.Contains(plain, v) || bytes.Contains(out, []byte(v)) {
				t.Fatalf("%s becomes %s, which has %s", in, out, v)
			}
		}
	})
}

func gap2(escaped bool) string {
	if escaped {
		return `\"},{\\`
	}
	return "]"
}

func BenchmarkPayload(b *testing.B) {
	m := newMask(b, Rules{Fields: map[string]Kind{"title": Text, "owner.mail": Mail, "phone": Digits}})
	in := []byte(`{"id":"0199c6d2-0000-7000-8000-000000000000","title":"Buy milk","owner":{"name":"x","mail":"anna@example.com"},"phone":"+49 170 1234567","text":"` + strings.Repeat("x", 800) + `"}`)
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		if _, err := m.Payload(in); err != nil {
			b.Fatal(err)
		}
	}
}

package snapshot_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/mask"
	"github.com/golive-dev/golive/orchestrator/snapshot"
)

// people is an app with personal data in a stream and in a bucket, joined by the mail.
func people(w *world, n int) snapshot.Snapshot {
	w.stream(jetstream.StreamConfig{Name: "SALES", Subjects: []string{"sales.>"}}, 0)
	kv, err := w.js.CreateKeyValue(w.ctx, jetstream.KeyValueConfig{Bucket: "users"})
	must(w, err)
	for i := range n {
		mail := fmt.Sprintf("secret%d@example.com", i)
		_, err := kv.PutString(w.ctx, fmt.Sprintf("secretkey%d", i), fmt.Sprintf(`{"mail": %q, "plan": "gold"}`, mail))
		must(w, err)
		for j := range 3 {
			_, err = w.js.Publish(w.ctx, fmt.Sprintf("sales.secretkey%d.eu", i), fmt.Appendf(nil, `{"by": {"mail": %q}, "sum": %d}`, mail, j), jetstream.WithMsgID(fmt.Sprintf("%s-%d", mail, j)))
			must(w, err)
		}
	}
	return snapshot.Snapshot{ID: uuid.Must(uuid.NewV7()).String(), App: "shop", Version: "0.0.1", Rollout: uuid.NewString(), Services: []snapshot.Service{
		{Name: "sales", Version: "0.0.1", Parts: []snapshot.Part{{Kind: snapshot.KindStream, Name: "SALES"}, {Kind: snapshot.KindKV, Name: "users"}}},
	}}
}

func personal() snapshot.MaskedParts {
	return snapshot.MaskedParts{
		"SALES": {"by.mail": mask.Mail, "#2": mask.Text}, "users": {"mail": mask.Mail, "#1": mask.Text},
	}
}

// read reads the messages of a part of a copy.
func read(w *world, s *snapshot.Snapshots, of snapshot.Snapshot, part int) (all []snapshot.Message) {
	w.Helper()
	r, err := s.Open(w.ctx, of, "sales", of.Services[0].Parts[part])
	must(w, err)
	_, err = snapshot.Messages(r, func(m snapshot.Message) error {
		m.Body, m.Header = bytes.Clone(m.Body), bytes.Clone(m.Header)
		all = append(all, m)
		return nil
	})
	must(w, errors.Join(err, r.Close()))
	return all
}

// A copy of a snapshot has nothing of what is masked, anywhere, and what was joined still is.
func TestACopyIsMasked(t *testing.T) {
	w := start(t)
	wanted := people(w, 20)
	for name, store := range stores(w) {
		s := &snapshot.Snapshots{JetStream: w.bus, Store: store, Now: time.Now, Keep: 2}
		taken, err := s.Take(w.ctx, wanted, silent)
		must(t, err)
		copied, err := s.Copy(w.ctx, taken, uuid.Must(uuid.NewV7()).String(), "ann", snapshot.Cut{Mask: personal()}, silent)
		must(t, err)
		if copied.Of != taken.ID || copied.For != snapshot.ForCopy || copied.Checked.IsZero() || copied.Services[0].Parts[0].Messages != 60 || copied.Services[0].Parts[0].State.Last != 60 {
			t.Errorf("%s: the copy is %+v", name, copied)
		}
		sales, users := read(w, s, copied, 0), read(w, s, copied, 1)
		mails := make(map[string]string) // by the masked key
		for _, m := range users {
			var user struct{ Mail, Plan string }
			must(t, json.Unmarshal(m.Body, &user))
			if user.Plan != "gold" {
				t.Errorf("%s: %s", name, m.Body)
			}
			mails[strings.TrimPrefix(m.Subject, "$KV.users.")] = user.Mail
		}
		for _, m := range append(sales, users...) {
			if text := m.Subject + string(m.Header) + string(m.Body); strings.Contains(text, "secret") {
				t.Errorf("%s: it lets through %q", name, text)
			}
		}
		for i, m := range sales {
			var sale struct {
				By  struct{ Mail string }
				Sum int
			}
			must(t, json.Unmarshal(m.Body, &sale))
			key := strings.Split(m.Subject, ".")[1]
			if mails[key] == "" || mails[key] != sale.By.Mail || sale.Sum != i%3 || m.Sequence != uint64(i+1) {
				t.Errorf("%s: the sale %s %s is not joined any more: %v", name, m.Subject, m.Body, mails[key])
			}
		}
		other, err := s.Copy(w.ctx, taken, uuid.Must(uuid.NewV7()).String(), "ann", snapshot.Cut{Mask: personal()}, silent)
		must(t, err)
		if bytes.Equal(read(w, s, other, 0)[0].Body, sales[0].Body) {
			t.Errorf("%s: two copies have the same pseudonyms", name)
		}
		again, err := s.Copy(w.ctx, taken, other.ID, "ann", snapshot.Cut{Mask: personal()}, silent)
		must(t, err)
		if again.Services[0].Parts[0].SHA256 != other.Services[0].Parts[0].SHA256 {
			t.Errorf("%s: the same copy was made twice", name)
		}
		_, err = s.Copy(w.ctx, taken, uuid.Must(uuid.NewV7()).String(), "ann", snapshot.Cut{}, silent)
		must(t, err)
		if all, _, _ := s.List(w.ctx, ""); len(all) != 3 {
			t.Errorf("%s: %d are kept", name, len(all))
		}
		must(t, s.Drop(w.ctx, taken.App, taken.ID))
	}
}

// Whatever the payloads are, no marked value is let through: either it is masked or all is refused,
// and then nothing is left.
func TestNoMarkedValueIsLetThrough(t *testing.T) {
	w := start(t)
	w.stream(jetstream.StreamConfig{Name: "SALES", Subjects: []string{"sales.>"}}, 0)
	random := rand.New(rand.NewPCG(1, 2))
	store := snapshot.Folder(w.TempDir())
	s := &snapshot.Snapshots{JetStream: w.bus, Store: store, Now: time.Now}
	for round := range 60 {
		_, err := w.js.Publish(w.ctx, "sales.1", []byte(payload(random)))
		must(t, err)
		taken, err := s.Take(w.ctx, snapshot.Snapshot{ID: uuid.Must(uuid.NewV7()).String(), App: "shop", Version: "0.0.1", Services: []snapshot.Service{
			{Name: "sales", Version: "0.0.1", Parts: []snapshot.Part{{Kind: snapshot.KindStream, Name: "SALES"}}}}}, silent)
		must(t, err)
		copied, err := s.Copy(w.ctx, taken, uuid.Must(uuid.NewV7()).String(), "", snapshot.Cut{Mask: snapshot.MaskedParts{"SALES": {"name": mask.Text, "owner.mail": mask.Mail}}}, silent)
		switch {
		case errors.Is(err, snapshot.ErrMask):
			if _, err := s.Load(w.ctx, "shop", copied.ID); !errors.Is(err, snapshot.ErrNotFound) {
				t.Fatalf("round %d: a copy that was refused is there: %v", round, err)
			}
		case err != nil:
			t.Fatal(err)
		default:
			for _, m := range read(w, s, copied, 0) {
				if strings.Contains(string(m.Body), "secret") {
					t.Fatalf("round %d: it lets through %s", round, m.Body)
				}
			}
		}
		stream, err := w.js.Stream(w.ctx, "SALES")
		must(t, err)
		must(t, stream.Purge(w.ctx))
		must(t, s.Drop(w.ctx, "shop", taken.ID))
	}
}

// payload is one with secrets where rules are about, of any shape.
func payload(r *rand.Rand) string {
	secret := []string{`"secret"`, `"sec\u0072et"`, `{"a": "secret"}`, `["secret", {"x": "secret"}]`, `null`, `12`, `"secret\ud800"`, `"secret`}[r.IntN(8)]
	shape := []string{
		`{"name": %s}`, `{"NAME": %s, "x": 1}`, `[{"name": %s}, {"owner": {"mail": %[1]s}}]`, `{"owner.mail": %s}`, `{"owner": [{"mail": %s}]}`,
		`{"name": "ok", "name": %s}`, "\xff{\"name\": %s}", ` { "owner" : { "mail" : %s } } `, `%s`, `{"owner": %s}`,
	}[r.IntN(8)]
	return fmt.Sprintf(shape, secret)
}

func TestACopyHoldsOnlySome(t *testing.T) {
	w := start(t)
	wanted := people(w, 300)
	s := &snapshot.Snapshots{JetStream: w.bus, Store: snapshot.Folder(w.TempDir()), Now: time.Now}
	taken, err := s.Take(w.ctx, wanted, silent)
	must(t, err)
	for name, c := range map[string]struct {
		cut         snapshot.Cut
		sales, most int
		users, upTo int
	}{
		"all":               {snapshot.Cut{}, 900, 900, 300, 300},
		"latest":            {snapshot.Cut{Latest: 1}, 300, 300, 300, 300},
		"where":             {snapshot.Cut{Where: []string{"sales.secretkey7.>"}}, 3, 3, 300, 300},
		"where nobody is":   {snapshot.Cut{Where: []string{"other.>"}}, 900, 900, 300, 300},
		"a key":             {snapshot.Cut{Where: []string{"$KV.users.secretkey1"}}, 900, 900, 1, 1},
		"a sample":          {snapshot.Cut{Sample: 0.1}, 40, 150, 10, 60},
		"the whole, drawn":  {snapshot.Cut{Sample: 1}, 900, 900, 300, 300},
		"latest of a where": {snapshot.Cut{Latest: 2, Where: []string{"sales.*.eu"}}, 600, 600, 300, 300},
	} {
		copied, err := s.Copy(w.ctx, taken, uuid.Must(uuid.NewV7()).String(), "", c.cut, silent)
		must(t, err)
		sales, users := int(copied.Services[0].Parts[0].Messages), int(copied.Services[0].Parts[1].Messages)
		if sales < c.sales || sales > c.most || users < c.users || users > c.upTo {
			t.Errorf("%s: it holds %d and %d messages", name, sales, users)
		}
	}
	ended, cancel := context.WithCancel(w.ctx)
	cancel()
	if _, err := s.Copy(ended, taken, uuid.Must(uuid.NewV7()).String(), "", snapshot.Cut{}, silent); !errors.Is(err, context.Canceled) {
		t.Errorf("a copy that is ended: %v", err)
	}
}

// What was copied is put back as any snapshot is.
func TestACopyIsPutBack(t *testing.T) {
	w := start(t)
	wanted := people(w, 10)
	s := &snapshot.Snapshots{JetStream: w.bus, Store: snapshot.Folder(w.TempDir()), Now: time.Now}
	taken, err := s.Take(w.ctx, wanted, silent)
	must(t, err)
	copied, err := s.Copy(w.ctx, taken, uuid.Must(uuid.NewV7()).String(), "", snapshot.Cut{Latest: 1, Mask: personal()}, silent)
	must(t, err)
	for _, p := range copied.Services[0].Parts {
		must(t, w.js.DeleteStream(w.ctx, p.Stream()))
		_, err := snapshot.Put(w.ctx, w.bus, snapshot.Source{Config: p.Config, Archive: func() (io.ReadCloser, error) { return s.Open(w.ctx, copied, "sales", p) }})
		must(t, err)
	}
	stream, err := w.js.Stream(w.ctx, "SALES")
	must(t, err)
	if state := stream.CachedInfo().State; state.Msgs != 10 || state.LastSeq != 30 {
		t.Errorf("the stream is %+v", state)
	}
	kv, err := w.js.KeyValue(w.ctx, "users")
	must(t, err)
	keys, err := kv.Keys(w.ctx)
	must(t, err)
	if len(keys) != 10 || !strings.HasPrefix(keys[0], "masked-") {
		t.Errorf("the keys are %v", keys)
	}
}

func TestWhatCannotBeMaskedIsRefused(t *testing.T) {
	w := start(t)
	wanted := shop(w)
	_, err := w.js.Publish(w.ctx, "orders.1", []byte("no JSON"))
	must(t, err)
	s := &snapshot.Snapshots{JetStream: w.bus, Store: snapshot.Folder(w.TempDir()), Now: time.Now}
	taken, err := s.Take(w.ctx, wanted, silent)
	must(t, err)
	rules := snapshot.MaskedParts{"stock": {".": mask.Digits}}
	if _, err := s.Copy(w.ctx, taken, uuid.Must(uuid.NewV7()).String(), "", snapshot.Cut{Mask: rules}, silent); !errors.Is(err, snapshot.ErrMask) || !strings.Contains(err.Error(), "images") {
		t.Errorf("objects beside what is masked: %v", err)
	}
	rules["images"] = mask.Written{mask.All: mask.Pass}
	if _, err := s.Copy(w.ctx, taken, uuid.Must(uuid.NewV7()).String(), "", snapshot.Cut{Mask: rules}, silent); err != nil {
		t.Errorf("objects that may be shown: %v", err)
	}
	rules["ORDERS"] = mask.Written{"name": mask.Text}
	if _, err := s.Copy(w.ctx, taken, uuid.Must(uuid.NewV7()).String(), "", snapshot.Cut{Mask: rules}, silent); !errors.Is(err, snapshot.ErrMask) {
		t.Errorf("what is no JSON: %v", err)
	}
}

func TestWhatACutMayBe(t *testing.T) {
	many := func(n int) (all []string) {
		for i := range n {
			all = append(all, fmt.Sprintf("a.%d", i))
		}
		return all
	}
	rules := func(n int) mask.Written {
		all := make(mask.Written)
		for i := range n {
			all[fmt.Sprintf("f%d", i)] = mask.Text
		}
		return all
	}
	parts := func(n int) snapshot.MaskedParts {
		all := make(snapshot.MaskedParts)
		for i := range n {
			all[fmt.Sprintf("p%d", i)] = rules(1)
		}
		return all
	}
	for name, c := range map[string]struct {
		cut snapshot.Cut
		ok  bool
	}{
		"nothing":           {snapshot.Cut{}, true},
		"less than none":    {snapshot.Cut{Latest: -1}, false},
		"all of it drawn":   {snapshot.Cut{Sample: 1}, true},
		"more than all":     {snapshot.Cut{Sample: 1.01}, false},
		"all subjects":      {snapshot.Cut{Where: many(snapshot.MaxWhere)}, true},
		"one more":          {snapshot.Cut{Where: many(snapshot.MaxWhere + 1)}, false},
		"no subject":        {snapshot.Cut{Where: []string{"a..b"}}, false},
		"nothing behind >":  {snapshot.Cut{Where: []string{"a.>.b"}}, false},
		"a long one":        {snapshot.Cut{Where: []string{strings.Repeat("a", snapshot.MaxPattern)}}, true},
		"a longer one":      {snapshot.Cut{Where: []string{strings.Repeat("a", snapshot.MaxPattern+1)}}, false},
		"all rules":         {snapshot.Cut{Mask: snapshot.MaskedParts{"x": rules(mask.MaxRules)}}, true},
		"a rule more":       {snapshot.Cut{Mask: snapshot.MaskedParts{"x": rules(mask.MaxRules + 1)}}, false},
		"all parts":         {snapshot.Cut{Mask: parts(mask.MaxParts)}, true},
		"a part more":       {snapshot.Cut{Mask: parts(mask.MaxParts + 1)}, false},
		"a long path":       {snapshot.Cut{Mask: snapshot.MaskedParts{"x": {strings.Repeat("a", mask.MaxPath): mask.Text}}}, true},
		"a longer path":     {snapshot.Cut{Mask: snapshot.MaskedParts{"x": {strings.Repeat("a", mask.MaxPath+1): mask.Text}}}, false},
		"no kind":           {snapshot.Cut{Mask: snapshot.MaskedParts{"x": {"a": "rot13"}}}, false},
		"no token":          {snapshot.Cut{Mask: snapshot.MaskedParts{"x": {"#x": mask.Text}}}, false},
		"no rule":           {snapshot.Cut{Mask: snapshot.MaskedParts{"x": {}}}, false},
		"pass":              {snapshot.Cut{Mask: snapshot.MaskedParts{"x": {"*": "pass"}}}, true},
		"pass and a rule":   {snapshot.Cut{Mask: snapshot.MaskedParts{"x": {"*": "pass", "a": mask.Text}}}, false},
		"pass for one path": {snapshot.Cut{Mask: snapshot.MaskedParts{"x": {"a": "pass"}}}, false},
	} {
		if err := c.cut.Validate(); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	both := snapshot.MaskedParts{"a": {"x": mask.Drop}, "b": {"*": "pass"}}.And(snapshot.MaskedParts{"a": {"x": mask.Text, "y": mask.Mail}, "c": {"z": mask.Text}})
	if !both.Covers(snapshot.MaskedParts{"a": {"y": mask.Mail}, "b": {"*": "pass"}}) || both.Covers(snapshot.MaskedParts{"a": {"x": mask.Text}}) || both.Covers(snapshot.MaskedParts{"d": {"x": mask.Text}}) {
		t.Errorf("what %v covers is not so", both)
	}
	if passed := (snapshot.MaskedParts{"a": {"*": "pass"}}).And(snapshot.MaskedParts{"a": {"x": mask.Text}}); passed["a"].Passes() {
		t.Errorf("what one side masks the other lets pass: %v", passed)
	}
	if fmt.Sprint(both) != "map[a:map[x:drop y:mail] b:map[*:pass] c:map[z:text]]" {
		t.Errorf("both are %v", both)
	}
}

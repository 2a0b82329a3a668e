package snapshot_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/snapshot"
)

// stores are all places that snapshots may lie in.
func stores(w *world) map[string]snapshot.Store {
	objects, err := snapshot.MakeObjects(w.ctx, w.nc, "of-this-test", 1)
	must(w, err)
	return map[string]snapshot.Store{"objects": objects, "folder": snapshot.Folder(filepath.Join(w.TempDir(), "kept"))}
}

// shop is an app with three services and all kinds of state.
func shop(w *world) snapshot.Snapshot {
	w.stream(jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}}, 200)
	kv, err := w.js.CreateKeyValue(w.ctx, jetstream.KeyValueConfig{Bucket: "stock"})
	must(w, err)
	_, err = kv.PutString(w.ctx, "a", "1")
	must(w, err)
	objects, err := w.js.CreateObjectStore(w.ctx, jetstream.ObjectStoreConfig{Bucket: "images"})
	must(w, err)
	_, err = objects.PutBytes(w.ctx, "one", make([]byte, 300_000))
	must(w, err)
	return again()
}

// again is what is wanted of a take of the shop.
func again() snapshot.Snapshot {
	return snapshot.Snapshot{ID: uuid.Must(uuid.NewV7()).String(), App: "shop", Version: "0.0.1", Rollout: uuid.NewString(), By: "ann", Services: []snapshot.Service{
		{Name: "orders", Version: "0.0.1", Parts: []snapshot.Part{{Kind: snapshot.KindStream, Name: "ORDERS"}, {Kind: snapshot.KindKV, Name: "stock"}}},
		{Name: "images", Version: "0.0.2", Parts: []snapshot.Part{{Kind: snapshot.KindObjects, Name: "images"}}},
	}}
}

func silent(snapshot.Progress) {}

func TestASnapshotIsTakenListedCheckedAndDropped(t *testing.T) {
	w := start(t)
	wanted := shop(w)
	for name, store := range stores(w) {
		s := snapshot.Snapshots{JetStream: w.bus, Store: store, Now: time.Now}
		told := 0
		taken, err := s.Take(w.ctx, wanted, func(snapshot.Progress) { told++ })
		must(t, err)
		if !taken.Moment.One || taken.Size == 0 || taken.Checked.IsZero() || told < 6 {
			t.Errorf("%s: it is %+v, told %d times", name, taken, told)
		}
		if p := taken.Services[0].Parts[0]; p.Messages != 200 || p.State.Last != 200 || p.Digest == "" {
			t.Errorf("%s: ORDERS is %+v", name, p)
		}
		repeated, err := s.Take(w.ctx, wanted, silent)
		must(t, err)
		if !repeated.Taken.Equal(taken.Taken) {
			t.Errorf("%s: the same snapshot was taken twice", name)
		}
		all, _, err := s.List(w.ctx, "shop")
		must(t, err)
		other, _, err := s.List(w.ctx, "other")
		must(t, err)
		if len(all) != 1 || len(other) != 0 || all[0].ID != wanted.ID {
			t.Errorf("%s: %d and %d are listed", name, len(all), len(other))
		}
		checked, err := s.Check(w.ctx, all[0], silent)
		must(t, err)
		if !checked.Checked.After(taken.Checked) {
			t.Errorf("%s: it was checked at %s", name, checked.Checked)
		}
		must(t, s.Drop(w.ctx, "shop", wanted.ID))
		must(t, s.Drop(w.ctx, "shop", wanted.ID))
		if names, err := store.Names(w.ctx); err != nil || len(names) != 0 {
			t.Errorf("%s: %v is left: %v", name, names, err)
		}
	}
}

func TestSoManySnapshotsAreKept(t *testing.T) {
	w := start(t)
	shop(w)
	for name, store := range stores(w) {
		s := snapshot.Snapshots{JetStream: w.bus, Store: store, Now: time.Now, Keep: 2}
		waited := again()
		var ids []string
		for range 3 {
			taken, err := s.Take(w.ctx, again(), silent)
			must(t, err)
			ids = append(ids, taken.ID)
		}
		all, _, err := s.List(w.ctx, "")
		must(t, err)
		if len(all) != 2 || all[0].ID != ids[2] || all[1].ID != ids[1] {
			t.Errorf("%s: %d are kept", name, len(all))
		}
		for n := range 3 {
			rehearsed := again()
			rehearsed.For = snapshot.ForRehearsal
			_, err = s.Take(w.ctx, rehearsed, silent)
			must(t, err)
			if all, _, _ := s.List(w.ctx, ""); len(all) != min(3+n, 4) {
				t.Errorf("%s: with %d of rehearsals, %d are kept", name, n+1, len(all))
			}
		}
		_, err = s.Take(w.ctx, waited, silent)
		must(t, err)
		if _, err := s.Load(w.ctx, waited.App, waited.ID); err != nil {
			t.Errorf("%s: with the oldest id, what was just taken is gone: %v", name, err)
		}
	}
}

func TestASnapshotSaysThatItIsNotOfOneMoment(t *testing.T) {
	w := start(t)
	wanted := shop(w)
	s := snapshot.Snapshots{JetStream: w.bus, Store: stores(w)["folder"], Now: time.Now, At: func(p snapshot.Point) {
		if p == snapshot.CutAll {
			for range 3 {
				_, err := w.js.Publish(w.ctx, "orders.1", nil)
				must(t, err)
			}
		}
	}}
	taken, err := s.Take(w.ctx, wanted, silent)
	must(t, err)
	if taken.Moment.One || taken.Moment.Skew != 3 {
		t.Errorf("it says %+v", taken.Moment)
	}
}

// TestATakeMayDieAnywhere ends one at each of its points, and has another one go on.
func TestATakeMayDieAnywhere(t *testing.T) {
	w := start(t)
	shop(w)
	for name, store := range stores(w) {
		for _, p := range []snapshot.Point{snapshot.Swept, snapshot.CutFirst, snapshot.CutAll, snapshot.ReadBack, snapshot.Recorded} {
			s := snapshot.Snapshots{JetStream: w.bus, Store: store, Now: time.Now}
			wanted := again()
			func() {
				defer func() { _ = recover() }()
				dying := s
				dying.At = func(at snapshot.Point) {
					if at == p {
						panic("it dies")
					}
				}
				_, _ = dying.Take(w.ctx, wanted, silent)
				t.Errorf("%s: it does not pass %s", name, p)
			}()
			all, _, err := s.List(w.ctx, "")
			must(t, err)
			if counts := len(all) == 1; counts != (p == snapshot.Recorded) {
				t.Errorf("%s: after its death at %s %d count", name, p, len(all))
			}
			_, err = s.Take(w.ctx, wanted, silent)
			must(t, err)
			names, err := store.Names(w.ctx)
			must(t, err)
			if len(names) != 4 {
				t.Errorf("%s: after a death at %s there are %v", name, p, names)
			}
			must(t, s.Drop(w.ctx, wanted.App, wanted.ID))
		}
	}
}

func TestATakeThatFailsLeavesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		want  string
		spoil func(w *world, s *snapshot.Snapshots) context.Context
	}{
		"a stream that is not there": {"is not there", func(w *world, s *snapshot.Snapshots) context.Context {
			must(w, w.js.DeleteStream(w.ctx, "KV_stock"))
			return w.ctx
		}},
		"a stream that is deleted meanwhile": {"not found", func(w *world, s *snapshot.Snapshots) context.Context {
			s.At = func(p snapshot.Point) {
				if p == snapshot.CutFirst {
					must(w, w.js.DeleteStream(w.ctx, "OBJ_images"))
					s.At = nil
				}
			}
			return w.ctx
		}},
		"its end": {"context canceled", func(w *world, s *snapshot.Snapshots) context.Context {
			ctx, cancel := context.WithCancel(w.ctx)
			s.At = func(p snapshot.Point) {
				if p == snapshot.CutFirst {
					cancel()
				}
			}
			return ctx
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t)
			wanted := shop(w)
			store := stores(w)["objects"]
			s := &snapshot.Snapshots{JetStream: w.bus, Store: store, Now: time.Now}
			ctx := c.spoil(w, s)
			if _, err := s.Take(ctx, wanted, silent); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("it ends with %v", err)
			}
			if names, err := store.Names(w.ctx); err != nil || len(names) != 0 {
				t.Errorf("%v is left: %v", names, err)
			}
		})
	}
}

// TestAFullObjectStoreEndsATake is about a bus that has no room.
func TestAFullObjectStoreEndsATake(t *testing.T) {
	w := start(t)
	wanted := shop(w)
	store := stores(w)["objects"]
	stream, err := w.js.Stream(w.ctx, "OBJ_golive-snapshots")
	must(t, err)
	c := stream.CachedInfo().Config
	c.MaxBytes = 2000
	_, err = w.js.UpdateStream(w.ctx, c)
	must(t, err)
	s := &snapshot.Snapshots{JetStream: w.bus, Store: store, Now: time.Now}
	if _, err := s.Take(w.ctx, wanted, silent); err == nil || !strings.Contains(err.Error(), "full") {
		t.Errorf("it ends with %v", err)
	}
	if names, err := store.Names(w.ctx); err != nil || len(names) != 0 {
		t.Errorf("%v is left: %v", names, err)
	}
	info, err := stream.Info(w.ctx)
	must(t, err)
	if info.State.Msgs != 0 {
		t.Errorf("%d chunks are left", info.State.Msgs)
	}
}

// TestAManifestIsReadWhileItIsWrittenAnew is about one that asks while somebody checks.
func TestAManifestIsReadWhileItIsWrittenAnew(t *testing.T) {
	w := start(t)
	shop(w)
	for name, store := range stores(w) {
		s := &snapshot.Snapshots{JetStream: w.bus, Store: store, Now: time.Now}
		taken, err := s.Take(w.ctx, again(), silent)
		must(t, err)
		checked := make(chan error, 1)
		go func() {
			var err error
			for range 20 {
				if _, e := s.Check(w.ctx, taken, silent); e != nil {
					err = e
				}
			}
			checked <- err
		}()
		for done := false; !done; {
			if _, err := s.Load(w.ctx, taken.App, taken.ID); err != nil {
				t.Errorf("%s: it is read: %v", name, err)
			}
			select {
			case err := <-checked:
				done = true
				must(t, err)
			default:
			}
		}
	}
}

// TestASnapshotThatIsDroppedWhileItIsCheckedIsGone is about two people at once.
func TestASnapshotThatIsDroppedWhileItIsCheckedIsGone(t *testing.T) {
	w := start(t)
	shop(w)
	for name, store := range stores(w) {
		s := &snapshot.Snapshots{JetStream: w.bus, Store: store, Now: time.Now}
		taken, err := s.Take(w.ctx, again(), silent)
		must(t, err)
		s.Now = func() time.Time { // which it asks once it has read all
			must(t, s.Drop(w.ctx, taken.App, taken.ID))
			return time.Now()
		}
		if _, err := s.Check(w.ctx, taken, silent); !errors.Is(err, snapshot.ErrDamaged) {
			t.Errorf("%s: its check ends with %v", name, err)
		}
		if names, err := store.Names(w.ctx); err != nil || len(names) != 0 {
			t.Errorf("%s: %v is left: %v", name, names, err)
		}
	}
}

func TestASnapshotThatWasTamperedWithIsDamaged(t *testing.T) {
	w := start(t)
	wanted := shop(w)
	folder := filepath.Join(t.TempDir(), "kept")
	s := &snapshot.Snapshots{JetStream: w.bus, Store: snapshot.Folder(folder), Now: time.Now}
	taken, err := s.Take(w.ctx, wanted, silent)
	must(t, err)
	archive := filepath.Join(folder, "shop", taken.ID, "orders", "stream-ORDERS.s2")
	manifest := filepath.Join(folder, "shop", taken.ID, "manifest.json")
	whole, err := os.ReadFile(archive)
	must(t, err)
	written, err := os.ReadFile(manifest)
	must(t, err)
	for name, change := range map[string][]byte{"changed": append([]byte{whole[0] ^ 1}, whole[1:]...), "cut off": whole[:100], "longer": append(whole[:len(whole):len(whole)], 0)} {
		must(t, os.WriteFile(archive, change, 0o600))
		if _, err := s.Check(w.ctx, taken, silent); !errors.Is(err, snapshot.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, os.Remove(archive))
	if _, err := s.Check(w.ctx, taken, silent); !errors.Is(err, snapshot.ErrDamaged) {
		t.Errorf("it is missing: %v", err)
	}
	for change, want := range map[string]error{
		`"format": 1>"format": 2`:                snapshot.ErrFormat,
		`"format": 1>"format": 0`:                snapshot.ErrFormat,
		`"app": "shop">"app": "other"`:           snapshot.ErrDamaged,
		`"app": "shop">"app": "shop", "new": 1`:  snapshot.ErrDamaged,
		`"name": "ORDERS">"name": "GOLIVE"`:      snapshot.ErrDamaged,
		`"name": "orders">"name": "../../x"`:     snapshot.ErrDamaged,
		`"digest": ">"digest": "\u001b[31m`:      snapshot.ErrDamaged,
		`"rollout": ">"rollout": "x`:             snapshot.ErrDamaged,
		`"version": "0.0.1">"version": "\u0007"`: snapshot.ErrDamaged,
		"{>[":                                    snapshot.ErrDamaged,
	} {
		from, to, _ := strings.Cut(change, ">")
		must(t, os.WriteFile(manifest, []byte(strings.Replace(string(written), from, to, 1)), 0o600))
		if _, err := s.Load(w.ctx, "shop", taken.ID); !errors.Is(err, want) {
			t.Errorf("%s: %v", change, err)
		}
	}
}

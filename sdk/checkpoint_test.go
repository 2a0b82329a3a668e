package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
	"github.com/golive-dev/golive/sdk"
)

// kept is a checkpoint as it stands in the bucket.
type kept struct {
	Attempt  int
	Instance string
	Data     json.RawMessage
}

func key(m protocol.StartMessage) string {
	return protocol.CheckpointKey(m.Rollout, m.Step, m.Revert)
}

// kept reads the checkpoint of a step.
func (s *stage) kept(m protocol.StartMessage) (k kept) {
	s.t.Helper()
	entry, err := s.checkpoints().Get(s.within(), key(m))
	must(s.t, err)
	must(s.t, json.Unmarshal(entry.Value(), &k))
	return k
}

// mustRun fails the test unless the script of a start is done.
func (s *stage) mustRun(m protocol.StartMessage, do sdk.Script) {
	s.t.Helper()
	if err := s.inScript(m, do); err != nil {
		s.t.Fatal(err)
	}
}

// mustLoad gives an error unless the checkpoint is the one that is wanted; "none" is none.
func mustLoad(ctx context.Context, run *sdk.Run, want string) error {
	got := "none"
	var raw json.RawMessage
	found, err := run.LoadCheckpoint(ctx, &raw)
	if found {
		got = string(raw)
	}
	if err != nil || got != want {
		return fmt.Errorf("loaded %s with error %w, want %s", got, err, want)
	}
	return nil
}

func TestTheNextAttemptGoesOnFromTheCheckpoint(t *testing.T) {
	s := newStage(t)
	type progress struct {
		Todo int    `json:"todo"`
		Name string `json:"name"`
	}
	m := start(protocol.Online, 1)
	s.mustRun(m, func(ctx context.Context, run *sdk.Run) error {
		if err := mustLoad(ctx, run, "none"); err != nil {
			return err
		}
		for n := range 3 {
			if err := run.SaveCheckpoint(ctx, progress{n, "<b>"}); err != nil {
				return err
			}
		}
		return mustLoad(ctx, run, `{"todo":2,"name":"\u003cb\u003e"}`)
	})
	first := s.kept(m)
	if first.Attempt != 1 || first.Instance == "" || string(first.Data) != `{"todo":2,"name":"\u003cb\u003e"}` {
		t.Errorf("kept %+v", first)
	}

	m.Attempt = 2
	s.mustRun(m, func(ctx context.Context, run *sdk.Run) error {
		var p progress
		if found, err := run.LoadCheckpoint(ctx, &p); !found || err != nil || p != (progress{2, "<b>"}) {
			return fmt.Errorf("loaded %+v, found %t: %w", p, found, err)
		}
		return nil
	})
	second := s.kept(m)
	if second.Attempt != 2 || second.Instance == first.Instance || string(second.Data) != string(first.Data) {
		t.Errorf("the attempt that has only loaded keeps %+v", second)
	}

	m.Attempt, m.Revert = 3, true // the way back has its own
	s.mustRun(m, func(ctx context.Context, run *sdk.Run) error {
		if err := mustLoad(ctx, run, "none"); err != nil {
			return err
		}
		return run.SaveCheckpoint(ctx, "undone")
	})
	m.Attempt, m.Revert = 4, false
	s.mustRun(m, func(ctx context.Context, run *sdk.Run) error { return mustLoad(ctx, run, string(first.Data)) })
}

func TestAnAttemptThatSavesFirstTakesTheKeyToo(t *testing.T) {
	s := newStage(t)
	m := start(protocol.Online, 1)
	s.mustRun(m, func(ctx context.Context, run *sdk.Run) error { return run.SaveCheckpoint(ctx, 1) })
	m.Attempt = 5
	s.mustRun(m, func(ctx context.Context, run *sdk.Run) error { return run.SaveCheckpoint(ctx, 5) })
	if k := s.kept(m); k.Attempt != 5 || string(k.Data) != "5" {
		t.Errorf("kept %+v", k)
	}
	m.Attempt = 4
	s.mustRun(m, func(ctx context.Context, run *sdk.Run) error {
		for _, err := range []error{mustLoad(ctx, run, ""), run.SaveCheckpoint(ctx, 4)} {
			if !errors.Is(err, sdk.ErrSuperseded) {
				return fmt.Errorf("error %w", err)
			}
		}
		return nil
	})
	if k := s.kept(m); k.Attempt != 5 || string(k.Data) != "5" {
		t.Errorf("afterwards, kept %+v", k)
	}
}

// An attempt that was taken for dead comes back: it has lost the step, and can do nothing
// to the checkpoints of the one that has it now.
func TestAnAttemptThatComesBackFromTheDeadIsSuperseded(t *testing.T) {
	s := newStage(t)
	saved, back := make(chan int, 10), make(chan struct{})
	results := make(chan error, 10)
	s.run(setup(func(ctx context.Context, run *sdk.Run) error {
		if run.Start.Attempt > 1 {
			return errors.New("not here")
		}
		if err := run.SaveCheckpoint(ctx, "first"); err != nil {
			return err
		}
		saved <- 1
		<-back
		for n := range 3 {
			results <- run.SaveCheckpoint(ctx, n)
		}
		_, err := run.LoadCheckpoint(ctx, nil)
		results <- err
		return err
	}))
	m := start(protocol.Online, 1)
	heard := s.accept(m)
	s.send(m)
	receive(t, saved, "the first attempt")
	before := s.kept(m)

	second := make(chan int, 10)
	s.run(setup(func(ctx context.Context, run *sdk.Run) error {
		second <- run.Start.Attempt
		if err := mustLoad(ctx, run, `"first"`); err != nil {
			return err
		}
		return run.SaveCheckpoint(ctx, "second")
	}))
	h := heard.sendNext(s, m, 2)
	for n := 3; !h.Done; n++ { // until the other instance gets one
		h = heard.sendNext(s, m, n)
	}
	if n := receive(t, second, "the second instance"); n != h.Attempt {
		t.Errorf("attempt %d was answered %s", n, h.msg.Data)
	}
	after := s.kept(m)
	close(back)
	for range 4 {
		if err := receive(t, results, "the first attempt"); !errors.Is(err, sdk.ErrSuperseded) {
			t.Errorf("the first attempt got %v", err)
		}
	}
	last := heard.mustBeFailed(protocol.CodeFailed)
	if last.Attempt != 1 || last.Error.Message != "load checkpoint: a later attempt of this step has begun; stop" {
		t.Errorf("answered %s", last.msg.Data)
	}
	if k := s.kept(m); k.Attempt != h.Attempt || string(k.Data) != `"second"` || k.Instance != after.Instance || k.Instance == before.Instance {
		t.Errorf("kept %+v", k)
	}
}

// sendNext starts an attempt and gives its answer.
func (a *answers) sendNext(s *stage, m protocol.StartMessage, attempt int) heard {
	a.t.Helper()
	m.Attempt = attempt
	s.send(m)
	return a.next()
}

func TestTheSameAttemptOfAnotherInstanceIsRefused(t *testing.T) {
	s := newStage(t)
	m := start(protocol.Online, 1)
	_, err := s.checkpoints().PutString(s.within(), key(m), `{"attempt":1,"instance":"somebody else","data":7}`)
	must(t, err)
	s.mustRun(m, func(ctx context.Context, run *sdk.Run) error {
		if err := run.SaveCheckpoint(ctx, 8); !errors.Is(err, sdk.ErrSuperseded) {
			return fmt.Errorf("error %w", err)
		}
		return nil
	})
}

func TestWhatACheckpointCanBe(t *testing.T) {
	s := newStage(t)
	s.mustRun(start(protocol.Online, 1), func(ctx context.Context, run *sdk.Run) error {
		for _, tt := range []struct {
			value any
			want  string
		}{
			{nil, "null"}, {"", `""`}, {[]byte{}, `""`}, {[]byte(nil), "null"}, {json.RawMessage{}, "null"},
			{json.RawMessage(" [1, 2]\n"), "[1,2]"}, {map[string]int{"a": 1}, `{"a":1}`},
		} {
			if err := run.SaveCheckpoint(ctx, tt.value); err != nil {
				return err
			}
			if err := mustLoad(ctx, run, tt.want); err != nil {
				return err
			}
		}
		if err := run.SaveCheckpoint(ctx, make(chan int)); err == nil {
			return errors.New("a channel was saved")
		}
		var number int
		if found, err := run.LoadCheckpoint(ctx, &number); found || err == nil {
			return fmt.Errorf("an object was loaded into a number: %d", number)
		}
		return mustLoad(ctx, run, `{"a":1}`)
	})
}

func TestACheckpointThatIsTooBigIsRefused(t *testing.T) {
	s := newStage(t)
	m := start(protocol.Online, 1)
	most := int(s.nc.MaxPayload()) - 512
	s.mustRun(m, func(ctx context.Context, run *sdk.Run) error {
		err := run.SaveCheckpoint(ctx, strings.Repeat("a", most-1)) // and two quotes
		want := fmt.Sprintf("save checkpoint: it is %d bytes long, the bus takes at most %d: nats: maximum payload exceeded", most+1, most)
		if !errors.Is(err, nats.ErrMaxPayload) || err.Error() != want {
			return fmt.Errorf("error %w, want %s", err, want)
		}
		return run.SaveCheckpoint(ctx, strings.Repeat("a", most-2))
	})
	m.Attempt = 1_000_000_000 // it can take the key all the same
	s.mustRun(m, func(ctx context.Context, run *sdk.Run) error {
		var text string
		if found, err := run.LoadCheckpoint(ctx, &text); !found || err != nil || len(text) != most-2 {
			return fmt.Errorf("loaded %d bytes: %w", len(text), err)
		}
		return nil
	})
}

func TestStartedByHandAScriptKeepsNoCheckpoints(t *testing.T) {
	s := newStage(t)
	s.run(setup(func(ctx context.Context, run *sdk.Run) error {
		if err := run.SaveCheckpoint(ctx, 1); err != nil {
			return err
		}
		return mustLoad(ctx, run, "none")
	}))
	m := start(protocol.Online, 1)
	heard := s.accept(m)
	must(t, s.nc.Publish(m.Script().Subject(protocol.Start), nil))
	heard.mustBeDone()
	if keys, err := s.checkpoints().Keys(s.within()); err == nil {
		t.Errorf("there are checkpoints: %v", keys)
	}
}

func TestCheckpointsAreSavedOneAfterTheOther(t *testing.T) {
	const saves = 50
	s := newStage(t)
	m := start(protocol.Online, 1)
	s.mustRun(m, func(ctx context.Context, run *sdk.Run) error {
		var all sync.WaitGroup
		errs := make(chan error, saves)
		for n := range saves {
			all.Go(func() { errs <- run.SaveCheckpoint(ctx, n) })
		}
		all.Wait()
		close(errs)
		for err := range errs {
			if err != nil {
				return err
			}
		}
		return run.SaveCheckpoint(ctx, "last")
	})
	entry, err := s.checkpoints().Get(s.within(), key(m))
	must(t, err)
	if entry.Revision() != saves+1 { // each was one write
		t.Errorf("the last has revision %d", entry.Revision())
	}
	if k := s.kept(m); string(k.Data) != `"last"` {
		t.Errorf("kept %+v", k)
	}
}

// A write that is refused though nobody else has the key is tried again: a cluster does
// that, and so does the answer of a write that was lost.
func TestARefusedWriteIsReadBack(t *testing.T) {
	s := newStage(t)
	m := start(protocol.Online, 1)
	kv := s.checkpoints()
	s.mustRun(m, func(ctx context.Context, run *sdk.Run) error {
		if err := run.SaveCheckpoint(ctx, 1); err != nil {
			return err
		}
		for _, change := range []func(value []byte) error{
			func(value []byte) error { _, err := kv.Put(ctx, key(m), value); return err },
			func([]byte) error { return kv.Delete(ctx, key(m)) },
			func([]byte) error { return kv.Purge(ctx, key(m)) },
			func([]byte) error {
				_, err := kv.PutString(ctx, key(m), `{"attempt":0,"instance":"an earlier one","data":0}`)
				return err
			},
		} {
			entry, err := kv.Get(ctx, key(m))
			if err != nil {
				return err
			}
			if err := change(entry.Value()); err != nil {
				return err
			}
			if err := run.SaveCheckpoint(ctx, 2); err != nil {
				return err
			}
			if err := mustLoad(ctx, run, "2"); err != nil {
				return err
			}
		}
		return nil
	})
}

func TestWhatIsNoCheckpointIsNotTriedAgain(t *testing.T) {
	s := newStage(t)
	m := start(protocol.Online, 1)
	_, err := s.checkpoints().PutString(s.within(), key(m), "not JSON")
	must(t, err)
	failed := s.inScript(m, func(ctx context.Context, run *sdk.Run) error { return run.SaveCheckpoint(ctx, 1) })
	if failed == nil || !strings.HasPrefix(failed.Message, "save checkpoint: what is kept is no checkpoint: ") || failed.Retry == nil || *failed.Retry {
		t.Errorf("failed with %v", failed)
	}
}

func TestCheckpointsWaitForTheirBucket(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	js, err := s.nc.JetStream()
	must(t, err)
	must(t, js.DeleteStream("KV_"+protocol.CheckpointsBucket))
	s.mustRun(start(protocol.Online, 1), func(ctx context.Context, run *sdk.Run) error {
		short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		if err := run.SaveCheckpoint(short, 1); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), protocol.CheckpointsBucket) {
			return fmt.Errorf("error %w", err)
		}
		saved := make(chan error, 1)
		go func() { saved <- run.SaveCheckpoint(ctx, 2) }()
		s.checkpoints()
		if err := <-saved; err != nil {
			return err
		}
		return mustLoad(ctx, run, "2")
	})
}

func TestACheckpointOutlastsALossOfTheBus(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	cable := s.Cable()
	s.runOn(s.ConnectTo(cable.URL()), setup(func(ctx context.Context, run *sdk.Run) error {
		if err := run.SaveCheckpoint(ctx, 1); err != nil {
			return err
		}
		cable.Hold()
		short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		if err := run.SaveCheckpoint(short, 2); !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("error %w", err)
		}
		saved := make(chan error, 1)
		go func() { saved <- run.SaveCheckpoint(ctx, 3) }()
		cable.Release() // the second save may arrive now
		if err := <-saved; err != nil {
			return err
		}
		return mustLoad(ctx, run, "3")
	}))
	m := start(protocol.Online, 1)
	heard := s.accept(m)
	s.send(m)
	heard.mustBeDone()
	if k := s.kept(m); string(k.Data) != "3" {
		t.Errorf("kept %+v", k)
	}
}

func TestCheckpointsOutlastTheLeaderOfTheirBucket(t *testing.T) {
	t.Parallel()
	relaytest.Long(t)
	const saves = 30
	cluster := relaytest.StartCluster(t, 3)
	r := cluster.Connect()
	s := &stage{t: t, r: r, nc: r.Conn()}
	for _, bucket := range []bus.Bucket{bus.Claims, bus.Checkpoints} {
		_, err := bus.Make(s.within(), s.nc, bucket, "", 3)
		must(t, err)
	}
	half, proceed := make(chan int), make(chan bool)
	s.runOn(cluster.Connect(), setup(func(ctx context.Context, run *sdk.Run) error {
		for n := range saves {
			if n == saves/2 {
				half <- n
				<-proceed
			}
			if err := run.SaveCheckpoint(ctx, n); err != nil {
				return fmt.Errorf("number %d: %w", n, err)
			}
			if err := mustLoad(ctx, run, fmt.Sprint(n)); err != nil {
				return err
			}
		}
		return nil
	}))
	m := start(protocol.Online, 1)
	m.Lease = protocol.Duration(protocol.LeaseFor) // longer than an election
	heard := s.accept(m)
	again := time.NewTicker(200 * time.Millisecond) // one server learns only in time who listens on another
	defer again.Stop()
	for begun, late := false, time.After(3*patience); !begun; { // each save is synced on three servers
		s.send(m)
		select {
		case <-half:
			begun = true
		case <-again.C:
		case <-late:
			t.Fatal("half of the work is not done")
		}
	}
	cluster.Stop(cluster.Leader("KV_" + protocol.CheckpointsBucket))
	close(proceed)
	heard.mustBeDone()
}

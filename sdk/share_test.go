package sdk_test

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
	"github.com/golive-dev/golive/sdk"
)

// parted is a source of the numbers from 1 to n, in so many partitions.
func parted(n, parts int) sdk.Source[int] {
	whole := numbers(n)
	return sdk.Source[int]{
		Count: whole.Count,
		Partitions: func(context.Context, *sdk.Run) (names []string, _ error) {
			for p := range parts {
				names = append(names, itoa(p))
			}
			return names, nil
		},
		Records: func(ctx context.Context, run *sdk.Run, partition, after string) iter.Seq2[sdk.Record[int], error] {
			return func(yield func(sdk.Record[int], error) bool) {
				for r, err := range whole.Records(ctx, run, "", after) {
					if itoa(r.Value%parts) == partition && !yield(r, err) {
						return
					}
				}
			}
		},
	}
}

// team are instances of one setup service that share a backfill.
type team struct {
	*stage
	to   *target
	b    sdk.Backfill[int]
	runs map[int]*atomic.Int64 // records, by instance
}

func newTeam(t *testing.T, b sdk.Backfill[int]) *team {
	b.Name = "todos"
	return &team{stage: newStage(t), to: newTarget(), b: b, runs: make(map[int]*atomic.Int64)}
}

// join adds an instance that does with a batch what do says, before the target takes it.
func (m *team) join(instance int, r *relay.Relay, do func(context.Context, sdk.Batch[int]) error) *running {
	m.t.Helper()
	b, runs := m.b, &atomic.Int64{}
	m.runs[instance] = runs
	b.Batch = func(ctx context.Context, run *sdk.Run, batch sdk.Batch[int]) error {
		if err := do(ctx, batch); err != nil {
			return err
		}
		runs.Add(int64(len(batch.Records)))
		return m.to.take(ctx, run, batch)
	}
	it := setup(b.Run)
	it.Shared = []sdk.Shareable{b}
	return m.runOn(r, it)
}

// until is a batch's work that waits for a channel to be closed.
func until(done <-chan struct{}) func(context.Context, sdk.Batch[int]) error {
	return func(ctx context.Context, _ sdk.Batch[int]) error {
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func atOnce(context.Context, sdk.Batch[int]) error { return nil }

// Instances that are idle take partitions of a backfill that one of them runs; what all
// have done is one progress and one answer.
func TestInstancesShareABackfill(t *testing.T) {
	t.Parallel()
	const n = 12_000
	m := newTeam(t, sdk.Backfill[int]{Source: parted(n, 12), BatchSize: 100})
	begun, othersDone := make(chan struct{}, n), make(chan struct{})
	s := start(protocol.Online, 1)
	answers, beats := m.accept(s), m.listen(s.Script().Subject(protocol.Progress))
	lead := m.join(0, m.Connect(), func(ctx context.Context, b sdk.Batch[int]) error {
		begun <- struct{}{}
		return until(othersDone)(ctx, b)
	})
	m.send(s)
	receive(t, begun, "a batch") // it is the first that leads
	m.join(1, m.Connect(), atOnce)
	m.join(2, m.Connect(), atOnce)
	lead.awaitLine("another instance helps")
	awaitProgress(t, beats, "what the others do", func(p protocol.ProgressMessage) bool { return p.Done != nil && *p.Done == n*11/12 && p.Total == n })
	close(othersDone)
	if h := answers.mustBeDone(); h.Items != n {
		t.Errorf("answered %s", h.msg.Data)
	}
	if repeats := m.to.mustHave(t, n); repeats != 0 {
		t.Errorf("%d came again", repeats)
	}
	if lead, helped := m.runs[0].Load(), m.runs[1].Load()+m.runs[2].Load(); lead != n/12 || helped != n*11/12 {
		t.Errorf("the leader moved %d, the others %d", lead, helped)
	}
	for _, b := range m.to.batches {
		if len(b.Records) != 100 {
			t.Errorf("a batch of %d records", len(b.Records))
		}
	}
}

// The partition of a helper that is silent is given to another, from its checkpoint. What
// the silent one reports later is refused.
func TestTheWorkOfASilentHelperIsGivenToAnother(t *testing.T) {
	t.Parallel()
	relaytest.Long(t)
	const n = 400
	m := newTeam(t, sdk.Backfill[int]{Source: parted(n, 2), BatchSize: 10, InFlight: 2})
	begun, goOn := make(chan struct{}, n), make(chan struct{})
	s := start(protocol.Online, 1)
	answers, beats := m.accept(s), m.listen(s.Script().Subject(protocol.Progress))
	lead := m.join(0, m.Connect(), func(ctx context.Context, b sdk.Batch[int]) error {
		begun <- struct{}{}
		return until(goOn)(ctx, b)
	})
	m.send(s)
	receive(t, begun, "a batch")
	cable := m.Cable()
	far, err := relay.Connect(m.within(), relay.Config{URL: cable.URL()})
	must(t, err)
	t.Cleanup(far.Close)
	half, silent := make(chan struct{}, n), make(chan struct{})
	helper := m.join(1, far, func(ctx context.Context, b sdk.Batch[int]) error {
		if b.Records[0].Value > n/2 {
			half <- struct{}{}
			return until(silent)(ctx, b)
		}
		return nil
	})
	receive(t, half, "the helper")
	awaitProgress(t, beats, "what it did", func(p protocol.ProgressMessage) bool { return p.Done != nil && *p.Done == n/4 })
	cable.Hold()
	lead.awaitLine("an instance that helped is silent, its partition is given to another")
	close(goOn)
	answers.mustBeDone()
	close(silent) // it finishes what nobody waits for any more
	cable.Release()
	helper.stop()
	if repeats := m.to.mustHave(t, n); repeats > 2*10 {
		t.Errorf("%d came again", repeats)
	}
	m.to.ids(t)
}

// A helper stops when the instance that leads is gone; the next attempt goes on from what
// both have done.
func TestAHelperStopsWithItsLeader(t *testing.T) {
	relaytest.Long(t)
	t.Parallel()
	const n = 4000
	m := newTeam(t, sdk.Backfill[int]{Source: parted(n, 2), BatchSize: 10, InFlight: 3})
	begun, never := make(chan struct{}, n), make(chan struct{})
	s := start(protocol.Online, 1)
	beats := m.listen(s.Script().Subject(protocol.Progress))
	lead := m.join(0, m.Connect(), func(ctx context.Context, b sdk.Batch[int]) error {
		begun <- struct{}{}
		return until(never)(ctx, b)
	})
	m.send(s)
	receive(t, begun, "a batch")
	ended := make(chan struct{}, n)
	helper := m.join(1, m.Connect(), func(ctx context.Context, b sdk.Batch[int]) error {
		if b.Records[0].Value < n/2 {
			return nil
		}
		<-ctx.Done() // of the helper's work: another would wait for ever
		ended <- struct{}{}
		return ctx.Err()
	})
	awaitProgress(t, beats, "what the helper did", func(p protocol.ProgressMessage) bool { return p.Done != nil && *p.Done == n/4 })
	lead.stop()
	receive(t, ended, "the end of the helper's work")
	helper.stop()

	s.Attempt = 2
	answers := m.accept(s)
	m.join(2, m.Connect(), atOnce)
	m.send(s)
	answers.mustBeDone()
	if repeats := m.to.mustHave(t, n); repeats > 2*3*10 {
		t.Errorf("%d came again", repeats)
	}
}

// What a helper cannot deal with fails the script, or is put aside, as if the leader had
// done it.
func TestWhatAHelperCannotDealWith(t *testing.T) {
	t.Parallel()
	for _, putAside := range []bool{false, true} {
		t.Run(fmt.Sprint(putAside), func(t *testing.T) {
			m := newTeam(t, sdk.Backfill[int]{Source: parted(400, 2), BatchSize: 10, Retries: -1, PutAside: putAside, MaxPutAside: 2})
			begun, goOn := make(chan struct{}, 400), make(chan struct{})
			s := start(protocol.Online, 1)
			answers, beats := m.accept(s), m.listen(s.Script().Subject(protocol.Progress))
			m.join(0, m.Connect(), func(ctx context.Context, b sdk.Batch[int]) error {
				begun <- struct{}{}
				return until(goOn)(ctx, b)
			})
			m.send(s)
			receive(t, begun, "a batch")
			m.join(1, m.Connect(), func(_ context.Context, b sdk.Batch[int]) error {
				for _, r := range b.Records {
					if r.Value == 201 || r.Value == 202 {
						return sdk.Permanent(fmt.Errorf("%d is refused", r.Value))
					}
				}
				return nil
			})
			if !putAside {
				if h := answers.mustBeFailed(protocol.CodeFailed); !strings.Contains(h.Error.Message, "is refused") || h.Error.Retry == nil {
					t.Errorf("answered %s", h.msg.Data)
				}
				return
			}
			awaitProgress(t, beats, "what the helper did", func(p protocol.ProgressMessage) bool { return p.Done != nil && *p.Done >= 200 && p.PutAside == 1 })
			close(goOn)
			if h := answers.mustBeDone(); h.Items != 399 || h.PutAside != 1 || len(m.failedRecords()) != 1 {
				t.Errorf("answered %s", h.msg.Data)
			}
		})
	}
}

// All instances together keep to the rate, and all are paused.
func TestATeamKeepsToOnePace(t *testing.T) {
	relaytest.Long(t)
	m := newTeam(t, sdk.Backfill[int]{Source: parted(endless, 3), BatchSize: 20, Rate: 3000})
	var moved counter
	count := func(_ context.Context, b sdk.Batch[int]) error { return moved.take(t.Context(), nil, b) }
	s := start(protocol.Online, 1)
	beats := m.listen(s.Script().Subject(protocol.Progress))
	lead := m.join(0, m.Connect(), count)
	m.send(s)
	awaitProgress(t, beats, "records", func(p protocol.ProgressMessage) bool { return p.Done != nil && *p.Done > 0 })
	for i := range 2 {
		m.join(i+1, m.Connect(), count)
	}
	for range 2 {
		lead.awaitLine("another instance helps")
	}
	awaitProgress(t, beats, "all at work", func(protocol.ProgressMessage) bool { return m.runs[1].Load() > 0 && m.runs[2].Load() > 0 })
	moved.mustSee(t, "all together", 3000)
	m.tell(protocol.Pause, s, "")
	lead.awaitLine("told")
	p := awaitProgress(t, beats, "the pause", func(p protocol.ProgressMessage) bool { return p.Held == "paused" })
	paused, before := time.Now(), int64(-1)
	awaitProgress(t, beats, "standstill", func(p protocol.ProgressMessage) bool {
		was := before
		before = moved.records.Load()
		return was == before && time.Since(paused) > 1500*time.Millisecond
	})
	if took := float64(before - *p.Done); took > 3000*1.5 {
		t.Errorf("%v records came after the pause", took)
	}
	m.cancel(s, "")
}

func TestWhatCannotBeShared(t *testing.T) {
	s := newStage(t)
	each := func(context.Context, *sdk.Run, sdk.Record[int]) error { return nil }
	good := sdk.Backfill[int]{Name: "todos", Source: parted(1, 1), Each: each}
	unnamed, whole, incomplete := good, good, good
	unnamed.Name, whole.Source, incomplete.Each = "", numbers(1), nil
	for want, shared := range map[string][]sdk.Shareable{
		"shared backfill: give it a Name":                      {unnamed},
		"shared backfill todos: give Source.Partitions":        {&whole},
		"shared backfill todos: give either Each or Batch":     {incomplete},
		"shared backfill todos: another one has the same Name": {good, &good},
		"there is a nil among them":                            {nil},
	} {
		it := setup(good.Run)
		it.Shared = shared
		if err := it.Run(t.Context(), s.r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

// A helper that is told to stop gives its partition back at once, and what is no request of
// a helper is passed over.
func TestAHelperThatLeavesGivesItsPartitionBack(t *testing.T) {
	m := newTeam(t, sdk.Backfill[int]{Source: parted(400, 2), BatchSize: 10, InFlight: 2})
	begun, goOn := make(chan struct{}, 400), make(chan struct{})
	s := start(protocol.Online, 1)
	answers := m.accept(s)
	invitations := m.listen(protocol.ShareSubject(s.Script()))
	m.join(0, m.Connect(), func(ctx context.Context, b sdk.Batch[int]) error {
		begun <- struct{}{}
		return until(goOn)(ctx, b)
	})
	m.send(s)
	receive(t, begun, "a batch")
	var i protocol.Invitation
	must(t, json.Unmarshal(receive(t, invitations, "an invitation").Data, &i))
	asking := protocol.AskSubject(s.Script(), i.Instance, i.Backfill)
	ask := func(q protocol.ShareRequest) (reply protocol.ShareReply) {
		t.Helper()
		data, err := json.Marshal(q)
		must(t, err)
		answer, err := m.nc.RequestWithContext(m.within(), asking, data)
		must(t, err)
		must(t, json.Unmarshal(answer.Data, &reply))
		return reply
	}
	must(t, m.nc.Publish(asking, []byte("{")))
	first := ask(protocol.ShareRequest{Instance: "a"})
	if first.Grant == "" || first.BatchSize != 10 || first.InFlight != 2 || first.Over {
		t.Errorf("got %+v", first)
	}
	if again := ask(protocol.ShareRequest{Instance: "a"}); again.Grant == first.Grant || again.Partition != first.Partition {
		t.Errorf("asked again, got %+v", again)
	} else if other := ask(protocol.ShareRequest{Instance: "b"}); !other.Over {
		t.Errorf("another got %+v", other)
	} else {
		if late := ask(protocol.ShareRequest{Instance: "a", Grant: first.Grant, Cursor: "399", Done: 200, Ended: true}); !late.Over {
			t.Errorf("the first grant still holds: %+v", late)
		}
		if r := ask(protocol.ShareRequest{Instance: "a", Grant: again.Grant, Leave: true}); !r.Over {
			t.Errorf("leaving, got %+v", r)
		}
	}
	if other := ask(protocol.ShareRequest{Instance: "b"}); other.Partition != first.Partition || other.Cursor != "" {
		t.Errorf("another got %+v", other)
	} else {
		no := false
		ask(protocol.ShareRequest{Instance: "b", Grant: other.Grant, Error: &protocol.ScriptError{Message: "disk full", Retry: &no}})
	}
	if h := answers.mustBeFailed(protocol.CodeFailed); h.Error.Message != "backfill todos: disk full" || h.Error.Retry == nil {
		t.Errorf("answered %s", h.msg.Data)
	}
}

// asker plays an instance that helps.
type asker struct {
	*team
	subject string
}

func (a asker) ask(q protocol.ShareRequest) (reply protocol.ShareReply) {
	a.t.Helper()
	data, err := json.Marshal(q)
	must(a.t, err)
	answer, err := a.nc.RequestWithContext(a.within(), a.subject, data)
	must(a.t, err)
	must(a.t, json.Unmarshal(answer.Data, &reply))
	return reply
}

// What is said about a partition by another than the one that holds it is not taken, nor
// what cannot be.
func TestReportsThatAreNotTaken(t *testing.T) {
	const n = 400
	m := newTeam(t, sdk.Backfill[int]{Source: parted(n, 2), BatchSize: 10, InFlight: 2})
	begun, goOn := make(chan struct{}, n), make(chan struct{})
	s := start(protocol.Online, 1)
	answers, invitations := m.accept(s), m.listen(protocol.ShareSubject(s.Script()))
	m.join(0, m.Connect(), func(ctx context.Context, b sdk.Batch[int]) error {
		begun <- struct{}{}
		return until(goOn)(ctx, b)
	})
	m.send(s)
	receive(t, begun, "a batch")
	var i protocol.Invitation
	must(t, json.Unmarshal(receive(t, invitations, "an invitation").Data, &i))
	a := asker{m, protocol.AskSubject(s.Script(), i.Instance, i.Backfill)}
	given := a.ask(protocol.ShareRequest{Instance: "a"})
	for what, q := range map[string]protocol.ShareRequest{
		"of another":                   {Instance: "b", Grant: given.Grant, Cursor: "399", Done: 200, Ended: true},
		"that another leaves":          {Instance: "b", Grant: given.Grant, Leave: true},
		"that another has failed":      {Instance: "b", Grant: given.Grant, Error: &protocol.ScriptError{Message: "disk full"}},
		"of what the leader works on":  {Instance: "a", Grant: "1", Cursor: "400", Done: 200, Ended: true},
		"of the second grant":          {Instance: "a", Grant: "2", Cursor: "399", Done: 200, Ended: true},
		"of records without a cursor":  {Instance: "a", Grant: given.Grant, Done: 200},
		"of less than no records":      {Instance: "a", Grant: given.Grant, Cursor: "399", Done: -1, Ended: true},
		"of more records than can be":  {Instance: "a", Grant: given.Grant, Cursor: "399", Done: 1 << 62, Ended: true},
		"of more put aside than it is": {Instance: "a", Grant: given.Grant, Cursor: "3", Done: 2, PutAside: 1 << 62},
	} {
		if reply := a.ask(q); !reply.Over {
			t.Errorf("a report %s: %+v", what, reply)
		}
	}
	if reply := a.ask(protocol.ShareRequest{Instance: "a", Grant: given.Grant, Cursor: "", Done: 0}); reply.Over || reply.Grant != given.Grant {
		t.Errorf("its own report: %+v", reply)
	}
	a.ask(protocol.ShareRequest{Instance: "a", Grant: given.Grant, Leave: true})
	close(goOn)
	answers.mustBeDone()
	if m.to.mustHave(t, n) != 0 {
		t.Error("some came again")
	}
}

// boss plays the instance that leads: it invites, and answers those who ask.
type boss struct {
	*team
	start  protocol.StartMessage
	digest string
	asked  <-chan *nats.Msg // of all instances that are said to lead
}

func newBoss(t *testing.T, m *team, s protocol.StartMessage) *boss {
	t.Helper()
	var info protocol.ScriptInfo
	must(t, m.r.Request(m.within(), protocol.AboutScriptSubject(s.Script()), nil, &info))
	return &boss{team: m, start: s, digest: info.Digest, asked: m.listen(protocol.AskSubject(s.Script(), "*", "*"))}
}

func (b *boss) invite(change func(*protocol.Invitation)) {
	b.t.Helper()
	i := protocol.Invitation{Instance: "good", Digest: b.digest, Start: b.start, Backfill: "todos"}
	change(&i)
	data, err := json.Marshal(i)
	must(b.t, err)
	must(b.t, b.nc.Publish(protocol.ShareSubject(b.start.Script()), data))
}

// next waits for what a helper says and answers it.
func (b *boss) next(reply any) (q protocol.ShareRequest, to string) {
	b.t.Helper()
	msg := receive(b.t, b.asked, "a request")
	must(b.t, json.Unmarshal(msg.Data, &q))
	data, err := json.Marshal(reply)
	must(b.t, err)
	must(b.t, msg.Respond(data))
	return q, msg.Subject
}

func follow(*protocol.Invitation) {}

// An instance helps nobody of another build or version, and nobody who makes no sense.
func TestInvitationsThatAreNotFollowed(t *testing.T) {
	m := newTeam(t, sdk.Backfill[int]{Source: parted(10, 2)})
	m.join(0, m.Connect(), atOnce)
	b := newBoss(t, m, start(protocol.Online, 1))
	for _, change := range []func(*protocol.Invitation){
		func(i *protocol.Invitation) { i.Digest = "sha256:1" },
		func(i *protocol.Invitation) { i.Digest = "" },
		func(i *protocol.Invitation) { i.Start.Version = "0.0.2" },
		func(i *protocol.Invitation) { i.Start.Service = "todos" },
		func(i *protocol.Invitation) { i.Start.Step = "todos/online" },
		func(i *protocol.Invitation) { i.Start.Attempt = 0 },
		func(i *protocol.Invitation) { i.Start.Rollout = "" },
		func(i *protocol.Invitation) { i.Start.Rollout = "a.>" },
		func(i *protocol.Invitation) { i.Instance = "" },
		func(i *protocol.Invitation) { i.Instance = "a.b" },
		func(i *protocol.Invitation) { i.Backfill = "other" },
	} {
		b.invite(func(i *protocol.Invitation) { i.Instance = "bad"; change(i) })
	}
	b.invite(follow)
	if _, to := b.next(protocol.ShareReply{Over: true}); !strings.Contains(to, ".good.") {
		t.Errorf("it asks on %s", to)
	}
}

// A helper leaves work that makes no sense, and takes nothing for an answer that is none.
func TestRepliesThatMakeNoSense(t *testing.T) {
	t.Parallel()
	m := newTeam(t, sdk.Backfill[int]{Source: parted(10, 2)})
	m.join(0, m.Connect(), atOnce)
	b := newBoss(t, m, start(protocol.Online, 1))
	good := protocol.ShareReply{Grant: "g", Partition: "1", BatchSize: 5, InFlight: 1}
	for _, bogus := range []func(*protocol.ShareReply){
		func(r *protocol.ShareReply) { r.BatchSize = 0 },
		func(r *protocol.ShareReply) { r.BatchSize = 1 << 40 },
		func(r *protocol.ShareReply) { r.Partition = "1; drop table" },
	} {
		reply := good
		bogus(&reply)
		b.employ(reply)
		b.answer(reply, func(q protocol.ShareRequest) bool { return q.Leave && q.Grant == "g" })
	}
	if m.to.seen() != 0 {
		t.Errorf("it moved %d records", m.to.seen())
	}
	b.employ(good)
	other := good
	other.Grant = "another"
	for _, none := range []any{map[string]any{"stream": "ALL", "seq": 3}, other} { // a stream that keeps everything acknowledges
		b.answer(none, func(q protocol.ShareRequest) bool { return q.Grant == "g" })
	}
	if q := b.answer(good, func(q protocol.ShareRequest) bool { return q.Ended }); q.Done != 5 || q.Cursor != "9" {
		t.Errorf("at the end it says %+v", q)
	}
}

// employ invites until somebody asks for work, and gives it.
func (b *boss) employ(work protocol.ShareReply) {
	b.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond) // who has yet to notice that its work is over does not come
	defer tick.Stop()
	patient := b.within()
	for {
		b.invite(follow)
		select {
		case msg := <-b.asked:
			data, err := json.Marshal(work)
			must(b.t, err)
			must(b.t, msg.Respond(data))
			return
		case <-tick.C:
		case <-patient.Done():
			b.t.Fatal("nobody asks for work")
		}
	}
}

// answer answers whatever is said, until something that is waited for was answered.
func (b *boss) answer(reply any, is func(protocol.ShareRequest) bool) protocol.ShareRequest {
	b.t.Helper()
	for {
		if q, _ := b.next(reply); is(q) {
			return q
		}
	}
}

// A record that a helper has put aside and another could deal with after it is not put
// aside any more.
func TestWhatAHelperHasPutAsideIsDealtWithByAnother(t *testing.T) {
	const n = 40
	m := newTeam(t, sdk.Backfill[int]{Source: parted(n, 2), BatchSize: 10, Retries: -1, PutAside: true})
	begun, goOn := make(chan struct{}, n), make(chan struct{})
	s := start(protocol.Online, 1)
	answers, invitations := m.accept(s), m.listen(protocol.ShareSubject(s.Script()))
	m.join(0, m.Connect(), func(ctx context.Context, b sdk.Batch[int]) error {
		begun <- struct{}{}
		return until(goOn)(ctx, b)
	})
	m.send(s)
	receive(t, begun, "a batch")
	var i protocol.Invitation
	must(t, json.Unmarshal(receive(t, invitations, "an invitation").Data, &i))
	a := asker{m, protocol.AskSubject(s.Script(), i.Instance, i.Backfill)}
	given := a.ask(protocol.ShareRequest{Instance: "a"})
	data, err := json.Marshal(protocol.FailedRecord{Step: s.Step, Backfill: "todos", Partition: given.Partition, Cursor: "1", Record: []byte("1"), Attempt: 1})
	must(t, err)
	_, err = m.failedRecordsBucket().Put(m.within(), protocol.FailedRecordKey(rollout, s.Step, false, "todos", given.Partition, "1"), data)
	must(t, err)
	a.ask(protocol.ShareRequest{Instance: "a", Grant: given.Grant, Leave: true})
	close(goOn)
	if h := answers.mustBeDone(); h.Items != n || h.PutAside != 0 || len(m.failedRecords()) != 0 {
		t.Errorf("answered %s, put aside %v", h.msg.Data, m.failedRecords())
	}
}

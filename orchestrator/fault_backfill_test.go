package orchestrator_test

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
	"github.com/golive-dev/golive/sdk"
)

var (
	faultsRecords = flag.Int("faults.records", 40_000, "how many records the backfill under faults moves")
	faultsKills   = flag.Int("faults.kills", 10, "how many processes are killed or cut off meanwhile, in turn")
)

// The further kinds of processes of a backfill under faults.
const (
	aSource   = "source"   // streams the records
	aReceiver = "receiver" // takes them in
	aFiller   = "filler"   // the setup service that moves them
)

const (
	fillBatch    = 100 // records
	fillInFlight = 4   // batches
)

// fillKinds is of how many kinds the processes are: these, orchestrators and the server.
const fillKinds = 5

// sinkPatience is how long the receiver is waited for until a batch is sent again.
const sinkPatience = 2 * time.Second

// sinkTakes is how long the receiver takes to answer.
const sinkTakes = 100 * time.Millisecond

// fillWork is what a filler has to do.
type fillWork struct {
	Records int
	Rate    float64 // records a second
}

// fillRelease is the app whose sink is filled from its source.
func fillRelease() rollout.Release {
	return rollout.Release{App: "fill", Version: "1.0.0", Strategy: rollout.Parallel, Services: []rollout.Service{
		{Name: "source", Version: "1.0.0"},
		{Name: "sink", Version: "1.0.0", Migrations: []protocol.Phase{protocol.Offline}, DependsOn: []string{"source"}},
	}}
}

// serveSource streams the numbers from 1 on, each as a record of 128 bytes.
func (w *workplace) serveSource(ctx context.Context) error {
	fmt.Println("ready")
	return w.relay.Serve(ctx, relay.Service{
		Name: "source", Version: "1.0.0", Lease: relay.MinLease,
		Streams: map[string]relay.StreamHandler{
			"list": relay.JSONStream(func(_ context.Context, most int, after string, out *relay.Sender) error {
				out.Total(int64(most))
				begin := 0
				if after != "" {
					var err error
					if begin, err = strconv.Atoi(after); err != nil {
						return err
					}
				}
				for n := begin + 1; n <= most; n++ {
					if err := out.Send(numbered(n), strconv.Itoa(n)); err != nil {
						return err
					}
				}
				return nil
			}),
		},
	})
}

// item is a record of the source.
type item struct {
	Number int    `json:"number"`
	Text   string `json:"text"`
}

func numbered(n int) item { return item{n, strings.Repeat("x", 100)} }

// arrival is a line of what the receiver has got, and one of what it has taken in.
type arrival struct {
	Batch   string `json:"batch"`
	Numbers []int  `json:"numbers"`
}

// sink takes in each batch once, by its id, also after a restart.
type sink struct {
	arrived, taken *os.File
	mu             sync.Mutex
	known          map[string]bool
}

func openSink(folder string) (*sink, error) {
	s := &sink{known: make(map[string]bool)}
	known, err := readArrivals(filepath.Join(folder, "taken"))
	if err != nil {
		return nil, err
	}
	for _, a := range known {
		s.known[a.Batch] = true
	}
	if s.arrived, err = os.OpenFile(filepath.Join(folder, "arrived"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
		return nil, err
	}
	s.taken, err = os.OpenFile(filepath.Join(folder, "taken"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	return s, err
}

// readArrivals reads what was written. A line that was cut off was not.
func readArrivals(path string) (all []arrival, err error) {
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for in := bufio.NewReader(f); ; {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return all, nil
		}
		var a arrival
		if err := json.Unmarshal(line, &a); err != nil {
			return nil, fmt.Errorf("%s: %q: %w", path, line, err)
		}
		all = append(all, a)
	}
}

// add takes in a batch, and takes its time to say so: whoever dies meanwhile dies in the
// middle of it.
func (s *sink) add(ctx context.Context, m *relay.Message) (any, error) {
	defer rest(ctx, sinkTakes)
	var items []item
	if err := m.Decode(&items); err != nil {
		return nil, err
	}
	a := arrival{Batch: m.Header.Get(nats.MsgIdHdr)}
	for _, i := range items {
		a.Numbers = append(a.Numbers, i.Number)
	}
	line, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	line = append(line, '\n')
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.arrived.Write(line); err != nil {
		return nil, err
	}
	if s.known[a.Batch] {
		return nil, nil
	}
	if _, err := s.taken.Write(line); err != nil {
		return nil, err
	}
	s.known[a.Batch] = true
	return nil, nil
}

func (w *workplace) serveReceiver(ctx context.Context) error {
	s, err := openSink(w.Data)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	return w.relay.Serve(ctx, relay.Service{
		Name: "sink", Version: "1.0.0", Lease: relay.MinLease, Handlers: map[string]relay.Handler{"add": s.add},
	})
}

// fill is the setup service of sink.
func (w *workplace) fill(ctx context.Context) error {
	backfill := sdk.Backfill[item]{
		Source: sdk.FromStream[item]("source.list", w.Fill.Records),
		Batch: func(ctx context.Context, run *sdk.Run, b sdk.Batch[item]) error {
			ctx, cancel := context.WithTimeout(ctx, sinkPatience)
			defer cancel()
			items := make([]item, len(b.Records))
			for i, r := range b.Records {
				items[i] = r.Value
			}
			return run.Request(ctx, "sink.add", items, nil, relay.MessageID(b.ID))
		},
		BatchSize: fillBatch, InFlight: fillInFlight, Rate: w.Fill.Rate, Retries: 200, Backoff: 50 * time.Millisecond,
	}
	fmt.Println("ready")
	return sdk.SetupService{Service: "sink", Version: "1.0.0", Offline: backfill.Run}.Run(ctx, w.relay)
}

// killEvery is how long it takes on average from one death to the next.
const killEvery = 1200 * time.Millisecond

// fillCuts draws how each part of a backfill is cut off, of those that there are. Longer cuts than
// the shortest are drawn where there are many.
func fillCuts(rnd *rand.Rand) []cut {
	times := cutTimes()
	if *faultsKills < 50 {
		times = times[:1]
	}
	all := make([]cut, *faultsKills)
	for n := range all {
		all[n] = cut{way: cutWays()[rnd.IntN(len(cutWays()))], lossy: rnd.IntN(2) == 0, lasts: times[rnd.IntN(len(times))]}
	}
	return all
}

func TestFaultsOfABackfill(t *testing.T) {
	relaytest.Long(t)
	seed := drawSeed(t)
	rnd := rand.New(rand.NewPCG(seed, 5))
	c := newCast(t)
	m := &ensemble{servers: c.servers(1)}
	m.servers[0].up()
	m.awaitBus(c)
	cuts, span := fillCuts(rnd), time.Duration(*faultsKills)*killEvery
	for n, k := range cuts {
		if n/fillKinds%2 == 1 {
			span += k.lasts
		}
	}
	// It takes as long as the faults do, and a third longer.
	work := fillWork{Records: *faultsRecords, Rate: float64(*faultsRecords) / (1.35 * span.Seconds())}
	victims := map[string][]*actor{aServer: m.servers}
	add := func(p part) {
		a := c.wired(m.servers[0].URL, p)
		victims[p.Kind] = append(victims[p.Kind], a)
		a.up()
	}
	for i := range 2 {
		add(part{Kind: anOrchestrator, Name: fmt.Sprint("orchestrator-", i), Replicas: 1})
		add(part{Kind: aFiller, Name: fmt.Sprint("filler-", i), Fill: &work})
	}
	add(part{Kind: aSource, Name: "source"})
	add(part{Kind: aReceiver, Name: "receiver", Data: c.folder})

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute+5*span)
	defer cancel()
	nc := c.connect().Conn()
	client := api.NewClient(nc)
	told := make(chan *nats.Msg, 10_000)
	if _, err := nc.ChanSubscribe(fillScript.Subject(protocol.Progress), told); err != nil {
		t.Fatal(err)
	}
	id, begun := newID(t), time.Now()
	if _, err := client.Deploy(ctx, api.DeployRequest{Rollout: id, Release: fillRelease()}); err != nil {
		t.Fatal(err)
	}
	var shown course
	looking := shown.look(ctx, client, id)
	kinds := slices.Sorted(maps.Keys(victims))
	repeats := 0                  // that there may be, in batches
	for n := range *faultsKills { // each kind in its turn, killed and then cut off
		rest(ctx, killEvery/4+time.Duration(rnd.Int64N(int64(killEvery))))
		kind := kinds[n%fillKinds]
		victim := victims[kind][rnd.IntN(len(victims[kind]))]
		if repeats += fillInFlight; n/fillKinds%2 == 1 && len(victim.wires) > 0 {
			repeats += fillInFlight * int((cuts[n].lasts+2*lateness)/sinkPatience)
			heal := cuts[n].sever(victim.wires)
			rest(ctx, cuts[n].lasts)
			heal()
			c.deaths[fmt.Sprintf("%s, cut off (%s) for %s", kind, cuts[n].way, cuts[n].lasts)]++
			continue
		}
		proc := victim.alive()
		if proc == nil {
			t.Fatalf("%s has ended by itself: see %s", victim.Name, c.folder)
		}
		proc.kill()
		c.died(victim, proc, "at a random moment")
		rest(ctx, time.Duration(rnd.Int64N(int64(killEvery/4))))
		victim.up()
	}
	killed := time.Since(begun)
	story := <-looking
	if story.Status != rollout.Completed {
		t.Fatalf("the rollout is %s (%v): %+v", story.Status, ctx.Err(), story.FailedSteps())
	}
	if took := story.Ended.Sub(story.Created); took < killed {
		t.Errorf("the backfill took %s, the deaths %s: not all of them met it", took, killed)
	}
	step, _ := story.Step("sink/offline")
	if step.Script.Items != int64(work.Records) {
		t.Errorf("its answer tells %d items, want %d", step.Script.Items, work.Records)
	}
	entries, err := client.Ledger(ctx, api.LedgerRequest{App: "fill"})
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || entries[0].Script() != fillScript || entries[0].Rollout != id || entries[0].Items != int64(work.Records) || entries[0].PutAside != 0 || entries[0].Void != "" {
		t.Errorf("the ledger holds %+v, want one entry with %d items", entries, work.Records)
	}
	judgeBackfill(t, c.folder, work.Records, repeats*fillBatch)
	shown.judge(t, "as shown", work.Records, int64(work.Rate*tellLate.Seconds()))
	heardOf(told).judge(t, "as told", work.Records, 0)
	t.Logf("seed %d, %d records at %.0f/s in %s, %d attempts\n        deaths: %v",
		seed, work.Records, work.Rate, story.Ended.Sub(story.Created).Round(time.Second), step.Attempt, c.deaths)
}

// fillScript is the script that fills the sink.
var fillScript = protocol.Script{Name: "sink", Version: "1.0.0", Phase: protocol.Offline}

// tellLate is how much later than another an orchestrator may hear of progress, on a busy
// machine.
const tellLate = 500 * time.Millisecond

// course is how far a backfill has come, as somebody hears.
type course []stage

type stage struct {
	at      time.Time // when that was heard
	attempt int
	done    int64
}

// look has the rollout shown again and again until it has ended or ctx does; it gives the last
// that was shown.
func (c *course) look(ctx context.Context, client *api.Client, id string) <-chan api.RolloutStory {
	last := make(chan api.RolloutStory, 1)
	go func() {
		var story api.RolloutStory
		defer func() { last <- story }()
		for ctx.Err() == nil && !story.Status.Final() && story.Status != rollout.Failed {
			trying, cancel := context.WithTimeout(ctx, tryFor)
			found, err := client.Show(trying, api.RolloutRequest{Rollout: id})
			cancel()
			if err == nil {
				story = found
				step, _ := story.Step(fillScript.Step())
				if seen, there := story.Observations[step.ID]; there && seen.Done > 0 {
					*c = append(*c, stage{seen.Beat, step.Attempt, seen.Done})
				}
			}
			rest(ctx, 50*time.Millisecond)
		}
	}()
	return last
}

// heardOf is what was told of progress. What an attempt has told before the next one began may come
// later, where its worker was cut off: whoever listens knows it by its number.
func heardOf(told <-chan *nats.Msg) (c course) {
	for newest := 0; ; {
		select {
		case m := <-told:
			var p protocol.ProgressMessage
			if json.Unmarshal(m.Data, &p) == nil && p.Done != nil && p.Attempt >= newest {
				newest = p.Attempt
				c = append(c, stage{time.Unix(0, int64(len(c))), p.Attempt, *p.Done})
			}
		default:
			return c
		}
	}
}

// judge: nobody goes back behind what has been told, but by the batches that were in flight,
// and by what may be heard late.
func (c course) judge(t *testing.T, how string, records int, late int64) {
	t.Helper()
	slices.SortStableFunc(c, func(a, b stage) int { return a.at.Compare(b.at) }) // each orchestrator hears for itself
	var furthest stage
	back, attempts := int64(0), make(map[int]bool)
	for _, s := range c {
		attempts[s.attempt] = true
		if s.done > int64(records) {
			t.Errorf("%s, attempt %d has done %d records, of %d", how, s.attempt, s.done, records)
		}
		if by := furthest.done - s.done; by > fillInFlight*fillBatch+late {
			t.Errorf("%s, attempt %d has done %d records, where attempt %d had done %d", how, s.attempt, s.done, furthest.attempt, furthest.done)
		} else if back = max(back, by); s.done > furthest.done {
			furthest = s
		}
	}
	if len(c) < 10 || furthest.done < int64(records)/2 {
		t.Errorf("%s, there are %d signs of progress, up to %d of %d records", how, len(c), furthest.done, records)
	}
	t.Logf("%s, %d signs of progress of %d attempts, back by %d records at most", how, len(c), len(attempts), back)
}

// judgeBackfill: every record has arrived, those that came again came in few batches, and
// who looks at the ids of the batches has each record exactly once.
func judgeBackfill(t *testing.T, folder string, records, most int) {
	t.Helper()
	arrived, err := readArrivals(filepath.Join(folder, "arrived"))
	if err != nil {
		t.Fatal(err)
	}
	taken, err := readArrivals(filepath.Join(folder, "taken"))
	if err != nil {
		t.Fatal(err)
	}
	count := func(all []arrival) (times []int) {
		times = make([]int, records+1)
		for _, a := range all {
			for _, n := range a.Numbers {
				if n < 1 || n > records {
					t.Fatalf("record %d has arrived, of %d", n, records)
				}
				times[n]++
			}
		}
		return times[1:]
	}
	repeats := 0
	for i, n := range count(arrived) {
		if n == 0 {
			t.Errorf("record %d is missing", i+1)
		}
		repeats += max(n-1, 0)
	}
	for i, n := range count(taken) {
		if n != 1 {
			t.Errorf("record %d was taken in %d times", i+1, n)
		}
	}
	if repeats > most {
		t.Errorf("%d records came again, want at most a batch for each try after a fault and each in flight: %d", repeats, most)
	}
	t.Logf("%d records have arrived, %d of them again; at most %d could", records, repeats, most)
}

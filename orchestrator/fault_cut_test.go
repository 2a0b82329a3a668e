package orchestrator_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/view"
	"github.com/golive-dev/golive/relay/relaytest"
)

var (
	faultsCuts   = flag.Int("faults.cuts", 0, "how many cuts are drawn of all that there are; 0: a few short ones; -1: each of them")
	faultsTracks = flag.Int("faults.tracks", 6, "in how many environments side by side, at most, and not more than -parallel")
	faultsOnly   = flag.String("faults.only", "", "draw only cuts that match this expression, such as 'worker .* at offline'; empty: all")
)

// Who is cut off.
const (
	theOrchestrator = "orchestrator"
	theWorker       = "worker"
	theOld          = "old instance"
	theNew          = "new instance"
	theCaller       = "caller"
	theCLI          = "cli"
	theAgent        = "agent"
	theBus          = "bus" // as a whole: each part is cut off
)

// Who else is, where three servers form the bus: one of them, from the others.
const (
	theLeader  = "leader"            // of the journal
	theOldSide = "server of the old" // instance
	theNewSide = "server of the new" // instance
)

// In which way. What is held up comes late, or is lost with its connection.
const (
	waysBoth   = "both"
	wayToBus   = "to the bus"
	wayFromBus = "from the bus"
	wayClosed  = "closed"
	wayLate    = "late"    // all comes, later than anybody waits for a request
	wayStopped = "stopped" // the process is
)

// lateness is how late that is, each way.
const lateness = 1500 * time.Millisecond

// When, beside the points of the engine.
const (
	whenAsked   = "asked"      // a person is
	whenOnHosts = "on hosts"   // agents are at work
	whenOffline = "offline"    // a script is at work
	whenStandby = "standby"    // the new version is on the route
	whenFenced  = "fenced"     // the old version answers no more, the new one not yet
	whenOnline  = "online"     // the new version answers
	whenLeaving = "draining"   // the old version leaves
	whenBehind  = "online run" // a script of the new version is at work
)

// cut is one of a network, or of a process that stands still.
type cut struct {
	who, way, at string
	lasts        time.Duration

	nth   int  // time that an orchestrator comes to the point
	other bool // of two that do the same, it is the other one
	lossy bool // what is held up is lost
	lag   bool // an instance hears of the route a little later than we do
	again bool // the rollout is aborted meanwhile, and its version brought again
}

func (k cut) String() string {
	how := k.way
	if k.lossy {
		how += ", lost"
	}
	if k.lag {
		how += ", lagging"
	}
	if k.again {
		how += ", brought again"
	}
	return fmt.Sprintf("%s (%s) at %s for %s", k.who, how, k.at, k.lasts)
}

// moments lists when somebody can be cut off.
func moments() []string {
	all := []string{whenAsked, whenOnHosts, whenOffline, whenStandby, whenFenced, whenOnline, whenLeaving, whenBehind}
	for _, p := range view.Points() {
		all = append(all, string(p))
	}
	return all
}

// cutWays lists how somebody can be cut off whose process goes on.
func cutWays() []string { return []string{waysBoth, wayToBus, wayFromBus, wayClosed, wayLate} }

// cutTimes lists for how long: shorter than it takes to be taken for dead, longer, and longer
// than a client of NATS takes to find out.
func cutTimes() []time.Duration {
	return []time.Duration{3 * time.Second, 12 * time.Second, 40 * time.Second}
}

// drawCuts gives all cuts that there are, those of each part in turn, in the order of the seed.
func drawCuts(rnd *rand.Rand, parts []string, lasts ...time.Duration) (all []cut) {
	parts = slices.Clone(parts)
	only := regexp.MustCompile(*faultsOnly)
	of := make(map[string][]cut)
	for _, who := range parts {
		for _, way := range append(cutWays(), wayStopped) {
			if way == wayStopped && (who == theCaller || who == theCLI) {
				continue // it is in this process
			}
			for _, at := range moments() {
				for _, d := range lasts {
					if k := (cut{who: who, way: way, at: at, lasts: d}); only.MatchString(k.String()) {
						of[who] = append(of[who], k)
					}
				}
			}
		}
		rnd.Shuffle(len(of[who]), func(i, k int) { of[who][i], of[who][k] = of[who][k], of[who][i] })
	}
	rnd.Shuffle(len(parts), func(i, k int) { parts[i], parts[k] = parts[k], parts[i] })
	for n, more := 0, true; more; n++ {
		more = false
		for _, who := range parts {
			if n < len(of[who]) {
				all, more = append(all, of[who][n].draw(rnd)), true
			}
		}
	}
	return all
}

// draw decides what is left open.
func (k cut) draw(rnd *rand.Rand) cut {
	k.nth, k.other = 1, rnd.IntN(2) == 0
	if slices.Contains([]string{string(view.EventSaved), string(view.Announced), string(view.ItemDone)}, k.at) {
		k.nth += rnd.IntN(4)
	}
	k.lossy = rnd.IntN(2) == 0 && slices.Contains([]string{waysBoth, wayToBus, wayFromBus}, k.way)
	k.lag = rnd.IntN(2) == 0 && k.onRoute() && (k.who == theOld || k.who == theNew)
	k.again = rnd.IntN(2) == 0 && k.at == whenOffline && k.who == theWorker
	return k
}

// onRoute reports whether the moment is one of the route.
func (k cut) onRoute() bool {
	return slices.Contains([]string{whenStandby, whenFenced, whenOnline, whenLeaving}, k.at)
}

// aftermath is what a cut has done.
type aftermath struct {
	cut
	rollout string
	missed  bool          // the rollout did not come to the moment
	gap     time.Duration // the longest time without any answer in production
	ended   time.Duration // from the heal until the rollout was complete; negative: before
	told    time.Duration // from then, or from the heal if that was later, until the one who follows knew
	called  time.Duration // from the heal until the caller who was cut off, or another one, got an answer
	tries   int           // that people had to tell it to go on
}

func (o aftermath) String() string {
	if o.missed {
		return fmt.Sprintf("%s: not met by rollout %s", o.cut, o.rollout)
	}
	round := func(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }
	return fmt.Sprintf("%s: gap %s, ended %s after the heal, told %s later, called %s, %d retries; rollout %s",
		o.cut, round(o.gap), round(o.ended), round(o.told), round(o.called), o.tries, o.rollout)
}

// How soon what was cut off goes on, once it is healed.
const (
	endTime  = 60 * time.Second // of rollouts
	tellTime = 15 * time.Second // of whoever follows one
	callTime = 15 * time.Second // of callers
	gapTime  = 10 * time.Second // without an answer in production, beside the time for which who answers is cut off
)

// tooLong reports whether something has not gone on as soon as it has to.
func (o aftermath) tooLong() bool {
	gap := gapTime
	if slices.Contains([]string{theOld, theNew, theBus, theLeader, theOldSide, theNewSide}, o.who) {
		gap += o.lasts
	}
	return !o.missed && (o.ended > endTime || o.told > tellTime || o.called > callTime || o.gap > gap)
}

// TestFaultsOfCuts has one part after the other cut off from the bus, or stand still, at one
// moment after the other of rollouts, and everybody come to rest again.
func TestFaultsOfCuts(t *testing.T) {
	t.Parallel()
	relaytest.Long(t)
	runCuts(t, 1, 4, []string{theOrchestrator, theWorker, theOld, theNew, theCaller, theCLI, theAgent, theBus})
}

// TestFaultsOfPartitions has one of three servers cut off from the others, or stand still: the
// one that leads the journal, or one with an instance.
func TestFaultsOfPartitions(t *testing.T) {
	t.Parallel()
	relaytest.Long(t)
	runCuts(t, 3, 1, []string{theLeader, theOldSide, theNewSide})
}

// runCuts has cuts of parts drawn and done, a few short ones if no number is told.
func runCuts(t *testing.T, servers, few int, parts []string) {
	seed := drawSeed(t)
	rnd := rand.New(rand.NewPCG(seed, 41))
	var cuts []cut
	if *faultsCuts == 0 {
		cuts = drawCuts(rnd, parts, cutTimes()[0])
		cuts = cuts[:min(few, len(cuts))]
	} else if cuts = drawCuts(rnd, parts, cutTimes()...); *faultsCuts > 0 {
		cuts = cuts[:min(*faultsCuts, len(cuts))]
	}
	begun := time.Now()
	tracks := min(*faultsTracks, (len(cuts)+1)/2)
	all := make([][]aftermath, tracks)
	t.Run("track", func(t *testing.T) {
		for n := range tracks {
			var mine []cut
			for i := n; i < len(cuts); i += tracks {
				mine = append(mine, cuts[i])
			}
			t.Run(fmt.Sprint(n), func(t *testing.T) {
				t.Parallel()
				all[n] = cutTrack(t, servers, mine)
			})
		}
	})
	t.Logf("seed %d, %d cuts in %s\n%s", seed, len(cuts), time.Since(begun).Round(time.Second), cutTable(slices.Concat(all...)))
}

// cutTrack has cuts happen one after the other in one environment.
func cutTrack(t *testing.T, servers int, cuts []cut) (all []aftermath) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(len(cuts)+1)*(40*time.Second+2*settleTime))
	defer cancel()
	s := newScene(ctx, t, servers, len(cuts)+1)
	for _, k := range cuts {
		o, err := s.run(ctx, k)
		if err != nil {
			t.Errorf("%s: %v", k, err)
			break
		}
		t.Log(o)
		if o.tooLong() {
			t.Errorf("it takes too long: %s", o)
		}
		all = append(all, o)
	}
	s.awaitIdle()
	s.catchUp(ctx)
	for _, odd := range s.missed() {
		t.Error(odd)
	}
	e := s.gather()
	if found := e.findings(); len(found) > 0 {
		t.Errorf("%d findings:\n%s", len(found), some(found))
	}
	t.Logf("%s\n%s", s.report(e), e.reportWork())
	return all
}

// cutTable says how long it takes until what was cut off goes on, by who it was, and by how
// long.
func cutTable(all []aftermath) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-14s %5s %5s %7s %12s %12s %12s %12s %8s\n", "who", "for", "cuts", "not met", "longest gap", "ended after", "told after", "called after", "retries")
	groups := make(map[string][]aftermath)
	var names []string
	for _, o := range all {
		name := fmt.Sprintf("%-14s %5s", o.who, o.lasts)
		if groups[name] == nil {
			names = append(names, name)
		}
		groups[name] = append(groups[name], o)
	}
	slices.Sort(names)
	for _, name := range names {
		var most aftermath
		missed, tries := 0, 0
		most.ended = -time.Hour
		for _, o := range groups[name] {
			if o.missed {
				missed++
				continue
			}
			most.gap, most.ended = max(most.gap, o.gap), max(most.ended, o.ended)
			most.told, most.called = max(most.told, o.told), max(most.called, o.called)
			tries += o.tries
		}
		fmt.Fprintf(&b, "%s %5d %7d %11.1fs %11.1fs %11.1fs %11.1fs %8d\n", name, len(groups[name]), missed,
			most.gap.Seconds(), most.ended.Seconds(), most.told.Seconds(), most.called.Seconds(), tries)
	}
	return b.String()
}

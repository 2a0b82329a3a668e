package features

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/cucumber/godog"
)

func (s *scenario) scriptSteps(sc *godog.ScenarioContext) {
	const script = `^the ((?:before|offline|online|setup)(?: revert)?) script of (\S+) (\S+) `
	say := func(pattern string, o func(text string) []order) {
		sc.Step(script+pattern+`$`, func(phase, name, version, text string) {
			s.order(name+" "+version+" "+phase, o(text)...)
		})
	}
	say(`fails with "(.*)"`, func(text string) []order { return []order{{Do: "fail", Text: text}} })
	say(`fails the first time with "(.*)"`, func(text string) []order { return []order{{Do: "fail", Text: text}, {}} })
	say(`fails twice with "(.*)"`, func(text string) []order {
		return []order{{Do: "fail", Text: text}, {Do: "fail", Text: text}, {}}
	})
	say(`fails for good with "(.*)"`, func(text string) []order { return []order{{Do: "fail for good", Text: text}} })
	say(`panics with "(.*)"`, func(text string) []order { return []order{{Do: "panic", Text: text}} })
	say(`prints "(.*)"`, func(text string) []order { return []order{{Print: text}} })
	say(`logs "(.*)"`, func(text string) []order { return []order{{Log: text}} })
	sc.Step(script+`deals with (\d+) items, "(.*)"$`, func(phase, name, version string, items int64, note string) {
		s.order(name+" "+version+" "+phase, order{Items: items, Note: note})
	})
	sc.Step(script+`works through (\d+) records, (\d+) a second$`, func(phase, name, version string, items int64, rate float64) {
		s.order(name+" "+version+" "+phase, order{Items: items, Rate: rate})
	})
	sc.Step(script+`works through (\d+) records, of which its source gives (\d+)$`, func(phase, name, version string, counted, given int64) {
		s.order(name+" "+version+" "+phase, order{Items: given, Total: counted})
	})
	sc.Step(script+`works through (\d+) of (\d+) records, (\d+) a second, and then takes until I say so$`, func(phase, name, version string, items, total int64, rate float64) {
		s.order(name+" "+version+" "+phase, order{Items: items, Total: total, Rate: rate, Wait: true})
	})
	sc.Step(script+`works through (\d+) records, (\d+) a second, and is soon held by "(.*)" until I say so$`, func(phase, name, version string, items int64, rate float64, held string) {
		s.order(name+" "+version+" "+phase, order{Items: items, Rate: rate, Held: held, Wait: true})
	})
	sc.Step(script+`works through (\d+) records and puts aside (\d+) of them with "(.*)", then (\d+), then (\d+)$`,
		func(phase, name, version string, items, first int64, text string, second, third int64) {
			s.order(name+" "+version+" "+phase, order{Items: items, Aside: first, Text: text},
				order{Aside: second, Text: text}, order{Aside: third, Text: text})
		})
	sc.Step(script+`works through (\d+) records, and at first a check (before|after) them says "(.*)"$`,
		func(phase, name, version string, items int64, when, text string) {
			s.order(name+" "+version+" "+phase, order{Items: items, Check: when, Text: text}, order{Items: items})
		})
	say(`stores the message (\S+)`, func(text string) []order { return []order{{Writes: text}} })
	say(`removes the messages (\S+)`, func(text string) []order { return []order{{Removes: text}} })
	sc.Step(script+`takes until I say so$`, func(phase, name, version string) {
		s.order(name+" "+version+" "+phase, order{Wait: true})
	})
	sc.Step(script+`deals with (\d+) of (\d+) items and then takes until I say so$`, func(phase, name, version string, items, total int64) {
		s.order(name+" "+version+" "+phase, order{Items: items, Total: total, Wait: true})
	})
	sc.Step(script+`deals the first time with (\d+) items and takes until I say so$`, func(phase, name, version string, items int64) {
		s.order(name+" "+version+" "+phase, order{Items: items, Wait: true}, order{})
	})
	sc.Step(script+`has begun$`, func(ctx context.Context, phase, name, version string) error {
		return s.awaitRun(ctx, name+" "+version+" "+phase, 1)
	})
	sc.Step(script+`has begun again$`, func(ctx context.Context, phase, name, version string) error {
		return s.awaitRun(ctx, name+" "+version+" "+phase, 2)
	})
	sc.Step(`^I let the ((?:before|offline|online|setup)(?: revert)?) script of (\S+) (\S+) end$`, func(phase, name, version string) {
		s.release(name+" "+version+" "+phase, math.MaxInt)
	})
	sc.Step(`^I let the first run of the ((?:before|offline|online|setup)(?: revert)?) script of (\S+) (\S+) end$`, func(phase, name, version string) {
		s.release(name+" "+version+" "+phase, 1)
	})
	sc.Step(script+`is told to stop$`, s.awaitStopped)
	sc.Step(`^the setup service that runs the (.+) script of (\S+) (\S+) is killed with SIGKILL$`, s.killRunner)
	sc.Step(`^each run of the (.+) script of (\S+) (\S+) was in another instance$`, s.ranApart)
	sc.Step(`^these scripts have run:$`, s.haveRun)
}

func (s *scenario) order(script string, o ...order) {
	s.board.change(func() { s.board.orders[script] = o })
}

func (s *scenario) release(script string, runs int) {
	s.board.change(func() { s.board.released[script] = runs })
}

// awaitRun blocks until a script has begun for so many times.
func (s *scenario) awaitRun(ctx context.Context, script string, times int) error {
	ctx, cancel := withPatience(ctx)
	defer cancel()
	return s.board.await(ctx, func() string {
		if n := count(s.board.runs, script); n < times {
			return fmt.Sprintf("the script %s has begun %d times, not %d", script, n, times)
		}
		return ""
	})
}

// awaitStopped blocks until a script has heard that it is to stop.
func (s *scenario) awaitStopped(ctx context.Context, phase, name, version string) error {
	script := name + " " + version + " " + phase
	ctx, cancel := withPatience(ctx)
	defer cancel()
	return s.board.await(ctx, func() string {
		if s.board.stopped[script] == 0 {
			return fmt.Sprintf("the script %s was not told to stop", script)
		}
		return ""
	})
}

// killRunner kills the process in which a script has begun last.
func (s *scenario) killRunner(phase, name, version string) error {
	s.board.mu.Lock()
	defer s.board.mu.Unlock()
	all := s.board.ranIn(name + " " + version + " " + phase)
	if len(all) == 0 {
		return fmt.Errorf("the %s script of %s %s has not begun", phase, name, version)
	}
	return syscall.Kill(all[len(all)-1], syscall.SIGKILL)
}

func (s *scenario) ranApart(phase, name, version string) error {
	s.board.mu.Lock()
	defer s.board.mu.Unlock()
	all := s.board.ranIn(name + " " + version + " " + phase)
	slices.Sort(all)
	if n := len(slices.Compact(slices.Clone(all))); n != len(all) {
		return fmt.Errorf("%d runs were in %d instances", len(all), n)
	}
	return nil
}

// haveRun compares how often each script has run with the table.
func (s *scenario) haveRun(table *godog.Table) error {
	want := make(map[string]int)
	for _, row := range table.Rows[1:] {
		times, err := strconv.Atoi(row.Cells[1].Value)
		if err != nil {
			return fmt.Errorf("the table does not say how often: %w", err)
		}
		want[row.Cells[0].Value] = times
	}
	have := make(map[string]int)
	s.board.mu.Lock()
	for _, script := range s.board.runs {
		have[script]++
	}
	s.board.mu.Unlock()
	if !maps.Equal(have, want) {
		return fmt.Errorf("these scripts have run:%s\nand these were to run:%s", times(have), times(want))
	}
	return nil
}

func times(runs map[string]int) string {
	var b strings.Builder
	for _, script := range slices.Sorted(maps.Keys(runs)) {
		fmt.Fprintf(&b, "\n  %s: %d times", script, runs[script])
	}
	if len(runs) == 0 {
		return " none"
	}
	return b.String()
}

package journal_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
)

// Environment variables that make this test binary one who drops a rollout of todo-app, and is
// killed before one of the purges.
const (
	envDrop   = "GOLIVE_TEST_DROP"        // the rollout's id
	envUpTo   = "GOLIVE_TEST_DROP_UP_TO"  // the sequence of its newest event
	envKilled = "GOLIVE_TEST_DROP_KILLED" // the number of the purge
)

func TestMain(m *testing.M) {
	if id := os.Getenv(envDrop); id != "" {
		fmt.Fprintln(os.Stderr, "not killed:", drop(id))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// drop drops a rollout, and does not return if it is killed.
func drop(id string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	upTo, err := strconv.ParseUint(os.Getenv(envUpTo), 10, 64)
	if err != nil {
		return err
	}
	at, err := strconv.Atoi(os.Getenv(envKilled))
	if err != nil {
		return err
	}
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		return err
	}
	r, err := relay.Connect(ctx, relay.FromEnvironment())
	if err != nil {
		return err
	}
	j, err := journal.Open(ctx, r.Conn())
	if err != nil {
		return err
	}
	j.BeforePurge(func(number int) {
		if number == at {
			_ = self.Kill()
			<-ctx.Done() // it dies here
		}
	})
	return j.Drop(ctx, "todo-app", id, upTo)
}

// dropKilled drops a rollout in a process of its own, which is killed before a purge.
func (b *bench) dropKilled(id string, upTo uint64, purge int) {
	b.t.Helper()
	self, err := os.Executable()
	b.must(err)
	p := exec.CommandContext(b.t.Context(), self)
	p.Env = append(os.Environ(), relay.EnvURL+"="+b.bus.URL(), envDrop+"="+id,
		envUpTo+"="+strconv.FormatUint(upTo, 10), envKilled+"="+strconv.Itoa(purge), "GORACE=atexit_sleep_ms=0")
	out, err := p.CombinedOutput()
	if exit := new(exec.ExitError); !errors.As(err, &exit) || exit.Exited() {
		b.t.Fatalf("the process was not killed: %v\n%s", err, out)
	}
}

// Who drops a rollout may die before each thing that it removes, last of all when the message
// that ends the rollout is stored and its events are still there: until somebody drops it again
// nobody is shown it as one that is open, or can add to it, and that drop removes the rest.
func TestADropThatWasKilledIsFinished(t *testing.T) {
	for purge, left := range []string{"replies", "timer", "due", "events"} {
		t.Run(left, func(t *testing.T) {
			b := newBench(t)
			s, sequence := b.ended()
			b.dropKilled(s.ID, sequence, purge+1)
			b.mustBeOver(s, sequence, left == "events")
			b.must(b.Drop(t.Context(), "todo-app", s.ID, sequence))
			b.mustBeGone(s)
		})
	}
}

// Nobody has to know of the death: whoever looks for old rollouts finishes it.
func TestADropThatWasKilledIsFinishedByWhoeverLooks(t *testing.T) {
	b := newBench(t)
	s, sequence := b.ended()
	b.dropKilled(s.ID, sequence, 4)
	if old, err := b.Finished(t.Context(), time.Now().Add(time.Hour), 0, 10); err != nil || len(old) != 0 {
		t.Errorf("finished are %+v, %v", old, err)
	}
	b.mustBeGone(s)
}

// ended is a rollout that is over, with all that one can have: its replies, a timer, and one
// that went off.
func (b *bench) ended() (rollout.State, uint64) {
	b.t.Helper()
	s, sequence := b.begin("todo-app")
	b.must(b.Remind(b.t.Context(), s, sequence, time.Now().Add(time.Hour)))
	b.must(b.nc.Publish(protocol.AnswerSubject(s.ID, 1, 1, false), []byte("hello")))
	b.must(b.nc.Publish(protocol.DueSubject("todo-app", s.ID), nil))
	b.must(b.nc.Flush())
	over := b.superseded(s)
	sequence, err := b.Append(b.t.Context(), over, sequence)
	b.must(err)
	return over, sequence
}

// mustBeOver checks a rollout that is being removed: final until the message that ends it is there,
// and then no rollout any more. Its events are all there.
func (b *bench) mustBeOver(s rollout.State, sequence uint64, removed bool) {
	b.t.Helper()
	ctx := b.t.Context()
	events := 2
	r, err := b.Load(ctx, "todo-app", s.ID)
	if removed {
		events++ // the end of it
		if !errors.Is(err, rollout.ErrNotFound) {
			b.t.Errorf("loading it gives %s, %v, want ErrNotFound", r.State.Status, err)
		}
		if _, err := b.Append(ctx, s, sequence); !errors.Is(err, rollout.ErrConflict) {
			b.t.Errorf("adding an event gives %v, want ErrConflict", err)
		}
	} else if err != nil || !r.State.Status.Final() {
		b.t.Errorf("it is %s, %v, want it final", r.State.Status, err)
	}
	if n := b.stored(protocol.RolloutSubject("todo-app", s.ID)); n != events {
		b.t.Errorf("%d messages are left on its subject, want %d", n, events)
	}
	var newest rollout.State
	b.must(b.Tail(ctx, "todo-app", 0, func(s rollout.State, _ uint64) { newest = s }))
	if !newest.Status.Final() {
		b.t.Errorf("whoever reads all that has happened sees it %s", newest.Status)
	}
}

// mustBeGone checks that nothing is left of a rollout.
func (b *bench) mustBeGone(s rollout.State) {
	b.t.Helper()
	for _, subject := range []string{
		protocol.RolloutSubject("todo-app", s.ID), protocol.TimerSubject("todo-app", s.ID),
		protocol.DueSubject("todo-app", s.ID), protocol.AnswerSubject(s.ID, 1, 1, false),
	} {
		if n := b.stored(subject); n != 0 {
			b.t.Errorf("%d messages are left on %s", n, subject)
		}
	}
	if refs, _, err := b.Page(b.t.Context(), "", "", 10); err != nil || len(refs) != 0 {
		b.t.Errorf("the list is %v, %v", refs, err)
	}
	if _, err := b.Load(b.t.Context(), "todo-app", s.ID); !errors.Is(err, rollout.ErrNotFound) {
		b.t.Errorf("loading it gives %v, want ErrNotFound", err)
	}
}

package orchestrator_test

import (
	"encoding/json"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

// forged makes answers that nobody waits for, each another kind: of other attempts, in the other
// direction, of no rollout, that make no sense.
func forged(id string, n int) *nats.Msg {
	m := nats.NewMsg([]string{offlineDone, offlineFailed}[n%2])
	m.Header.Set(protocol.HeaderRollout, id)
	switch n % 5 {
	case 0, 1:
		m.Header.Set(protocol.HeaderAttempt, strconv.Itoa(2+n%7))
	case 2:
		m.Header.Set(protocol.HeaderRollout, uuid.Must(uuid.NewV7()).String())
	case 3:
		m.Header.Set(protocol.HeaderAttempt, "abc")
	case 4:
		m.Header.Set(protocol.HeaderRollout, "nobody's")
	}
	return m
}

// flood publishes forged answers, ten thousand a second, for so long.
func flood(nc *nats.Conn, id string, lasting time.Duration) (sent int, err error) {
	const every, at = 10 * time.Millisecond, 100
	tick := time.NewTicker(every)
	defer tick.Stop()
	for end := time.Now().Add(lasting); time.Now().Before(end); <-tick.C {
		for range at {
			if err := nc.PublishMsg(forged(id, sent)); err != nil {
				return sent, err
			}
			sent++
		}
	}
	return sent, nc.Flush()
}

// Whoever may publish answers may publish ten thousand a second. They are refused from memory:
// what they cost does not grow with their number, and a real answer in between is taken.
func TestForgedAnswersCostLittle(t *testing.T) {
	relaytest.Long(t)
	lasting := 10 * time.Second
	if testing.Short() {
		lasting = 2 * time.Second
	}
	e := newEnvironment(t)
	kept, logs := observer.New(zap.DebugLevel)
	e.log, e.logs = zap.New(kept), logs // a test's log is slow
	e.orchestrate()
	starts := e.starts(offlineStart)
	id := e.deploy(search(protocol.Offline, protocol.Online))
	next(e, "the start", starts)

	var asked atomic.Int64
	_, err := e.connect().Conn().Subscribe("$JS.API.>", func(m *nats.Msg) {
		if _, err := json.Marshal(m.Subject); err == nil {
			asked.Add(1)
		}
	})
	e.must(err)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	quiet := e.requests(&asked, lasting)
	lines := logs.Len()
	asked.Store(0)
	flooding := make(chan error, 1)
	sent := 0
	attacker := e.connect().Conn()
	go func() (err error) {
		defer func() { flooding <- err }()
		sent, err = flood(attacker, id, lasting)
		return err
	}()
	half := time.NewTimer(lasting / 2)
	<-half.C
	began := time.Now()
	m := nats.NewMsg(offlineDone)
	m.Header.Set(protocol.HeaderRollout, id)
	m.Header.Set(protocol.HeaderAttempt, "1")
	if a := e.ask(m); !*a.Accepted {
		t.Errorf("the real answer is refused: %s", a.Reason)
	}
	took := time.Since(began)
	if took > 2*time.Second {
		t.Errorf("the real answer was taken after %s", took)
	}
	e.must(next(e, "the end of the flood", flooding))
	if a := e.ask(forged(id, 0)); *a.Accepted { // all before it have been dealt with, or wait
		t.Error("a forged answer is accepted")
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	requests, told := asked.Load(), logs.Len()-lines
	grown := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("%d forged answers in %s: %d requests to JetStream (%d in so long without), %d lines, the real answer after %s, the heap has grown by %d KiB",
		sent, lasting, requests, quiet, told, took.Round(time.Millisecond), grown>>10)
	if most := quiet + 200 + int64(lasting/time.Second)*100; requests > most {
		t.Errorf("%d requests to JetStream, want at most %d", requests, most)
	}
	if most := 100 + int(lasting/time.Second)*5; told > most {
		t.Errorf("%d lines were logged, want at most %d", told, most)
	}
	if grown > 32<<20 {
		t.Errorf("the heap has grown by %d MiB", grown>>20)
	}
	if step, _ := e.show(id).Step("todo-search/offline"); step.Status != rollout.StepDone || step.Attempt != 1 {
		t.Errorf("the step is %s at attempt %d", step.Status, step.Attempt)
	}
}

// requests counts the questions to JetStream in some time in which nothing happens.
func (e *environment) requests(asked *atomic.Int64, lasting time.Duration) int64 {
	e.t.Helper()
	e.must(e.nc.Flush())
	from := asked.Load()
	over := time.NewTimer(min(lasting, time.Second))
	<-over.C
	return (asked.Load() - from) * int64(max(lasting/time.Second, 1))
}

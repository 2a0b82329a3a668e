package features

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay/protocol"
)

// playRecords is a setup service whose scripts work through records: they keep to a pace,
// tell how far they are and put aside what they cannot deal with.
func playRecords(phases []string) int {
	report("setup service")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := workThrough(ctx, phases); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func workThrough(ctx context.Context, phases []string) error {
	nc, err := nats.Connect(os.Getenv("GOLIVE_NATS_URL"))
	if err != nil {
		return err
	}
	defer nc.Close()
	var busy sync.WaitGroup
	defer busy.Wait()
	for _, phase := range phases {
		script := protocol.Script{Name: myName(), Version: os.Getenv("GOLIVE_VERSION"), Phase: protocol.Phase(phase)}
		start := script.Subject(protocol.Start)
		_, err := nc.QueueSubscribe(start, start, func(m *nats.Msg) {
			var begun protocol.StartMessage
			if json.Unmarshal(m.Data, &begun) != nil {
				return
			}
			busy.Go(func() {
				if err := work(ctx, nc, script, begun); err != nil {
					fmt.Fprintln(os.Stderr, "error:", err)
				}
			})
		})
		if err != nil {
			return err
		}
	}
	<-ctx.Done()
	return nil
}

// records is one run of such a script.
type records struct {
	nc     *nats.Conn
	script protocol.Script
	start  protocol.StartMessage
	order  order
	since  time.Time

	mu    sync.Mutex
	limit float64 // records a second; 0: none
}

func work(ctx context.Context, nc *nats.Conn, script protocol.Script, start protocol.StartMessage) error {
	r := &records{nc: nc, script: script, start: start, since: time.Now()}
	r.pace(start.Pace)
	paced, err := nc.Subscribe(script.Subject(protocol.PaceSet), func(m *nats.Msg) {
		var c protocol.ControlMessage
		if json.Unmarshal(m.Data, &c) == nil && c.Rollout == start.Rollout && c.Attempt == start.Attempt {
			r.pace(c.Pace)
		}
	})
	if err != nil {
		return err
	}
	defer func() { _ = paced.Unsubscribe() }()
	orders, released := make(chan order, 1), make(chan error, 1)
	go func() {
		_, err := ask(ctx, script.Name+" "+script.Version+" "+string(script.Phase), func(o order) { orders <- o })
		released <- err
	}()
	select {
	case r.order = <-orders:
	case err := <-released:
		return err
	}
	for done := 0.0; int64(done) < r.order.Items; {
		if err := r.tell(int64(done)); err != nil {
			return err
		}
		select {
		case <-time.After(50 * time.Millisecond):
			done = min(done+r.speed()/20, float64(r.order.Items))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := errors.Join(r.tell(r.order.Items), <-released); err != nil {
		return err
	}
	return r.answer(ctx)
}

func (r *records) pace(p *protocol.Pace) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p != nil && p.Rate != nil {
		r.limit = *p.Rate
	}
}

// speed is how many records a second it deals with.
func (r *records) speed() float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.limit > 0 && r.order.Rate > 0:
		return min(r.limit, r.order.Rate)
	case r.limit > 0:
		return r.limit
	case r.order.Rate > 0:
		return r.order.Rate
	}
	return 1e9
}

func (r *records) tell(done int64) error {
	r.mu.Lock()
	limit := r.limit
	r.mu.Unlock()
	m := protocol.ProgressMessage{
		Rollout: r.start.Rollout, Attempt: r.start.Attempt, Done: &done, Total: max(r.order.Items, r.order.Total),
		Limit: limit, Held: r.order.Held, PutAside: r.order.Aside,
	}
	if done < r.order.Items && done > 0 {
		m.Rate, m.Average = r.speed(), float64(done)/time.Since(r.since).Seconds()
	}
	return r.nc.Publish(r.script.Subject(protocol.Progress), asJSON(m))
}

// answer puts aside what could not be dealt with, or takes up what could be, and says so.
func (r *records) answer(ctx context.Context) error {
	js, err := jetstream.New(r.nc)
	if err != nil {
		return err
	}
	bucket, err := js.KeyValue(ctx, protocol.FailedRecordsBucket)
	if err != nil {
		return err
	}
	for n := range r.order.Aside {
		cursor := strconv.FormatInt(n+1, 10)
		record := protocol.FailedRecord{
			Step: r.start.Step, Cursor: cursor, Record: asJSON(map[string]any{"id": n + 1, "title": "todo " + cursor}),
			Error: r.order.Text, Tries: 3, Attempt: r.start.Attempt, At: time.Now().UTC(),
		}
		if _, err := bucket.Put(ctx, protocol.FailedRecordKey(r.start.Rollout, r.start.Step, false, "", cursor), asJSON(record)); err != nil {
			return err
		}
	}
	for n := r.order.Aside; r.start.FailedRecords && n < r.order.Aside+r.order.Items; n++ {
		key := protocol.FailedRecordKey(r.start.Rollout, r.start.Step, false, "", strconv.FormatInt(n+1, 10))
		if err := bucket.Purge(ctx, key); err != nil {
			return err
		}
	}
	answer := protocol.Answer{Rollout: r.start.Rollout, Attempt: r.start.Attempt, Done: true, Items: r.order.Items, PutAside: r.order.Aside}
	asking, cancel := withPatience(ctx)
	defer cancel()
	_, err = r.nc.RequestWithContext(asking, r.script.Subject(protocol.Done), asJSON(answer))
	return err
}

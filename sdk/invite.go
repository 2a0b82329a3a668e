package sdk

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/relay/protocol"
)

const (
	inviteEvery  = time.Second
	helperSilent = 5 * time.Second // without a word, a helper loses its partition
)

// sharing is what an attempt needs to invite other instances.
type sharing struct {
	nc       *nats.Conn
	script   protocol.Script
	instance string
	names    map[string]plan // of the backfills that may be shared
}

// sharing gives nil when there is nothing to share.
func (a *attempt) sharing() *sharing {
	if a.start.Rollout == "" || len(a.worker.shared) == 0 {
		return nil
	}
	return &sharing{a.worker.nc, a.job.script, a.worker.instance, a.worker.shared}
}

// invite lets other instances help until ctx ends. Those that are at work have then been
// told, or find nobody to report to.
func (c *conductor) invite(ctx, lasting context.Context) {
	s := c.run.sharing
	if s == nil || c.again {
		return
	}
	if _, shared := s.names[c.name]; !shared {
		return
	}
	ask := protocol.AskSubject(s.script, s.instance, c.name)
	var answering sync.WaitGroup
	defer answering.Wait()
	sub, err := s.nc.Subscribe(ask, func(m *nats.Msg) {
		answering.Go(func() {
			if reply, known := c.reply(ctx, lasting, m.Data); known {
				_ = m.Respond(marshal(reply)) // the bus is gone: it asks again
			}
		})
	})
	if err != nil {
		c.run.Log.Warn("nobody can help: " + err.Error())
		return
	}
	defer c.dismiss(sub)
	invitation := marshal(protocol.Invitation{Instance: s.instance, Digest: buildDigest(), Start: c.run.Start, Backfill: c.name})
	for {
		c.sweep()
		if c.hasWork() && !paused(ctx) {
			_ = s.nc.Publish(protocol.ShareSubject(s.script), invitation) // there is another in a second
		}
		if !pause(ctx, inviteEvery) {
			return
		}
	}
}

// dismiss stops hearing helpers: it returns once no more of their requests come up.
func (c *conductor) dismiss(sub *nats.Subscription) {
	_ = sub.Unsubscribe() // the connection may be gone
	heard := make(chan struct{})
	if c.run.sharing.nc.Barrier(func() { close(heard) }) == nil {
		_ = await(context.Background(), stopGrace, heard)
	}
}

// reply deals with a request of a helper; known is false for what is none.
func (c *conductor) reply(ctx, lasting context.Context, data []byte) (reply protocol.ShareReply, known bool) {
	var q protocol.ShareRequest
	if json.Unmarshal(data, &q) != nil || q.Instance == "" {
		return reply, false
	}
	switch {
	case ctx.Err() != nil:
		reply.Over = true
	case q.Grant == "":
		c.employ(q.Instance, &reply)
	case !c.holds(q) || !c.plausible(q):
		reply.Over = true
	case q.Error != nil:
		reply.Over = true
		if c.revoke(q.Grant) {
			c.stop(errorOf(q.Error))
		}
	case q.Leave:
		reply.Over = true
		c.revoke(q.Grant)
	default:
		reply.Grant = q.Grant
		if err := c.report(lasting, q.Grant, mark{q.Cursor, q.Done, q.PutAside, q.Ended}); err != nil {
			reply.Over = true
		}
	}
	s := c.share()
	reply.Rate, reply.InFlight, reply.Held = s.rate, s.inFlight, s.held
	if paused(ctx) {
		reply.Held = "paused"
	}
	return reply, true
}

// holds reports whether the grant was given to the instance that says so and still holds.
func (c *conductor) holds(q protocol.ShareRequest) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.holdings[q.Grant]
	return h != nil && h.helper == q.Instance
}

// plausible reports whether what is said can be.
func (c *conductor) plausible(q protocol.ShareRequest) bool {
	const most = 1 << 53 // records: more than anybody has
	touched := q.Done + MaxInFlight*int64(c.passage.Size)
	return q.Done >= 0 && q.Done < most && (q.Done == 0 || q.Cursor != "") && -touched <= q.PutAside && q.PutAside <= touched
}

// employ gives a partition to a helper. One that asks again has not heard of it.
func (c *conductor) employ(instance string, reply *protocol.ShareReply) {
	c.mu.Lock()
	var h *holding
	for id, held := range c.holdings {
		if held.helper == instance {
			delete(c.holdings, id)
		}
	}
	if h, _ = c.give(instance); h == nil {
		reply.Over = true
	} else {
		reply.Grant, reply.Partition, reply.Cursor, reply.BatchSize = h.ID, h.Partition, h.Cursor, h.Size
	}
	c.announce()
	c.mu.Unlock()
	c.adjust()
	if h != nil {
		c.run.Log.Info("another instance helps", zap.String("instance", instance), zap.String("partition", h.Partition))
	}
}

// revoke takes a partition back; false when the grant did not hold.
func (c *conductor) revoke(id string) bool {
	c.mu.Lock()
	_, held := c.holdings[id]
	delete(c.holdings, id)
	c.announce()
	c.mu.Unlock()
	c.adjust()
	return held
}

// sweep takes back the partitions of helpers that are silent.
func (c *conductor) sweep() {
	c.mu.Lock()
	var silent []*holding
	for _, h := range c.holdings {
		if h.helper != "" && time.Since(h.heard) > helperSilent {
			silent = append(silent, h)
		}
	}
	c.mu.Unlock()
	for _, h := range silent {
		if c.revoke(h.ID) {
			c.run.Log.Warn("an instance that helped is silent, its partition is given to another", zap.String("instance", h.helper), zap.String("partition", h.Partition))
		}
	}
}

// hasWork reports whether there is a partition that nobody works on.
func (c *conductor) hasWork() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	held := make(map[*partition]bool, len(c.holdings))
	for _, h := range c.holdings {
		held[h.part] = true
	}
	for _, p := range c.passage.Parts {
		if !p.Ended && !p.gone && !held[p] {
			return true
		}
	}
	return false
}

// errorOf is what a helper has failed with.
func errorOf(e *protocol.ScriptError) error {
	if e.Retry != nil && !*e.Retry {
		return Permanent(errHelper{e})
	}
	return errHelper{e}
}

// errHelper says only what has happened: the code is given once more to the answer.
type errHelper struct{ *protocol.ScriptError }

func (e errHelper) Error() string { return e.Message }

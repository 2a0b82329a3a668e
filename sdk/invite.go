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
	nc        *nats.Conn
	script    protocol.Script
	instance  string
	backfills map[string]backfillConfig // that may be shared, by name
}

// sharing gives nil when there is nothing to share.
func (a *attempt) sharing() *sharing {
	if a.start.Rollout == "" || len(a.worker.shared) == 0 {
		return nil
	}
	return &sharing{a.worker.nc, a.job.script, a.worker.instance, a.worker.shared}
}

// inviter lets other instances help with a backfill, and answers what they say.
type inviter struct {
	*sharing
	leader *leader
}

// inviteHelpers lets other instances help until ctx ends, if they may. Those that are at work
// have then been told, or find nobody to report to. What they report is taken until lasting
// ends.
func (l *leader) inviteHelpers(ctx, lasting context.Context) {
	if l.run.sharing == nil || l.again {
		return
	}
	if _, shared := l.run.sharing.backfills[l.config.name]; shared {
		inviter{l.run.sharing, l}.invite(ctx, lasting)
	}
}

// invite invites once a second, until ctx ends.
func (i inviter) invite(ctx, lasting context.Context) {
	l := i.leader
	ask := protocol.AskSubject(i.script, i.instance, l.config.name)
	var answering sync.WaitGroup
	defer answering.Wait()
	sub, err := i.nc.Subscribe(ask, func(m *nats.Msg) {
		answering.Go(func() {
			if reply, known := i.reply(ctx, lasting, m.Data); known && protocol.IsInbox(m.Reply) {
				_ = m.Respond(marshal(reply)) // the bus is gone: it asks again
			}
		})
	})
	if err != nil {
		l.run.Log.Warn("nobody can help: " + err.Error())
		return
	}
	defer i.unsubscribe(sub)
	invitation := marshal(protocol.Invitation{Instance: i.instance, Digest: buildDigest(), Start: l.run.Start, Backfill: l.config.name})
	for {
		i.revokeSilent()
		if l.assignments.hasFree() && !paused(ctx) {
			_ = i.nc.Publish(protocol.ShareSubject(i.script), invitation) // there is another in a second
		}
		if !pause(ctx, inviteEvery) {
			return
		}
	}
}

// unsubscribe stops hearing helpers: it returns once no more of their requests come up.
func (i inviter) unsubscribe(sub *nats.Subscription) {
	_ = sub.Unsubscribe() // the connection may be gone
	heard := make(chan struct{})
	if i.nc.Barrier(func() { close(heard) }) == nil {
		_ = await(context.Background(), stopGrace, heard)
	}
}

// reply deals with a request of a helper; known is false for what is none.
func (i inviter) reply(ctx, lasting context.Context, data []byte) (reply protocol.ShareReply, known bool) {
	var q protocol.ShareRequest
	if json.Unmarshal(data, &q) != nil || q.Instance == "" {
		return reply, false
	}
	l := i.leader
	switch {
	case ctx.Err() != nil:
		reply.Over = true
	case q.Grant == "":
		i.assign(q.Instance, &reply)
	case !l.assignments.holds(q.Grant, q.Instance) || !i.plausible(q):
		reply.Over = true
	case q.Error != nil:
		reply.Over = true
		if l.revoke(q.Grant) {
			l.stop(errorOf(q.Error))
		}
	case q.Leave:
		reply.Over = true
		l.revoke(q.Grant)
	default:
		reply.Grant = q.Grant
		if err := l.report(lasting, q.Grant, watermark{q.Cursor, q.Done, q.PutAside, q.Ended}); err != nil {
			reply.Over = true
		}
	}
	s := l.pacer.share()
	reply.Rate, reply.InFlight, reply.Held = s.rate, s.inFlight, s.held
	if paused(ctx) {
		reply.Held = "paused"
	}
	return reply, true
}

// plausible reports whether what is said can be.
func (i inviter) plausible(q protocol.ShareRequest) bool {
	const most = 1 << 53 // records: more than anybody has
	touched := q.Done + MaxInFlight*int64(i.leader.assignments.checkpoint.Size)
	return q.Done >= 0 && q.Done < most && (q.Done == 0 || q.Cursor != "") && -touched <= q.PutAside && q.PutAside <= touched
}

// assign gives a partition to a helper.
func (i inviter) assign(helper string, reply *protocol.ShareReply) {
	a := i.leader.assignments.assign(helper)
	if a == nil {
		reply.Over = true
	} else {
		reply.Grant, reply.Partition, reply.Cursor, reply.BatchSize = a.ID, a.Partition, a.Cursor, a.Size
	}
	i.leader.pacer.adjust()
	if a != nil {
		i.leader.run.Log.Info("another instance helps", zap.String("instance", helper), zap.String("partition", a.Partition))
	}
}

// revokeSilent takes back the partitions of helpers that are silent.
func (i inviter) revokeSilent() {
	for _, a := range i.leader.assignments.silent() {
		if i.leader.revoke(a.ID) {
			i.leader.run.Log.Warn("an instance that helped is silent, its partition is given to another", zap.String("instance", a.helper), zap.String("partition", a.Partition))
		}
	}
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

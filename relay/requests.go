package relay

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/relay/protocol"
)

// holdFor is how long a request is held at most. A cutover takes milliseconds, and one
// that loses an instance in the middle the time of a lease.
const holdFor = time.Minute

// request is a message on its way to its handler.
type request struct {
	to      *endpoint
	data    []byte
	header  nats.Header // may be nil
	reply   string
	private bool      // answered whatever the route says
	held    time.Time // since when; zero: not yet
	term    uint64    // of the lease, when the role was looked at
}

// requests is what an instance is asked, at its private address and in production, and what
// becomes of it.
type requests struct {
	*identity
	ctx       context.Context // of handlers
	workers   *workerPool
	endpoints map[string]*endpoint // by the name that NATS has for it

	private tally       // requests at the private address that are being answered
	ended   atomic.Bool // none of them is begun with any more
	traffic traffic
	streams streams

	resuming sync.WaitGroup // of what was held
}

func newRequests(ctx context.Context, who *identity) *requests {
	r := &requests{identity: who, ctx: ctx, endpoints: endpointsOf(who.service)}
	r.workers = newWorkerPool(who.service.Concurrency, r.answer)
	r.private.init()
	r.traffic.busy.init()
	r.traffic.lapsed = make(chan struct{}, 1)
	r.take(&role{state: protocol.StateOffline, verdict: hold, over: make(chan struct{})})
	return r
}

// receive deals with a message at the private address: one that was forwarded there is a
// production request, any other is answered whatever the route says.
func (r *requests) receive(q request) {
	if by := q.header[protocol.HeaderForwarded]; len(by) > 0 {
		if _, ok := protocol.ParseNumber(by[0]); !ok && by[0] != "0" { // a service without a route has that revision
			r.respond(&q, nil, errForwarded)
			return
		}
		r.produce(q)
		return
	}
	if q.isStream() {
		q.private = true
		r.stream(q)
		return
	}
	r.private.begin()
	if r.ended.Load() {
		r.private.end()
		r.respond(&q, nil, errStopped)
		return
	}
	q.private = true
	r.workers.give(q)
}

// produce deals with a production request, or one that was forwarded.
func (r *requests) produce(q request) {
	for {
		at := r.traffic.role.Load()
		if v := at.about(&q); v != answer {
			r.deflect(q, v, at)
			return
		}
		if r.traffic.looked != nil {
			r.traffic.looked()
		}
		// Counted first and looked at again: whoever changes the role sees every
		// request that goes on under the old one.
		r.traffic.busy.begin()
		q.term = r.traffic.leased.Load().number()
		if r.traffic.role.Load() == at {
			if q.isStream() {
				r.stream(q)
				r.traffic.busy.end()
			} else {
				r.workers.give(q)
			}
			return
		}
		r.traffic.busy.end()
	}
}

// answer runs the handler of a request.
func (r *requests) answer(q *request) {
	if q.private {
		data, failure := r.call(q)
		r.respond(q, data, failure)
		r.private.end()
		return
	}
	defer r.traffic.busy.end()
	begun := r.relay.clock()
	if at := r.traffic.role.Load(); !r.traffic.mayAnswer(begun) {
		if at.verdict == giveBack {
			r.giveBack(*q)
		} else {
			r.hold(*q, at)
		}
		return
	}
	if !r.still(q) {
		return
	}
	data, failure := r.call(q)
	ended := r.relay.clock()
	if !r.traffic.mayAnswer(ended) || r.traffic.leased.Load().number() != q.term {
		data, failure = r.afterLapse(data, failure)
	}
	q.to.requests.Add(1)
	q.to.working.Add(int64(ended.Ticks - begun.Ticks))
	if failure != nil {
		q.to.failed.Add(1)
	}
	r.respond(q, data, failure)
}

// still reports whether a request that has waited for a worker is to be answered here. If
// the lease has run out meanwhile and was renewed, the gate has not waited for the request,
// so the role is looked at once more; the request is dealt with if that says otherwise.
func (r *requests) still(q *request) bool {
	term := r.traffic.leased.Load().number()
	if term == q.term {
		return true
	}
	q.term = term
	at := r.traffic.role.Load()
	v := at.about(q)
	if v != answer {
		r.deflect(*q, v, at)
	}
	return v == answer
}

// afterLapse is the answer of a handler during which the lease has run out, as that of
// a process that was stopped for a while: the one it gave if, by the route as it is now,
// the version still answers, else an error.
func (r *requests) afterLapse(data []byte, failure error) ([]byte, error) {
	for {
		at := r.traffic.role.Load() // before the lease: a renewal ends this role
		if r.traffic.mayAnswer(r.relay.clock()) || at.verdict == giveBack {
			break
		}
		select {
		case <-at.over:
		case <-r.ctx.Done():
			return nil, errLapsed
		}
	}
	if r.traffic.role.Load().verdict != answer { // after the lease: who renews it reads the route first
		return nil, errLapsed
	}
	return data, failure
}

// deflect deals with a production request that is not answered here and now.
func (r *requests) deflect(q request, v verdict, at *role) {
	switch v {
	case hold:
		r.hold(q, at)
	case forward:
		r.forward(q, at)
	case refuse:
		r.refuse(&q, at.refusal)
	case nobody:
		r.refuse(&q, errNobodyOnline)
	case giveBack:
		r.giveBack(q)
	}
}

// hold keeps a request until the instance has its next role, and then decides anew.
func (r *requests) hold(q request, at *role) {
	switch r.traffic.held.enter(q, r.service.MaxHeld, func() bool { return r.traffic.role.Load() == at }) {
	case full:
		r.respond(&q, nil, errTooMany)
	case late:
		r.produce(q)
	}
}

// dismiss answers what has been held for too long.
func (r *requests) dismiss() {
	for _, q := range r.traffic.held.since(time.Now().Add(-holdFor)) {
		r.respond(&q, nil, errTooLong)
	}
}

// forward passes a request on to a version that is online, which answers the caller.
func (r *requests) forward(q request, at *role) {
	r.traffic.forwarded.Add(1)
	m := &nats.Msg{Subject: at.forwardTo + q.to.message, Reply: q.reply, Data: q.data, Header: nats.Header{}}
	for key, values := range q.header {
		m.Header[key] = values
	}
	m.Header.Set(protocol.HeaderForwarded, strconv.FormatUint(at.revision, 10))
	r.pass(m)
}

// giveBack has another instance of the queue group take a request.
func (r *requests) giveBack(q request) {
	m := &nats.Msg{Subject: protocol.ProductionSubject(r.service.Name, q.to.message), Reply: q.reply, Data: q.data, Header: nats.Header{}}
	for key, values := range q.header {
		if key != protocol.HeaderForwarded {
			m.Header[key] = values
		}
	}
	r.pass(m)
}

// take gives the instance its next role; what was held under the one before goes on.
func (r *requests) take(next *role) {
	r.traffic.busy.awaited.Store(next.verdict != answer)
	last := r.traffic.role.Swap(next)
	if last == nil {
		return
	}
	close(last.over)
	if next.verdict != answer {
		r.streams.cut(errTrafficMoves, false)
	}
	if held := r.traffic.held.empty(); len(held) > 0 {
		r.resuming.Go(func() { // it may have to wait for workers
			for _, q := range held {
				r.produce(q)
			}
		})
	}
}

// call runs the handler of a request.
func (r *requests) call(q *request) ([]byte, error) {
	return call(r.ctx, q.to.handler, &Message{Name: q.to.message, Data: q.data, Header: q.header}, r.log)
}

// finish waits for the messages that the instance has got before it left; handlers
// that take too long are told to end.
func (r *requests) finish(abandon context.CancelFunc) {
	tooLong := time.AfterFunc(r.service.DrainTimeout, func() {
		r.log.Warn("handlers did not finish in time, ending them", zap.Duration("after", r.service.DrainTimeout))
		abandon()
	})
	defer tooLong.Stop()
	r.streams.end()
	r.awaitTaken()
	r.ended.Store(true)
	r.take(r.traffic.role.Load().left()) // what is held is given back
	r.resuming.Wait()
	r.streams.running.Wait()
	r.private.wait()
	r.traffic.busy.wait()
	r.workers.end()
	if err := r.flush(context.Background()); err != nil {
		r.log.Warn("flush", zap.Error(err))
	}
}

// awaitTaken blocks until every message that the server has sent to this instance has
// been begun with, or handlers are told to end.
func (r *requests) awaitTaken() {
	if err := r.flush(r.ctx); err != nil {
		r.log.Warn("flush", zap.Error(err)) // the bus is lost: what came before is all there is
	}
	taken := make(chan struct{})
	if err := r.relay.nc.Barrier(func() { close(taken) }); err != nil {
		return // the connection is closed: nothing can be answered
	}
	select {
	case <-taken:
	case <-r.ctx.Done():
	}
}

package relay

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/relay/protocol"
)

// holdFor is how long a request is held at most. A cutover takes milliseconds, and one
// that loses an instance in the middle the time of a lease.
const holdFor = time.Minute

// endpoint is a message of a service, and what has come of its production requests.
type endpoint struct {
	message string
	handler Handler
	stream  StreamHandler // nil: it answers plainly

	requests, failed, working atomic.Int64 // working: nanoseconds in the handler
}

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

// traffic is the part of an instance that every production request goes through.
type traffic struct {
	role   atomic.Pointer[role]
	leased atomic.Pointer[lease] // the newest; nil: none yet
	lapsed chan struct{}         // capacity 1: told when a request comes after that
	busy   tally                 // production requests that are being answered
	held   waitingRoom           // production requests that wait for the next role
	looked func()                // called between the two looks at the role; nil but in tests

	forwarded atomic.Int64
}

// mayAnswer reports whether the instance's lease has not run out at the time given.
func (i *instance) mayAnswer(at instant) bool {
	if i.traffic.leased.Load().covers(at) {
		return true
	}
	tell(i.traffic.lapsed)
	return false
}

// produce deals with a production request, or one that was forwarded.
func (i *instance) produce(q request) {
	for {
		at := i.traffic.role.Load()
		if v := at.about(&q); v != answer {
			i.deflect(q, v, at)
			return
		}
		if i.traffic.looked != nil {
			i.traffic.looked()
		}
		// Counted first and looked at again: whoever changes the role sees every
		// request that goes on under the old one.
		i.traffic.busy.begin()
		q.term = i.traffic.leased.Load().number()
		if i.traffic.role.Load() == at {
			if q.isStream() {
				i.stream(q)
				i.traffic.busy.end()
			} else {
				i.crew.give(q)
			}
			return
		}
		i.traffic.busy.end()
	}
}

// answer runs the handler of a request.
func (i *instance) answer(q *request) {
	if q.private {
		data, failure := i.call(q)
		i.respond(q, data, failure)
		i.private.end()
		return
	}
	defer i.traffic.busy.end()
	begun := i.relay.clock()
	if at := i.traffic.role.Load(); !i.mayAnswer(begun) {
		if at.verdict == giveBack {
			i.giveBack(*q)
		} else {
			i.hold(*q, at)
		}
		return
	}
	if !i.still(q) {
		return
	}
	data, failure := i.call(q)
	ended := i.relay.clock()
	if !i.mayAnswer(ended) || i.traffic.leased.Load().number() != q.term {
		data, failure = i.afterLapse(data, failure)
	}
	q.to.requests.Add(1)
	q.to.working.Add(int64(ended.ticks - begun.ticks))
	if failure != nil {
		q.to.failed.Add(1)
	}
	i.respond(q, data, failure)
}

// still reports whether a request that has waited for a worker is to be answered here. If
// the lease has run out meanwhile and was renewed, the gate has not waited for the request,
// so the role is looked at once more; the request is dealt with if that says otherwise.
func (i *instance) still(q *request) bool {
	term := i.traffic.leased.Load().number()
	if term == q.term {
		return true
	}
	q.term = term
	at := i.traffic.role.Load()
	v := at.about(q)
	if v != answer {
		i.deflect(*q, v, at)
	}
	return v == answer
}

// afterLapse is the answer of a handler during which the lease has run out, as that of
// a process that was stopped for a while: the one it gave if, by the route as it is now,
// the version still answers, else an error.
func (i *instance) afterLapse(data []byte, failure error) ([]byte, error) {
	for {
		at := i.traffic.role.Load() // before the lease: a renewal ends this role
		if i.mayAnswer(i.relay.clock()) || at.verdict == giveBack {
			break
		}
		select {
		case <-at.over:
		case <-i.ctx.Done():
			return nil, errLapsed
		}
	}
	if i.traffic.role.Load().verdict != answer { // after the lease: who renews it reads the route first
		return nil, errLapsed
	}
	return data, failure
}

// deflect deals with a production request that is not answered here and now.
func (i *instance) deflect(q request, v verdict, at *role) {
	switch v {
	case hold:
		i.hold(q, at)
	case forward:
		i.forward(q, at)
	case refuse:
		i.refuse(&q, at.refusal)
	case nobody:
		i.refuse(&q, errNobodyOnline)
	case giveBack:
		i.giveBack(q)
	}
}

// hold keeps a request until the instance has its next role, and then decides anew.
func (i *instance) hold(q request, at *role) {
	switch i.traffic.held.enter(q, i.service.MaxHeld, func() bool { return i.traffic.role.Load() == at }) {
	case full:
		i.respond(&q, nil, errTooMany)
	case late:
		i.produce(q)
	}
}

// dismiss answers what has been held for too long.
func (i *instance) dismiss() {
	for _, q := range i.traffic.held.since(time.Now().Add(-holdFor)) {
		i.respond(&q, nil, errTooLong)
	}
}

// forward passes a request on to a version that is online, which answers the caller.
func (i *instance) forward(q request, at *role) {
	i.traffic.forwarded.Add(1)
	m := &nats.Msg{Subject: at.forwardTo + q.to.message, Reply: q.reply, Data: q.data, Header: nats.Header{}}
	for key, values := range q.header {
		m.Header[key] = values
	}
	m.Header.Set(protocol.HeaderForwarded, strconv.FormatUint(at.revision, 10))
	i.pass(m)
}

// giveBack has another instance of the queue group take a request.
func (i *instance) giveBack(q request) {
	m := &nats.Msg{Subject: protocol.ProductionSubject(i.service.Name, q.to.message), Reply: q.reply, Data: q.data, Header: nats.Header{}}
	for key, values := range q.header {
		if key != protocol.HeaderForwarded {
			m.Header[key] = values
		}
	}
	i.pass(m)
}

func (i *instance) pass(m *nats.Msg) {
	if err := i.relay.nc.PublishMsg(m); err != nil {
		i.log.Error("pass on", zap.String("subject", m.Subject), zap.Error(err))
	}
}

// take gives the instance its next role; what was held under the one before goes on.
func (i *instance) take(next *role) {
	i.traffic.busy.awaited.Store(next.verdict != answer)
	last := i.traffic.role.Swap(next)
	if last == nil {
		return
	}
	close(last.over)
	if next.verdict != answer {
		i.streams.cut(errTrafficMoves, false)
	}
	if held := i.traffic.held.empty(); len(held) > 0 {
		i.resuming.Go(func() { // it may have to wait for workers
			for _, q := range held {
				i.produce(q)
			}
		})
	}
}

// call runs the handler of a request.
func (i *instance) call(q *request) ([]byte, error) {
	return call(i.ctx, q.to.handler, &Message{Name: q.to.message, Data: q.data, Header: q.header}, i.log)
}

// trafficStats is what `nats micro stats` shows of an endpoint beside the requests at
// its private address. Forwarded, held, busy and streams are of the whole instance.
type trafficStats struct {
	State       protocol.VersionState `json:"state"`
	Revision    uint64                `json:"revision"`
	Requests    int64                 `json:"productionRequests"`
	Errors      int64                 `json:"productionErrors"`
	AverageTime time.Duration         `json:"productionAverageProcessingTime"` // in nanoseconds, as NATS's own
	Forwarded   int64                 `json:"forwarded"`
	Held        int64                 `json:"held"`
	Busy        int64                 `json:"busy"`
	Streams     int64                 `json:"streams"`
}

func (i *instance) stats(e *endpoint) trafficStats {
	at := i.traffic.role.Load()
	s := trafficStats{
		State: at.state, Revision: at.revision, Requests: e.requests.Load(), Errors: e.failed.Load(),
		Forwarded: i.traffic.forwarded.Load(), Held: i.traffic.held.count(), Busy: i.traffic.busy.n.Load(),
		Streams: i.streams.count(),
	}
	if s.Requests > 0 {
		s.AverageTime = time.Duration(e.working.Load() / s.Requests)
	}
	return s
}

// settled reports whether the instance does what its role says and nothing else any
// more: only then does it confirm it.
func (i *instance) settled() bool {
	if i.traffic.role.Load().verdict == answer {
		return true
	}
	left := i.production == nil && i.leaving.Load() == 0
	return i.traffic.busy.n.Load() == 0 && (i.traffic.role.Load().listed() || left)
}

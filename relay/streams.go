package relay

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/golive-dev/golive/relay/protocol"
)

// MaxStreams is how many streams an instance sends at once. A request for one more is
// answered with code 503.
const MaxStreams = 1000

// Answers to requests that no stream handler has seen.
var (
	errStreams     = &Error{Code: CodeUnavailable, Message: fmt.Sprintf("the instance sends %d streams already", MaxStreams)}
	errOnlyStream  = &Error{Code: CodeBadRequest, Message: "it answers as a stream: use Stream"}
	errNeverStream = &Error{Code: CodeBadRequest, Message: "it answers plainly: use Request"}
	errWindow      = &Error{Code: CodeBadRequest, Message: protocol.HeaderStream + " is no number of bytes"}
)

// streams are what an instance sends. They end at once when it may not send them any more,
// so nobody who moves traffic waits for one.
type streams struct {
	mu      sync.Mutex
	all     map[*Sender]bool
	ended   bool // none is begun with any more
	running sync.WaitGroup
}

// add counts a stream in, and starts it.
func (a *streams) add(s *Sender, run func()) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.ended:
		return errStopping
	case len(a.all) >= MaxStreams:
		return errStreams
	}
	if a.all == nil {
		a.all = make(map[*Sender]bool)
	}
	a.all[s] = true
	a.running.Go(func() {
		defer a.remove(s)
		run()
	})
	return nil
}

func (a *streams) remove(s *Sender) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.all, s)
}

func (a *streams) count() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return int64(len(a.all))
}

// cut ends the streams of production, or all of them.
func (a *streams) cut(reason *Error, private bool) {
	a.mu.Lock()
	var cut []*Sender
	for s := range a.all {
		if private || !s.private {
			cut = append(cut, s)
		}
	}
	a.mu.Unlock()
	for _, s := range cut {
		s.cut(reason)
	}
}

// end ends all streams, and lets none be begun with.
func (a *streams) end() {
	a.mu.Lock()
	a.ended = true
	a.mu.Unlock()
	a.cut(errStopping, true)
}

// isStream reports whether a request is to be answered by a stream.
func (q *request) isStream() bool { return q.header.Get(protocol.HeaderStream) != "" }

// onlyStream answers a plain request for a stream.
func onlyStream(context.Context, *Message) (any, error) { return nil, errOnlyStream }

// stream answers a request by a stream, on a goroutine of its own.
func (r *requests) stream(q request) {
	if at := r.traffic.role.Load(); !q.private && !r.traffic.mayAnswer(r.relay.clock()) {
		if at.verdict == giveBack {
			r.giveBack(q)
		} else {
			r.hold(q, at)
		}
		return
	}
	window, err := strconv.ParseInt(q.header.Get(protocol.HeaderStream), 10, 64)
	switch {
	case q.to.stream == nil:
		r.respond(&q, nil, errNeverStream)
		return
	case err != nil || window < 0:
		r.respond(&q, nil, errWindow)
		return
	case q.reply == "" || !protocol.Answerable(q.reply):
		return // nobody would get it, or somebody who has not asked
	}
	ctx, stop := context.WithCancelCause(r.ctx)
	s := &Sender{
		requests: r, name: q.to.message, private: q.private, window: window, stop: stop, inbox: r.relay.nc.NewInbox(),
		quiet: time.NewTimer(protocol.StreamQuiet), reply: q.reply, told: true,
		size: int(min(protocol.StreamBatch, r.relay.nc.MaxPayload()-protocol.StreamHeaderRoom)),
	}
	s.room.L = &s.mu
	err = r.streams.add(s, func() {
		defer stop(errStreamOver)
		s.run(ctx, &q)
	})
	if err == nil {
		return
	}
	stop(err)
	switch {
	case err != errStopping:
		r.respond(&q, nil, err)
	case q.private:
		s.cut(errStopping)
	default:
		r.giveBack(q)
	}
}

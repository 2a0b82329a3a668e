package features

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/relay/protocol"
)

// visitor sends production requests one after the other, and notes what comes back, in
// the order of the bus: answers, and the words of scripts that they are done, come over
// one channel of one connection.
type visitor struct {
	nc       *nats.Conn
	service  string
	arrived  chan *nats.Msg
	end      context.CancelFunc
	visiting sync.WaitGroup

	mu      sync.Mutex
	changed chan struct{} // closed and replaced with everything noted
	asked   int
	noted   []string // versions that answered, and names of messages
}

const (
	askEvery   = 2 * time.Millisecond
	answeredIn = 300 * time.Millisecond // else the request was lost, which is not what this is about
)

func (s *scenario) startVisitor(ctx context.Context, service string) error {
	o, err := s.look(ctx)
	if err != nil {
		return err
	}
	nc, err := nats.Connect(o.url)
	if err != nil {
		return err
	}
	v := &visitor{nc: nc, service: service, arrived: make(chan *nats.Msg, 1000), changed: make(chan struct{})}
	s.visitor = v
	inbox := nc.NewInbox()
	if _, err := nc.ChanSubscribe(inbox+".*", v.arrived); err != nil {
		return err
	}
	for _, a := range s.apps {
		if err := v.watch(a); err != nil {
			return err
		}
	}
	visiting, end := context.WithCancel(context.WithoutCancel(ctx))
	v.end = end
	v.visiting.Go(func() { v.visit(visiting, inbox) })
	return nil
}

// watch notes when offline scripts of an app are done.
func (v *visitor) watch(a *app) error {
	if v == nil {
		return nil
	}
	for _, one := range a.services {
		done := protocol.Script{Name: one.name, Version: one.version, Phase: protocol.Offline}.Subject(protocol.Done)
		if _, err := v.nc.ChanSubscribe(done, v.arrived); err != nil {
			return err
		}
	}
	return v.nc.FlushTimeout(patience)
}

func (v *visitor) stop() {
	if v == nil {
		return
	}
	if v.end != nil {
		v.end()
	}
	v.visiting.Wait()
	v.nc.Close()
}

func (v *visitor) visit(ctx context.Context, inbox string) {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for n := 1; ctx.Err() == nil; n++ {
		reply := inbox + "." + strconv.Itoa(n)
		if err := v.nc.PublishRequest(protocol.ProductionSubject(v.service, "version"), reply, []byte(strconv.Itoa(n))); err != nil {
			v.note("error: "+err.Error(), 1)
			return
		}
		v.awaitAnswer(ctx, reply)
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// awaitAnswer notes all that arrives until the answer has.
func (v *visitor) awaitAnswer(ctx context.Context, reply string) {
	late := time.NewTimer(answeredIn)
	defer late.Stop()
	for {
		select {
		case m := <-v.arrived:
			var version string
			switch {
			case !strings.HasPrefix(m.Subject, "_INBOX."):
				v.note(m.Subject, 0)
				continue
			case m.Header.Get(protocol.HeaderStatus) != "": // nobody was there
			case json.Unmarshal(m.Data, &version) == nil:
				v.note(version, 0)
			}
			if m.Subject == reply {
				v.note("", 1)
				return
			}
		case <-late.C:
			v.note("", 1)
			return
		case <-ctx.Done():
			return
		}
	}
}

// note keeps what has arrived, if anything, and counts requests that are over.
func (v *visitor) note(what string, asked int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if what != "" {
		v.noted = append(v.noted, what)
	}
	v.asked += asked
	close(v.changed)
	v.changed = make(chan struct{})
}

// await blocks until enough says that what was noted is.
func (v *visitor) await(ctx context.Context, enough func() bool) error {
	if v == nil {
		return errors.New("there is no visitor")
	}
	ctx, cancel := withPatience(ctx)
	defer cancel()
	for {
		v.mu.Lock()
		yes, changed := enough(), v.changed
		v.mu.Unlock()
		if yes {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (s *scenario) visitorAsks(ctx context.Context, times int) error {
	first := -1
	return s.visitor.await(ctx, func() bool {
		if first < 0 {
			first = s.visitor.asked
		}
		return s.visitor.asked >= first+times
	})
}

func (s *scenario) promiseKept(ctx context.Context, service, prepared, asked, version string) error {
	done := protocol.Script{Name: service, Version: prepared, Phase: protocol.Offline}.Subject(protocol.Done)
	err := s.visitor.await(ctx, func() bool {
		return slices.Contains(s.visitor.noted, version) || slices.Contains(s.visitor.noted, done)
	})
	if err != nil {
		return err
	}
	s.visitor.mu.Lock()
	defer s.visitor.mu.Unlock()
	for _, what := range s.visitor.noted {
		switch what {
		case done:
			return nil
		case version:
			return fmt.Errorf("%s %s has answered before the offline script of %s %s was done", asked, version, service, prepared)
		}
	}
	return nil
}

func (s *scenario) neverAnswered(service, version string) error {
	s.visitor.mu.Lock()
	defer s.visitor.mu.Unlock()
	if slices.Contains(s.visitor.noted, version) {
		return fmt.Errorf("%s %s has answered", service, version)
	}
	return nil
}

func (s *scenario) lastAnswers(n int, service, version string) error {
	s.visitor.mu.Lock()
	defer s.visitor.mu.Unlock()
	noted := s.visitor.noted
	for _, what := range noted[max(0, len(noted)-n):] {
		if what != version {
			return fmt.Errorf("among the last %d is %q, not %s %s", n, what, service, version)
		}
	}
	return nil
}

func (s *scenario) answersCome(ctx context.Context, service, version string) error {
	if service != s.visitor.service {
		return fmt.Errorf("the visitor asks %s, not %s", s.visitor.service, service)
	}
	first := -1
	return s.visitor.await(ctx, func() bool {
		if first < 0 {
			first = len(s.visitor.noted)
		}
		return slices.Contains(s.visitor.noted[first:], version)
	})
}

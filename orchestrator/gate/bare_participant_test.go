package gate_test

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// bareInstance takes part in cutovers with a NATS client alone, as the documentation of
// package relay tells. One loop runs all that happens, event by event, and all state is
// its own; only leases, routes and answers are made beside it.
type bareInstance struct {
	service, version string
	handlers         map[string]func(data []byte) []byte // by message

	id       string
	nc       *nats.Conn
	js       jetstream.JetStream
	events   chan func()
	hints    chan *nats.Msg
	over     chan struct{} // closed when the loop has ended
	failed   error
	leaving  bool
	leased   time.Time // when the newest lease that counts was sent
	gaps     int       // how often it was renewed too late
	route    bareRoute
	revision uint64

	subs      map[string][]*nats.Subscription // by prefix of their subjects
	draining  int                             // subscriptions by which messages may still come
	answering map[bool]int                    // how many production and private requests
	held      []*bareRequest
	confirmed bool // the revision
}

type bareRoute struct {
	Versions    []struct{ Version, State string }
	Maintenance *struct{ RetryAfter string }
}

type bareRequest struct {
	*nats.Msg
	message    string
	production bool
	came       time.Time
	done       bool // by the handler, which gave the answer
	answer     []byte
}

// run serves until ctx ends, and then leaves.
func (i *bareInstance) run(ctx context.Context, url string) (err error) {
	i.id, i.events, i.over = rand.Text(), make(chan func()), make(chan struct{})
	i.subs, i.answering = make(map[string][]*nats.Subscription), make(map[bool]int)
	i.nc, err = nats.Connect(url, nats.MaxReconnects(-1), nats.ClosedHandler(func(*nats.Conn) {
		i.happens(func() { i.failed = nats.ErrConnectionClosed })
	}))
	if err != nil {
		return err
	}
	defer i.nc.Close()
	if i.js, err = jetstream.New(i.nc, jetstream.WithDefaultTimeout(2*time.Second)); err != nil {
		return err
	}
	i.hints = make(chan *nats.Msg, 64)
	if _, err := i.nc.ChanSubscribe("golive.route."+i.service, i.hints); err != nil {
		return err
	}
	unhurried := context.WithoutCancel(ctx)
	keeping, stop := context.WithCancel(unhurried) // the lease is kept while it leaves
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		i.keep(keeping)
	}()
	i.loop(ctx.Done())
	stop()
	close(i.over)
	<-kept
	if i.failed != nil {
		return i.failed
	}
	for _, r := range i.held {
		if !r.done {
			i.pass(r, i.service+"."+r.message, "")
		}
	}
	return cmp.Or(i.publishConfirmation("left"), i.publishLease(unhurried, "1s"))
}

func (i *bareInstance) loop(stopped <-chan struct{}) {
	for i.failed == nil && !(i.leaving && i.draining+i.answering[true]+i.answering[false] == 0) {
		select {
		case f := <-i.events:
			f()
		case <-stopped:
			stopped, i.leaving = nil, true
			i.listen()
		}
	}
}

// happens hands the loop an event.
func (i *bareInstance) happens(f func()) {
	select {
	case i.events <- f:
	case <-i.over:
	}
}

// keep renews the lease and reads the route until ctx ends.
func (i *bareInstance) keep(ctx context.Context) {
	lease, read, connected := time.NewTicker(5*time.Second), time.NewTicker(2*time.Second), i.nc.StatusChanged(nats.CONNECTED)
	defer lease.Stop()
	defer read.Stop()
	i.renew(ctx, true)
	for ctx.Err() == nil {
		select {
		case <-i.hints:
			i.renew(ctx, false)
		case <-lease.C:
			i.renew(ctx, true)
		case <-connected:
			i.renew(ctx, true)
		case <-read.C:
			i.renew(ctx, false)
		case <-ctx.Done():
		}
	}
}

// renew reads the route, after it has published the lease. A lease counts once the route
// has been read after it, so one that had run out is no case of its own.
func (i *bareInstance) renew(ctx context.Context, lease bool) {
	sent := time.Now()
	if lease && i.publishLease(ctx, "20s") != nil {
		return // and try again at the next turn
	}
	revision, data, err := i.read(ctx)
	i.happens(func() {
		if lease && err == nil {
			if !i.valid() {
				i.gaps++
			}
			i.leased = sent
		}
		if err == nil {
			i.act(revision, data)
		}
		i.confirmed = false
		i.goOn()
	})
}

func (i *bareInstance) publishLease(ctx context.Context, ttl string) error {
	_, err := i.js.PublishMsg(ctx, &nats.Msg{
		Subject: "$KV.golive-leases." + i.service + "." + bareEncode(i.version) + "." + i.id,
		Header:  nats.Header{"Nats-TTL": {ttl}},
		Data:    fmt.Appendf(nil, `{"version":%q}`, i.version),
	})
	return err
}

func (i *bareInstance) read(ctx context.Context) (revision uint64, data []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	request := fmt.Appendf(nil, `{"last_by_subj":%q}`, "$KV.golive-routes."+i.service)
	m, err := i.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET.KV_golive-routes", request)
	if err != nil {
		return 0, nil, err
	}
	var got struct {
		Message struct {
			Seq  uint64
			Data []byte // base64
		}
		Error *struct{ Code int }
	}
	err = json.Unmarshal(m.Data, &got)
	if got.Error != nil && got.Error.Code != 404 { // 404 is no message
		err = errors.New("the route cannot be read")
	}
	return got.Message.Seq, got.Message.Data, err
}

// act goes over to a revision of the route.
func (i *bareInstance) act(revision uint64, data []byte) {
	var r bareRoute
	if i.leased.IsZero() || revision < i.revision || len(data) > 0 && json.Unmarshal(data, &r) != nil {
		return
	}
	i.confirmed = i.confirmed && revision == i.revision
	i.route, i.revision = r, revision
	i.listen()
	i.goOn()
}

// state is that of the version in the route, and online the first one that is.
func (i *bareInstance) state() (state, online string) {
	state = "offline"
	for _, v := range i.route.Versions {
		if v.Version == i.version {
			state = v.State
		}
		if v.State == "online" {
			online = cmp.Or(online, v.Version)
		}
	}
	return state, online
}

func (i *bareInstance) valid() bool { return time.Since(i.leased) < 19*time.Second }

// wanted says whether the instance has to listen to production now.
func (i *bareInstance) wanted() bool {
	state, _ := i.state()
	return !i.leaving && (state == "standby" || state == "fenced" || state == "online")
}

// listen subscribes what is missing, and unsubscribes what is too much: production after
// a while, unless it is wanted again by then.
func (i *bareInstance) listen() {
	private := "golive.service." + i.service + "." + bareEncode(i.version)
	for prefix, wanted := range map[string]bool{i.service: i.wanted(), private: !i.leaving} {
		switch {
		case wanted && i.subs[prefix] == nil:
			for message := range i.handlers {
				i.subscribe(prefix, message)
			}
		case !wanted && i.leaving:
			i.unsubscribe(prefix)
		case !wanted && i.subs[prefix] != nil:
			time.AfterFunc(200*time.Millisecond, func() {
				i.happens(func() {
					if !i.wanted() {
						i.unsubscribe(prefix)
					}
				})
			})
		}
	}
}

func (i *bareInstance) unsubscribe(prefix string) {
	for _, sub := range i.subs[prefix] {
		i.draining++
		i.failed = cmp.Or(sub.Drain(), i.failed)
	}
	delete(i.subs, prefix)
}

func (i *bareInstance) subscribe(prefix, message string) {
	sub, err := i.nc.QueueSubscribe(prefix+"."+message, i.service, func(m *nats.Msg) {
		production := prefix == i.service || m.Header.Get("Golive-Forwarded") != ""
		i.happens(func() { i.take(&bareRequest{Msg: m, message: message, production: production, came: time.Now()}) })
	})
	if err != nil {
		i.failed = err
		return
	}
	// Drained, it is closed after the server has answered a PING and the last message.
	sub.SetClosedHandler(func(string) {
		i.happens(func() {
			i.draining--
			i.confirm()
		})
	})
	i.subs[prefix] = append(i.subs[prefix], sub)
}

// take decides what becomes of a request.
func (i *bareInstance) take(r *bareRequest) {
	state, online := i.state()
	by, err := strconv.ParseUint(r.Header.Get("Golive-Forwarded"), 10, 64)
	forwarded := err == nil
	switch {
	case !r.production:
		i.handle(r)
	case !i.valid():
		i.hold(r)
	case r.done && state == "online" && i.route.Maintenance == nil:
		i.send(r.Reply, "", r.answer, nil)
	case r.done: // too late, for another version may have answered others since
		i.send(r.Reply, "", nil, nats.Header{"Nats-Service-Error-Code": {"500"}, "Nats-Service-Error": {"cut off while it was at work"}})
	case state == "online" && i.route.Maintenance == nil:
		i.handle(r)
	case forwarded && by > i.revision: // it is behind
		i.hold(r)
	case i.route.Maintenance != nil:
		i.refuse(r, "maintenance", "back soon", bareSeconds(i.route.Maintenance.RetryAfter))
	case state == "fenced", online != "" && forwarded && by == i.revision:
		i.hold(r)
	case online != "":
		i.pass(r, "golive.service."+i.service+"."+bareEncode(online)+"."+r.message, strconv.FormatUint(i.revision, 10))
	case state == "standby":
		i.hold(r)
	default:
		i.refuse(r, "no-version", "nobody here is online", "")
	}
}

func (i *bareInstance) handle(r *bareRequest) {
	i.answering[r.production]++
	gaps := i.gaps
	go func() {
		answer := i.handlers[r.message](r.Data)
		i.happens(func() {
			i.answering[r.production]--
			if r.done, r.answer = true, answer; r.production && (!i.valid() || i.gaps != gaps) {
				i.take(r)
			} else {
				i.send(r.Reply, "", answer, nil)
			}
			i.confirm()
		})
	}()
}

func (i *bareInstance) hold(r *bareRequest) {
	switch {
	case len(i.held) < 65536 && time.Since(r.came) < time.Minute:
		i.held = append(i.held, r)
	case !r.done: // else 503 would be a lie
		i.refuse(r, "", "held too long, or too many of them", "")
	}
}

// goOn decides anew about all requests that are held.
func (i *bareInstance) goOn() {
	held := i.held
	i.held = nil
	for _, r := range held {
		i.take(r)
	}
	i.confirm()
}

func (i *bareInstance) refuse(r *bareRequest, reason, text, retryAfter string) {
	h := nats.Header{"Nats-Service-Error-Code": {"503"}, "Nats-Service-Error": {text}}
	if reason != "" {
		h.Set("Golive-Reason", reason)
	}
	if retryAfter != "" {
		h.Set("Golive-Retry-After", retryAfter)
	}
	i.send(r.Reply, "", nil, h)
}

// pass publishes a request to another subject, forwarded by a revision or by none.
func (i *bareInstance) pass(r *bareRequest, subject, revision string) {
	h := nats.Header{}
	maps.Copy(h, r.Header)
	if h.Del("Golive-Forwarded"); revision != "" {
		h.Set("Golive-Forwarded", revision)
	}
	i.send(subject, r.Reply, r.Data, h)
}

// send leaves what cannot be sent to the patience of the caller.
func (i *bareInstance) send(subject, reply string, data []byte, h nats.Header) {
	if subject != "" {
		_ = i.nc.PublishMsg(&nats.Msg{Subject: subject, Reply: reply, Data: data, Header: h})
	}
}

// confirm tells that nothing is left to do for the revision, once that is so.
func (i *bareInstance) confirm() {
	state, _ := i.state()
	finished := state == "online" && i.route.Maintenance == nil || i.answering[true] == 0
	left := i.draining == 0 && i.subs[i.service] == nil
	if i.confirmed || i.leaving || !i.wanted() && !left || !finished || !i.valid() {
		return
	}
	i.confirmed = i.nc.FlushTimeout(2*time.Second) == nil && i.publishConfirmation(state) == nil
}

func (i *bareInstance) publishConfirmation(state string) error {
	data := fmt.Appendf(nil, `{"revision":%d,"state":%q,"version":%q}`, i.revision, state, i.version)
	return i.nc.Publish("golive.confirm."+i.service+"."+i.id, data)
}

func bareEncode(version string) string {
	return strings.NewReplacer(".", "_", "+", "=").Replace(version)
}

// bareSeconds writes a duration, such as "1m30s", in seconds; empty when there is none.
func bareSeconds(duration string) string {
	d, err := time.ParseDuration(duration)
	if err != nil {
		return ""
	}
	return strconv.Itoa(int(math.Ceil(d.Seconds())))
}

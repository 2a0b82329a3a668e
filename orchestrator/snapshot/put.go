package snapshot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay/bus"
)

// ErrExists says that there is a stream of that name.
var ErrExists = errors.New("there is one already: delete it first")

// metaPartial is in the metadata of a stream that is being put back: whoever finds it without
// being the one who puts it back has found what was left of one that died.
const metaPartial = "golive-put"

// Source is where a stream is put back from.
type Source struct {
	Config  json.RawMessage               // of the stream, of a [Taken]; it may have been changed
	Archive func() (io.ReadCloser, error) // gives the archive from its beginning; it is called once or twice
	Rewrite Rewrite                       // what is put back
	Clock   func() time.Time              // nil: [time.Now]
}

// Put makes the stream that the configuration names, from its archive, and checks it afterwards:
// it reads the stream back and compares the count, the last sequence and the digest with what was
// sent. Messages that expire by themselves are left out of the comparison, as the server may
// have dropped them. The stream has to be gone ([ErrExists]); what is left of a put that died is
// removed. On an error nothing is left of the stream, unless the bus is away: then the next put
// removes it. It blocks until the stream can be used, and holds some four megabytes in memory
// beside what [Rewrite.Last] needs. Nobody else may put the same stream back meanwhile: each would
// take what the other has done so far for what is left of one that died.
func Put(ctx context.Context, js bus.JetStream, s Source) (Content, error) {
	var config struct {
		Name string `json:"name"`
	}
	if err := json.Unmarshal(s.Config, &config); err != nil || config.Name == "" {
		return Content{}, fmt.Errorf("put a stream: %w: its configuration has no name", ErrDamaged)
	}
	c, err := put(ctx, js, config.Name, s)
	if err != nil {
		return c, fmt.Errorf("put stream %s: %w", config.Name, err)
	}
	return c, nil
}

func put(ctx context.Context, js bus.JetStream, name string, s Source) (Content, error) {
	rewrite, err := newRewriter(s.Rewrite, s.Archive)
	if err != nil {
		return Content{}, err
	}
	again := time.NewTicker(putPause)
	defer again.Stop()
	for began := time.Now(); ; {
		c, err := putOnce(ctx, js, name, s, rewrite)
		if !leftBehind(err) || time.Since(began) > putAgain {
			return c, err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return c, err
		}
	}
}

// A put is tried again for a while where the server still has something of an earlier one. It
// goes on with one whose sender has died for five seconds, and nobody sees the stream meanwhile.
// And it leaves the files of a stream where they are that it has deleted, while it still removes
// what it has moved aside of one of the same name (2.15.3): the next deletion moves them.
const (
	putAgain = 20 * time.Second
	putPause = 250 * time.Millisecond
)

// leftBehind reports whether a put has failed for what the server has of an earlier one.
func leftBehind(err error) bool {
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return false
	}
	return api.ErrorCode == codeExists || api.ErrorCode == codeRestoreFailed &&
		(strings.Contains(api.Description, "already in use") || strings.Contains(api.Description, "expected sequence does not match store"))
}

// putOnce makes the stream, or leaves nothing of it.
func putOnce(ctx context.Context, js bus.JetStream, name string, s Source, rewrite *rewriter) (Content, error) {
	if err := removePartial(ctx, js, name); err != nil {
		return Content{}, err
	}
	mark := uuid.NewString()
	marked, plain, err := configs(s.Config, mark)
	if err != nil {
		return Content{}, err
	}
	sent, err := send(ctx, js, name, marked, s, rewrite)
	if err == nil {
		err = js.Ask(ctx, "STREAM.UPDATE."+name, plain, nil)
	}
	if err != nil {
		return sent, errors.Join(err, remove(ctx, js, name, mark))
	}
	return sent, nil
}

// configs are the configurations of a stream while it is put back, and afterwards.
func configs(raw json.RawMessage, mark string) (marked, plain map[string]any, err error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber() // the sizes are large numbers
	if err := d.Decode(&plain); err != nil {
		return nil, nil, fmt.Errorf("%w: its configuration: %w", ErrDamaged, err)
	}
	meta := make(map[string]any)
	if there, ok := plain["metadata"].(map[string]any); ok {
		for key, value := range there {
			if key != metaPartial && !strings.HasPrefix(key, "_nats.") { // which the server writes itself
				meta[key] = value
			}
		}
	}
	plain["metadata"] = meta
	marked = maps.Clone(plain)
	withMark := maps.Clone(meta)
	withMark[metaPartial] = mark
	marked["metadata"] = withMark
	return marked, plain, nil
}

// removePartial removes what is left of a put that died, and refuses a stream that is whole.
func removePartial(ctx context.Context, js bus.JetStream, name string) error {
	s, err := js.Stream(ctx, name)
	switch {
	case notFound(err):
		return nil
	case err != nil:
		return err
	case s.CachedInfo().Config.Metadata[metaPartial] == "":
		return ErrExists
	}
	return deleteStream(ctx, js, name)
}

// removeFor is how long the bus may take to remove what is partial, also when the caller's time
// is over: longer than an election.
const removeFor = 20 * time.Second

// remove deletes a stream that is being put back with a mark; any other of that name stays.
func remove(ctx context.Context, js bus.JetStream, name, mark string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeFor)
	defer cancel()
	err := bus.AskLeader(ctx, func(ctx context.Context) error {
		s, err := js.Stream(ctx, name)
		if err != nil || s.CachedInfo().Config.Metadata[metaPartial] != mark {
			return err
		}
		return deleteStream(ctx, js, name)
	})
	if notFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("what is partial is still there, and the next put removes it: %w", err)
	}
	return nil
}

func deleteStream(ctx context.Context, js bus.JetStream, name string) error {
	if err := js.Ask(ctx, "STREAM.DELETE."+name, nil, nil); err != nil && !notFound(err) {
		return err
	}
	return nil
}

// send puts the messages back, and compares what is there then with them.
func send(ctx context.Context, js bus.JetStream, name string, config map[string]any, s Source, rewrite *rewriter) (Content, error) {
	now := time.Now
	if s.Clock != nil {
		now = s.Clock
	}
	lasts := lasting(config, now())
	var accepted struct {
		Subject string `json:"deliver_subject"`
	}
	if err := js.Ask(ctx, "STREAM.RESTORE."+name, map[string]any{"config": config, "state": State{}}, &accepted); err != nil {
		return Content{}, err
	}
	out := &sender{ctx: ctx, js: js, to: accepted.Subject, most: batchFirst}
	var sent Content
	err := reading(s.Archive, func(archive io.Reader) (err error) {
		sent, err = out.all(archive, rewrite, lasts)
		return err
	})
	if err != nil {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeFor)
		defer cancel()
		_ = out.end(ending) // the server finds out at once that it is not whole, instead of after its own patience
		return sent, err
	}
	if err := out.end(ctx); err != nil {
		return sent, err
	}
	return sent, compare(ctx, js, name, sent, lasts)
}

// Codes of the server's errors of a restore.
const (
	codeRestoreFailed = 10062
	codeExists        = 10130 // there is a stream of that name
)

// compare reads the stream back.
func compare(ctx context.Context, js bus.JetStream, name string, sent Content, lasts func(Message) bool) error {
	pr, pw := io.Pipe()
	taking := make(chan error, 1)
	go func() {
		_, err := take(ctx, js, name, false, pw)
		taking <- err
		_ = pw.CloseWithError(err) // never fails
	}()
	there, err := readAll(pr, each{}, lasts)
	_ = pr.CloseWithError(errors.New("it was not read to its end")) // never fails
	if e := <-taking; e != nil && err == nil {
		err = e
	}
	switch {
	case err != nil:
		return fmt.Errorf("read it back: %w", err)
	case there.Messages != sent.Messages || there.Digest != sent.Digest:
		return fmt.Errorf("%w: %d messages are there that are not the %d that were sent", ErrDamaged, there.Messages, sent.Messages)
	case there.State.Last < sent.State.Last:
		return fmt.Errorf("%w: it ends at sequence %d instead of %d", ErrDamaged, there.State.Last, sent.State.Last)
	}
	return nil
}

// lasting reports which messages are there for longer than a put takes.
func lasting(config map[string]any, now time.Time) func(Message) bool {
	age := time.Duration(0)
	if n, ok := config["max_age"].(json.Number); ok {
		if i, err := n.Int64(); err == nil {
			age = time.Duration(i)
		}
	}
	horizon := now.Add(putAtMost)
	return func(m Message) bool {
		if age > 0 && time.Unix(0, m.Time).Add(age).Before(horizon) {
			return false
		}
		ttl := header(m, jetstream.MsgTTLHeader)
		return ttl == "" || ttl == "never"
	}
}

// putAtMost is how long a put takes at most: what expires before is not compared.
const putAtMost = 6 * time.Hour

// A batch is what is sent before the server is waited for: it gives up when it stores one for
// longer than five seconds, and one with a slow disk that syncs each message stores few.
const (
	batchFirst = 64        // messages of the first batch
	batchMost  = 8192      // messages of any
	batchBytes = 256 << 10 // of messages in one, not compressed; a larger one is a batch of its own
	batchFast  = 150 * time.Millisecond
	batchSlow  = 600 * time.Millisecond
	putChunk   = 128 << 10 // bytes of one message to the server
	putBlock   = 64 << 10  // bytes that are compressed at once
)

// sender sends an archive to a server, in batches that it can store in time.
type sender struct {
	ctx     context.Context // of the one put
	js      bus.JetStream
	to      string
	most    int // messages of a batch
	pending int
	plain   int
	buf     bytes.Buffer
	zip     *s2.Writer
	archive writer
}

// all sends an archive as rewrite says, and tells what was sent that lasts.
func (o *sender) all(archive io.Reader, rewrite *rewriter, lasts func(Message) bool) (Content, error) {
	o.zip = s2.NewWriter(&o.buf, s2.WriterConcurrency(1), s2.WriterBlockSize(putBlock))
	o.archive = writer{w: o.zip}
	var sent Content
	d := newDigest()
	now := time.Now().UnixNano()
	read, err := readAll(archive, each{
		state: func(raw []byte) error {
			state, err := rewrite.state(raw)
			if err != nil {
				return err
			}
			return o.add(Message{Subject: stateEntry, Time: now, Body: state})
		},
		consumer: func(m Message) error {
			if rewrite.NoConsumers {
				return nil
			}
			return o.add(m)
		},
		message: func(m Message) error {
			m, wanted, err := rewrite.message(m)
			if err != nil || !wanted {
				return err
			}
			if lasts(m) {
				sent.Messages++
				sent.Bytes += uint64(len(m.Subject) + len(m.Header) + len(m.Body))
				sent.Last = m.Sequence
				d.add(m)
			}
			return o.add(m)
		},
	}, nil)
	if err != nil {
		return sent, err
	}
	sent.State, sent.Digest = read.State, d.sum()
	if err := o.archive.write(Message{}); err != nil {
		return sent, err
	}
	return sent, o.flush()
}

// add adds an entry to the batch, and sends it when it is full.
func (o *sender) add(m Message) error {
	if err := o.archive.write(m); err != nil {
		return err
	}
	o.pending++
	o.plain += len(m.Header) + len(m.Body)
	if o.pending < o.most && o.plain < batchBytes {
		return nil
	}
	return o.flush()
}

// flush sends the batch, waits until the server has taken it, and finds out how large the next
// one may be.
func (o *sender) flush() error {
	if err := o.zip.Flush(); err != nil {
		return err
	}
	began := time.Now()
	for o.buf.Len() > 0 {
		if err := o.chunk(o.buf.Next(putChunk)); err != nil {
			return err
		}
	}
	switch took := time.Since(began); {
	case took < batchFast:
		o.most = min(2*o.most, batchMost)
	case took > batchSlow:
		o.most = max(o.most/4, 1)
	}
	o.buf.Reset()
	o.pending, o.plain = 0, 0
	return nil
}

// Patience with a server that stores what it was sent.
const (
	chunkFor = 20 * time.Second // a chunk
	endFor   = time.Minute      // the end, when it makes the stream and its consumers usable
)

// chunk sends bytes of the archive.
func (o *sender) chunk(data []byte) error {
	ctx, cancel := context.WithTimeout(o.ctx, chunkFor)
	defer cancel()
	m, err := o.js.Conn().RequestWithContext(ctx, o.to, data)
	if err != nil {
		return fmt.Errorf("the server does not take it: %w", err)
	}
	return bus.Refusal(m.Data)
}

// end says that no more is sent.
func (o *sender) end(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, endFor)
	defer cancel()
	m, err := o.js.Conn().RequestWithContext(ctx, o.to, nil)
	if err != nil {
		return fmt.Errorf("the server does not end it: %w", err)
	}
	return bus.Refusal(m.Data)
}

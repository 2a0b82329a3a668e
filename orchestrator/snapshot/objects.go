package snapshot

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// Objects keeps snapshots in the object store of an environment, which the client of NATS can
// read, too (nats object ls golive-snapshots). Its own way of writing has four chunks
// under way at most, one megabyte: the client's sends as fast as the reader gives, which a server
// that syncs each write has to hold in memory.
type Objects struct {
	js     bus.JetStream
	stream jetstream.Stream
}

// objectsFormat is the format of the store; what is in it has its own.
const objectsFormat = 1

// MakeObjects opens the store, and makes it where there is none: only orchestrators may.
func MakeObjects(ctx context.Context, nc *nats.Conn, environment string, replicas int) (*Objects, error) {
	js, err := bus.NewJetStream(nc)
	if err != nil {
		return nil, err
	}
	stream, err := bus.MakeObjects(ctx, nc, protocol.SnapshotsStore, environment, objectsFormat, replicas)
	if err != nil {
		return nil, err
	}
	return &Objects{js, stream}, nil
}

// String says where it is.
func (*Objects) String() string { return "object store " + protocol.SnapshotsStore }

const (
	chunkPrefix = "$O." + protocol.SnapshotsStore + ".C."
	metaPrefix  = "$O." + protocol.SnapshotsStore + ".M."
	objectChunk = 256 << 10
)

func metaSubject(name string) string {
	return metaPrefix + base64.URLEncoding.EncodeToString([]byte(name))
}

// Write is of [Store].
func (o *Objects) Write(ctx context.Context, name string, write func(io.Writer) error) error {
	before, err := o.info(ctx, name)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	id := uuid.NewString()
	w, err := o.writer(ctx, id)
	if err != nil {
		return err
	}
	if err = write(w); err == nil {
		err = w.end()
	}
	w.close()
	if err == nil {
		err = o.tell(ctx, jetstream.ObjectInfo{
			ObjectMeta: jetstream.ObjectMeta{Name: name, Opts: &jetstream.ObjectMetaOptions{ChunkSize: uint32(w.most)}},
			Bucket:     protocol.SnapshotsStore, NUID: id, Size: w.size, Chunks: w.chunks,
			Digest: jetstream.GetObjectDigestValue(w.digest),
		})
	}
	if err != nil {
		return errors.Join(err, o.purge(ctx, id))
	}
	if before.NUID != "" {
		return o.purge(ctx, before.NUID)
	}
	return nil
}

// writer writes the chunks of an object.
func (o *Objects) writer(ctx context.Context, id string) (*objectWriter, error) {
	pipeline, err := o.js.Pipeline()
	if err != nil {
		return nil, err
	}
	return &objectWriter{
		ctx: ctx, js: o.js, stream: o.stream, pipeline: pipeline,
		subject: chunkPrefix + id, most: o.chunk(), digest: sha256.New(),
	}, nil
}

// chunk is how large a chunk is: some bytes of a message are its header's.
func (o *Objects) chunk() int {
	return int(min(objectChunk, o.js.Conn().MaxPayload()/2))
}

// tell writes down what an object is.
func (o *Objects) tell(ctx context.Context, info jetstream.ObjectInfo) error {
	data, err := json.Marshal(info)
	if err != nil {
		return err
	}
	m := nats.NewMsg(metaSubject(info.Name))
	m.Data = data
	m.Header.Set(jetstream.MsgRollup, jetstream.MsgRollupSubject)
	_, err = o.js.PublishMsg(ctx, m)
	return err
}

// purge removes the chunks of an object, also when the caller's time is over.
func (o *Objects) purge(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeFor)
	defer cancel()
	err := bus.AskLeader(ctx, func(ctx context.Context) error {
		return o.stream.Purge(ctx, jetstream.WithPurgeSubject(chunkPrefix+id))
	})
	if err != nil {
		return fmt.Errorf("what was written is still there, and the next take removes it: %w", err)
	}
	return nil
}

// info is what is known of an object.
func (o *Objects) info(ctx context.Context, name string) (info jetstream.ObjectInfo, err error) {
	m, err := o.stream.GetLastMsgForSubject(ctx, metaSubject(name))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return info, fmt.Errorf("%w: %s", ErrNotFound, name)
	}
	if err != nil {
		return info, err
	}
	if err := json.Unmarshal(m.Data, &info); err != nil {
		return info, fmt.Errorf("%w: what is known of %s: %w", ErrDamaged, name, err)
	}
	if info.Deleted {
		return info, fmt.Errorf("%w: %s", ErrNotFound, name)
	}
	return info, nil
}

// Open is of [Store].
func (o *Objects) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	info, err := o.info(ctx, name)
	if err != nil {
		return nil, err
	}
	return o.open(ctx, info, 0, 1)
}

// open reads an object, whose chunks are size bytes long, from an offset on.
func (o *Objects) open(ctx context.Context, info jetstream.ObjectInfo, offset, size int64) (io.ReadCloser, error) {
	r := &objectReader{ctx: ctx, stream: o.stream, chunks: chunkPrefix + info.NUID, left: info.Chunks}
	if r.left == 0 {
		return r, nil
	}
	from := jetstream.ConsumerConfig{
		FilterSubject: r.chunks, DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1,
	}
	if offset >= size {
		first, err := o.stream.GetMsg(ctx, 1, jetstream.WithGetMsgSubject(r.chunks))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil, fmt.Errorf("%w: chunks of %s are gone", ErrDamaged, info.Name)
		}
		if err != nil {
			return nil, err
		}
		from.DeliverPolicy, from.OptStartSeq = jetstream.DeliverByStartSequencePolicy, first.Sequence+uint64(offset/size)
	}
	var err error
	if r.consumer, err = o.stream.CreateConsumer(ctx, from); err != nil {
		return nil, err
	}
	pending := r.consumer.CachedInfo().NumPending
	if least := uint64(info.Chunks) - uint64(offset/size); pending < least {
		return nil, errors.Join(fmt.Errorf("%w: chunks of %s are gone", ErrDamaged, info.Name), r.Close())
	}
	if pending < uint64(info.Chunks) {
		r.left = uint32(pending)
	}
	before := int64(info.Chunks-r.left) * size // bytes that are left out
	if _, err := io.CopyN(io.Discard, r, offset-before); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// How an object is read.
const (
	readAtOnce = 16               // chunks
	readWait   = 20 * time.Second // for the next chunks: longer than an election
	readOnce   = 2 * time.Second
	readBeat   = 500 * time.Millisecond
)

// objectReader reads the chunks of an object. What is missing or twice is found by whoever
// compares digests.
type objectReader struct {
	ctx      context.Context // of the one read
	stream   jetstream.Stream
	consumer jetstream.Consumer
	chunks   string // subject of them
	left     uint32
	ahead    [][]byte
	buf      []byte
}

// Read is of [io.Reader].
func (r *objectReader) Read(p []byte) (int, error) {
	for len(r.buf) == 0 {
		switch {
		case len(r.ahead) > 0:
			r.buf, r.ahead = r.ahead[0], r.ahead[1:]
		case r.left == 0:
			return 0, io.EOF
		default:
			if err := r.fetch(); err != nil {
				return 0, err
			}
		}
	}
	n := copy(p, r.buf)
	r.buf = r.buf[n:]
	return n, nil
}

// fetch reads the next chunks. It finds out early that they were removed meanwhile, as of a
// manifest that was written anew.
func (r *objectReader) fetch() error {
	for began := time.Now(); ; {
		err := r.fetchOnce()
		if len(r.ahead) > 0 {
			r.left -= uint32(len(r.ahead))
			return nil
		}
		if r.ctx.Err() != nil {
			return r.ctx.Err()
		}
		if _, e := r.stream.GetLastMsgForSubject(r.ctx, r.chunks); errors.Is(e, jetstream.ErrMsgNotFound) {
			return fmt.Errorf("%w: its chunks are gone", ErrDamaged)
		}
		if time.Since(began) > readWait {
			return errors.Join(fmt.Errorf("%d chunks did not come within %s", r.left, readWait), err)
		}
	}
}

// fetchOnce waits for chunks for a moment.
func (r *objectReader) fetchOnce() error {
	ctx, cancel := context.WithTimeout(r.ctx, readOnce)
	defer cancel()
	batch, err := r.consumer.Fetch(int(min(r.left, readAtOnce)), jetstream.FetchContext(ctx), jetstream.FetchHeartbeat(readBeat))
	if err != nil {
		return err
	}
	for m := range batch.Messages() {
		r.ahead = append(r.ahead, m.Data())
	}
	return batch.Error()
}

// Close is of [io.Closer].
func (r *objectReader) Close() error {
	if r.consumer == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), removeFor)
	defer cancel()
	_ = r.stream.DeleteConsumer(ctx, r.consumer.CachedInfo().Name) // else the server does, in a while
	r.consumer = nil
	return nil
}

// objects lists what is stored, by name.
func (o *Objects) objects(ctx context.Context) (map[string]jetstream.ObjectInfo, error) {
	info, err := o.stream.Info(ctx, jetstream.WithSubjectFilter(metaPrefix+">"))
	if err != nil {
		return nil, err
	}
	all := make(map[string]jetstream.ObjectInfo)
	for subject := range info.State.Subjects {
		name, err := base64.URLEncoding.DecodeString(strings.TrimPrefix(subject, metaPrefix))
		if err != nil {
			continue // it is nobody's of ours
		}
		object, err := o.info(ctx, string(name))
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all[string(name)] = object
	}
	return all, nil
}

// Names is of [Store].
func (o *Objects) Names(ctx context.Context) ([]string, error) {
	info, err := o.stream.Info(ctx, jetstream.WithSubjectFilter(metaPrefix+">"))
	if err != nil {
		return nil, err
	}
	var names []string
	for subject := range info.State.Subjects {
		if name, err := base64.URLEncoding.DecodeString(strings.TrimPrefix(subject, metaPrefix)); err == nil {
			names = append(names, string(name))
		}
	}
	return names, nil
}

// Remove is of [Store]. Its name goes first: what is left then of one that dies is swept.
func (o *Objects) Remove(ctx context.Context, name string) error {
	info, err := o.info(ctx, name)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := o.stream.Purge(ctx, jetstream.WithPurgeSubject(metaSubject(name))); err != nil {
		return err
	}
	return o.purge(ctx, info.NUID)
}

// Sweep is of [Store].
func (o *Objects) Sweep(ctx context.Context) error {
	named, err := o.objects(ctx)
	if err != nil {
		return err
	}
	known := make(map[string]bool)
	for _, object := range named {
		known[object.NUID] = true
	}
	info, err := o.stream.Info(ctx, jetstream.WithSubjectFilter(chunkPrefix+">"))
	if err != nil {
		return err
	}
	for subject := range info.State.Subjects {
		if id := strings.TrimPrefix(subject, chunkPrefix); !known[id] {
			if err := o.purge(ctx, id); err != nil {
				return err
			}
		}
	}
	return nil
}

package bus

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// stream is a stream of which every question has a patience of its own.
type stream struct{ jetstream.Stream }

func (s stream) Info(ctx context.Context, opts ...jetstream.StreamInfoOpt) (*jetstream.StreamInfo, error) {
	return s.Stream.Info(undated{ctx}, opts...)
}

func (s stream) Purge(ctx context.Context, opts ...jetstream.StreamPurgeOpt) error {
	return s.Stream.Purge(undated{ctx}, opts...)
}

func (s stream) GetMsg(ctx context.Context, seq uint64, opts ...jetstream.GetMsgOpt) (*jetstream.RawStreamMsg, error) {
	return s.Stream.GetMsg(undated{ctx}, seq, opts...)
}

func (s stream) GetLastMsgForSubject(ctx context.Context, subject string) (*jetstream.RawStreamMsg, error) {
	return s.Stream.GetLastMsgForSubject(undated{ctx}, subject)
}

func (s stream) DeleteMsg(ctx context.Context, seq uint64) error {
	return s.Stream.DeleteMsg(undated{ctx}, seq)
}

func (s stream) SecureDeleteMsg(ctx context.Context, seq uint64) error {
	return s.Stream.SecureDeleteMsg(undated{ctx}, seq)
}

func (s stream) CreateOrUpdateConsumer(ctx context.Context, cfg jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	return s.Stream.CreateOrUpdateConsumer(undated{ctx}, cfg)
}

func (s stream) CreateConsumer(ctx context.Context, cfg jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	return s.Stream.CreateConsumer(undated{ctx}, cfg)
}

func (s stream) UpdateConsumer(ctx context.Context, cfg jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	return s.Stream.UpdateConsumer(undated{ctx}, cfg)
}

func (s stream) OrderedConsumer(ctx context.Context, cfg jetstream.OrderedConsumerConfig) (jetstream.Consumer, error) {
	return s.Stream.OrderedConsumer(undated{ctx}, cfg)
}

func (s stream) Consumer(ctx context.Context, consumer string) (jetstream.Consumer, error) {
	return s.Stream.Consumer(undated{ctx}, consumer)
}

func (s stream) DeleteConsumer(ctx context.Context, consumer string) error {
	return s.Stream.DeleteConsumer(undated{ctx}, consumer)
}

func (s stream) PauseConsumer(ctx context.Context, consumer string, pauseUntil time.Time) (*jetstream.ConsumerPauseResponse, error) {
	return s.Stream.PauseConsumer(undated{ctx}, consumer, pauseUntil)
}

func (s stream) ResumeConsumer(ctx context.Context, consumer string) (*jetstream.ConsumerPauseResponse, error) {
	return s.Stream.ResumeConsumer(undated{ctx}, consumer)
}

func (s stream) UnpinConsumer(ctx context.Context, consumer string, group string) error {
	return s.Stream.UnpinConsumer(undated{ctx}, consumer, group)
}

func (s stream) ResetConsumer(ctx context.Context, consumer string) (*jetstream.ConsumerResetResponse, error) {
	return s.Stream.ResetConsumer(undated{ctx}, consumer)
}

func (s stream) ResetConsumerToSequence(ctx context.Context, consumer string, seq uint64) (*jetstream.ConsumerResetResponse, error) {
	return s.Stream.ResetConsumerToSequence(undated{ctx}, consumer, seq)
}

func (s stream) CreateOrUpdatePushConsumer(ctx context.Context, cfg jetstream.ConsumerConfig) (jetstream.PushConsumer, error) {
	return s.Stream.CreateOrUpdatePushConsumer(undated{ctx}, cfg)
}

func (s stream) CreatePushConsumer(ctx context.Context, cfg jetstream.ConsumerConfig) (jetstream.PushConsumer, error) {
	return s.Stream.CreatePushConsumer(undated{ctx}, cfg)
}

func (s stream) UpdatePushConsumer(ctx context.Context, cfg jetstream.ConsumerConfig) (jetstream.PushConsumer, error) {
	return s.Stream.UpdatePushConsumer(undated{ctx}, cfg)
}

func (s stream) PushConsumer(ctx context.Context, consumer string) (jetstream.PushConsumer, error) {
	return s.Stream.PushConsumer(undated{ctx}, consumer)
}

func (s stream) ListConsumers(ctx context.Context) jetstream.ConsumerInfoLister {
	return s.Stream.ListConsumers(undated{ctx})
}

func (s stream) ConsumerNames(ctx context.Context) jetstream.ConsumerNameLister {
	return s.Stream.ConsumerNames(undated{ctx})
}

// keyValue is a bucket of which every question has a patience of its own, and which says
// [ErrFull] where there is no room. A watcher that it gives lasts as long as its context; to make
// it takes no longer than a question.
type keyValue struct{ jetstream.KeyValue }

func (k keyValue) Get(ctx context.Context, key string) (jetstream.KeyValueEntry, error) {
	return k.KeyValue.Get(undated{ctx}, key)
}

func (k keyValue) GetRevision(ctx context.Context, key string, revision uint64) (jetstream.KeyValueEntry, error) {
	return k.KeyValue.GetRevision(undated{ctx}, key, revision)
}

func (k keyValue) Put(ctx context.Context, key string, value []byte) (uint64, error) {
	revision, err := k.KeyValue.Put(undated{ctx}, key, value)
	return revision, stored(err)
}

func (k keyValue) PutString(ctx context.Context, key string, value string) (uint64, error) {
	revision, err := k.KeyValue.PutString(undated{ctx}, key, value)
	return revision, stored(err)
}

func (k keyValue) Create(ctx context.Context, key string, value []byte, opts ...jetstream.KVCreateOpt) (uint64, error) {
	revision, err := k.KeyValue.Create(undated{ctx}, key, value, opts...)
	return revision, stored(err)
}

func (k keyValue) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	revision, err := k.KeyValue.Update(undated{ctx}, key, value, revision)
	return revision, stored(err)
}

func (k keyValue) Delete(ctx context.Context, key string, opts ...jetstream.KVDeleteOpt) error {
	return stored(k.KeyValue.Delete(undated{ctx}, key, opts...))
}

func (k keyValue) Purge(ctx context.Context, key string, opts ...jetstream.KVDeleteOpt) error {
	return stored(k.KeyValue.Purge(undated{ctx}, key, opts...))
}

func (k keyValue) Watch(ctx context.Context, keys string, opts ...jetstream.WatchOpt) (jetstream.KeyWatcher, error) {
	return k.KeyValue.Watch(undated{ctx}, keys, opts...)
}

func (k keyValue) WatchAll(ctx context.Context, opts ...jetstream.WatchOpt) (jetstream.KeyWatcher, error) {
	return k.KeyValue.WatchAll(undated{ctx}, opts...)
}

func (k keyValue) WatchFiltered(ctx context.Context, keys []string, opts ...jetstream.WatchOpt) (jetstream.KeyWatcher, error) {
	return k.KeyValue.WatchFiltered(undated{ctx}, keys, opts...)
}

func (k keyValue) Keys(ctx context.Context, opts ...jetstream.WatchOpt) ([]string, error) {
	return k.KeyValue.Keys(undated{ctx}, opts...)
}

func (k keyValue) ListKeys(ctx context.Context, opts ...jetstream.WatchOpt) (jetstream.KeyLister, error) {
	return k.KeyValue.ListKeys(undated{ctx}, opts...)
}

func (k keyValue) ListKeysFiltered(ctx context.Context, filters ...string) (jetstream.KeyLister, error) {
	return k.KeyValue.ListKeysFiltered(undated{ctx}, filters...)
}

func (k keyValue) History(ctx context.Context, key string, opts ...jetstream.WatchOpt) ([]jetstream.KeyValueEntry, error) {
	return k.KeyValue.History(undated{ctx}, key, opts...)
}

func (k keyValue) PurgeDeletes(ctx context.Context, opts ...jetstream.KVPurgeOpt) error {
	return k.KeyValue.PurgeDeletes(undated{ctx}, opts...)
}

func (k keyValue) Status(ctx context.Context) (jetstream.KeyValueStatus, error) {
	return k.KeyValue.Status(undated{ctx})
}

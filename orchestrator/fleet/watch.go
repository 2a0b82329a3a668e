package fleet

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay/protocol"
)

// watch gives a channel that has something whenever a host's entry of the job or an agent has
// changed, as far as that is heard: after a restart of its server a watcher hears nothing
// for a while, and nobody hears of a lease that runs out.
func (f *Fleet) watch(ctx context.Context, j Job, all *sync.WaitGroup) <-chan struct{} {
	wake := make(chan struct{}, 1)
	pulse := func() {
		select {
		case wake <- struct{}{}:
		default: // one is due already
		}
	}
	all.Go(func() {
		filter := protocol.HostKey(j.Rollout, j.Step.Number, j.Step.Revert, "*")
		f.hosts.follow(ctx, filter, func(jetstream.KeyValueEntry) { pulse() }, jetstream.UpdatesOnly(), jetstream.MetaOnly())
	})
	all.Go(func() {
		known := make(map[string]string) // instances, by name
		f.agents.follow(ctx, ">", func(e jetstream.KeyValueEntry) {
			var a protocol.Agent
			_ = json.Unmarshal(e.Value(), &a) // of one that has left there is nothing
			if was, ok := known[e.Key()]; !ok || was != a.Instance {
				known[e.Key()] = a.Instance
				pulse()
			}
		})
	})
	return wake
}

// follow calls changed with every change until ctx ends.
func (b bucket) follow(ctx context.Context, filter string, changed func(jetstream.KeyValueEntry), opts ...jetstream.WatchOpt) {
	for ; ctx.Err() == nil; rest(ctx, LookEvery) {
		w, err := b.kv.Watch(ctx, filter, opts...)
		if err != nil {
			continue // everything is looked at now and then all the same
		}
		for following := true; following; {
			select {
			case e, ok := <-w.Updates():
				if following = ok; e != nil {
					changed(e)
				}
			case <-ctx.Done():
				following = false
			}
		}
		_ = w.Stop() // the connection may be gone
	}
}

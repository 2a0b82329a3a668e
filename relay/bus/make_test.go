package bus_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/relaytest"
)

func TestMain(m *testing.M) {
	relaytest.Parallel(4)
	m.Run()
}

// Who only opens makes nothing, and is told who does.
func TestOnlyAnOrchestratorMakesABucket(t *testing.T) {
	nc := relaytest.Start(t).Connect().Conn()
	for range 2 {
		_, err := bus.Open(within(t, patience), nc, bus.Claims)
		if !errors.Is(err, bus.ErrNone) || !strings.Contains(err.Error(), "golive-claims") || !strings.Contains(err.Error(), "golive serve, or golive up") {
			t.Fatalf("opening what is not there gives %v", err)
		}
	}
	_, err := bus.Make(within(t, patience), nc, bus.Claims, "one", 1)
	must(t, err)
	_, err = bus.Open(within(t, patience), nc, bus.Claims)
	must(t, err)
	c := configOf(t, nc, bus.Claims)
	if c.Metadata["golive-environment"] != "one" || c.Metadata["golive-format"] != "1" {
		t.Errorf("its metadata are %v", c.Metadata)
	}
}

// What was made by hand, or by an older version, is brought to what is needed. What golive
// does not care for stays.
func TestABucketThatIsNotAsItIsNeededIsChanged(t *testing.T) {
	nc := relaytest.Start(t).Connect().Conn()
	js, err := jetstream.New(nc)
	must(t, err)
	kv, err := js.CreateKeyValue(within(t, patience), jetstream.KeyValueConfig{
		Bucket: bus.Leases.Name, History: 3, TTL: time.Hour, MaxBytes: 1 << 20, MaxValueSize: 1000, Description: "by hand",
		Metadata: map[string]string{"owner": "somebody"},
	})
	must(t, err)
	_, err = kv.PutString(within(t, patience), "a", "1")
	must(t, err)
	_, err = bus.Open(within(t, patience), nc, bus.Leases)
	must(t, err)
	if c := configOf(t, nc, bus.Leases); c.MaxAge != time.Hour {
		t.Error("it was changed by somebody who only opened it")
	}
	for range 2 {
		kv, err := bus.Make(within(t, patience), nc, bus.Leases, "one", 1)
		must(t, err)
		if entry, err := kv.Get(within(t, patience), "a"); err != nil || string(entry.Value()) != "1" {
			t.Errorf("what was in it is %v, %v", entry, err)
		}
		c := configOf(t, nc, bus.Leases)
		if c.MaxAge != 0 || c.MaxBytes != -1 || c.MaxMsgSize != -1 || !c.AllowMsgTTL || c.AllowDirect || c.Metadata["golive-environment"] != "one" || c.Metadata["golive-format"] != "1" {
			t.Errorf("the stream is %+v", c)
		}
		if c.MaxMsgsPerSubject != 3 || c.Description != "by hand" || c.Metadata["owner"] != "somebody" {
			t.Errorf("what was set by hand is gone: %+v", c)
		}
	}
	// Where the id is not known, the one that is there remains.
	_, err = bus.Make(within(t, patience), nc, bus.Leases, "", 1)
	must(t, err)
	if c := configOf(t, nc, bus.Leases); c.Metadata["golive-environment"] != "one" {
		t.Errorf("its metadata are %v", c.Metadata)
	}
}

// A bucket gets the replicas that are asked for, and keeps those that it has.
func TestReplicasAreRaised(t *testing.T) {
	t.Parallel()
	relaytest.Long(t)
	nc := relaytest.StartCluster(t, 3).Connect().Conn()
	for _, replicas := range []struct{ asked, want int }{{1, 1}, {3, 3}, {1, 3}} {
		_, err := bus.Make(within(t, 2*patience), nc, bus.Hosts, "one", replicas.asked)
		must(t, err)
		if c := configOf(t, nc, bus.Hosts); c.Replicas != replicas.want {
			t.Errorf("it has %d replicas when %d are asked for, not %d", c.Replicas, replicas.asked, replicas.want)
		}
	}
}

func TestReplicasThatCannotBeAreRefused(t *testing.T) {
	nc := relaytest.Start(t).Connect().Conn()
	_, err := bus.Make(within(t, patience), nc, bus.Hosts, "one", 1)
	must(t, err)
	_, err = bus.Make(within(t, patience), nc, bus.Hosts, "one", 3)
	refused(t, err, "make bucket golive-hosts: it has replicas 1 instead of 3, and cannot be changed: ")
}

func TestABucketOfANewerFormatIsRefused(t *testing.T) {
	nc := relaytest.Start(t).Connect().Conn()
	newer := bus.Ledger
	newer.Format++
	_, err := bus.Make(within(t, patience), nc, newer, "one", 1)
	must(t, err)
	const why = " bucket golive-ledger: its format 2 is of a newer version of golive, this one reads up to 1: bring golive up to date"
	_, err = bus.Open(within(t, patience), nc, bus.Ledger)
	refused(t, err, "open"+why)
	_, err = bus.Make(within(t, patience), nc, bus.Ledger, "one", 1)
	refused(t, err, "make"+why)
	if c := configOf(t, nc, bus.Ledger); c.Metadata["golive-format"] != "2" {
		t.Errorf("its metadata are %v", c.Metadata)
	}
}

func TestABucketOfAnotherEnvironmentIsRefused(t *testing.T) {
	nc := relaytest.Start(t).Connect().Conn()
	_, _, err := bus.MakeRoutes(within(t, patience), nc, "one", 1)
	must(t, err)
	_, err = bus.Make(within(t, patience), nc, bus.Routes, "two", 1)
	refused(t, err, "make bucket golive-routes: it is of the environment one, and the journal of two: they do not belong together")
	if c := configOf(t, nc, bus.Routes); c.Metadata["golive-environment"] != "one" {
		t.Errorf("its metadata are %v", c.Metadata)
	}
}

func refused(t *testing.T, err error, why string) {
	t.Helper()
	if err == nil || !strings.HasPrefix(err.Error(), why) {
		t.Errorf("the error is %v, want %q", err, why)
	}
}

func configOf(t *testing.T, nc *nats.Conn, b bus.Bucket) jetstream.StreamConfig {
	t.Helper()
	js, err := jetstream.New(nc)
	must(t, err)
	stream, err := js.Stream(within(t, patience), "KV_"+b.Name)
	must(t, err)
	return stream.CachedInfo().Config
}

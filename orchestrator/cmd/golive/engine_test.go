package main

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator"
	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/orchestrator/journal"
	buckets "github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

// An orchestrator brings every bucket that it finds to what is needed, and says whose it is.
func TestAnOrchestratorChangesTheBucketsThatItFinds(t *testing.T) {
	r := relaytest.Start(t).Connect()
	js, err := jetstream.New(r.Conn())
	if err != nil {
		t.Fatal(err)
	}
	all := []buckets.Bucket{buckets.Routes, buckets.Leases, buckets.Ledger, buckets.Agents, buckets.Hosts, buckets.Claims, buckets.Checkpoints, buckets.FailedRecords}
	for _, b := range all {
		if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: b.Name, TTL: time.Hour, MaxValueSize: 100}); err != nil {
			t.Fatal(err)
		}
	}
	e, err := newEngine(t.Context(), r, orchestrator.Config{Replicas: 1}, gate.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ended, err := e.start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range all {
		stream, err := js.Stream(t.Context(), "KV_"+b.Name)
		if err != nil {
			t.Fatal(err)
		}
		c := stream.CachedInfo().Config
		if c.MaxAge != b.MaxAge || c.MaxMsgSize != -1 || c.AllowMsgTTL != b.TTL || c.AllowDirect || c.Metadata["golive-environment"] != e.journal.Environment() {
			t.Errorf("%s is %+v", b.Name, c)
		}
	}
	r.Close()
	<-ended
}

// The buckets of one environment are not those of another, whose journal it is.
func TestAnOrchestratorRefusesTheBucketsOfAnotherEnvironment(t *testing.T) {
	r := relaytest.Start(t).Connect()
	if _, err := newEngine(t.Context(), r, orchestrator.Config{Replicas: 1}, gate.Config{}); err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(r.Conn())
	if err != nil {
		t.Fatal(err)
	}
	first, err := journal.Open(t.Context(), r.Conn())
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), protocol.Stream); err != nil {
		t.Fatal(err)
	}
	_, err = newEngine(t.Context(), r, orchestrator.Config{Replicas: 1}, gate.Config{})
	if err == nil || !strings.Contains(err.Error(), "there is none, though the bucket golive-routes is that of environment "+first.Environment()) {
		t.Error("where the journal is gone, the error is", err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: protocol.Stream}); err != nil {
		t.Fatal(err)
	}
	_, err = newEngine(t.Context(), r, orchestrator.Config{Replicas: 1}, gate.Config{})
	if err == nil || !strings.HasPrefix(err.Error(), "make bucket golive-ledger: it is of the environment "+first.Environment()+", and the journal of ") {
		t.Error("the error is", err)
	}
}

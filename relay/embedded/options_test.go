package embedded

import "testing"

func TestEveryWriteIsSyncedUnlessToldOtherwise(t *testing.T) {
	for _, unsynced := range []bool{false, true} {
		s, err := Start(Config{Data: t.TempDir(), Unsynced: unsynced})
		if err != nil {
			t.Fatal(err)
		}
		if js := s.current().JetStreamConfig(); js == nil || js.SyncAlways == unsynced {
			t.Errorf("Unsynced is %t, and the server runs with %+v", unsynced, js)
		}
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	}
}

func TestWhatTheServerIsToldByDefault(t *testing.T) {
	o, err := options(Config{Data: "data"})
	if err != nil {
		t.Fatal(err)
	}
	if o.Host != "127.0.0.1" || o.Port != -1 || o.StoreDir != "data/nats" {
		t.Errorf("listens on %s:%d and stores in %s", o.Host, o.Port, o.StoreDir)
	}
	if !o.JetStream || !o.NoSigs || o.JetStreamLimits.DefaultMaxConsumers != -1 {
		t.Errorf("JetStream %t, NoSigs %t, limit of consumers %d", o.JetStream, o.NoSigs, o.JetStreamLimits.DefaultMaxConsumers)
	}
	if o.MaxPayload != DefaultMaxPayload || o.JetStreamMaxStore != DefaultMaxStore || o.JetStreamMaxMemory != DefaultMaxMemory {
		t.Errorf("limits: payload %d, store %d, memory %d", o.MaxPayload, o.JetStreamMaxStore, o.JetStreamMaxMemory)
	}
}

func TestWhatAServerOfAClusterIsTold(t *testing.T) {
	o, err := options(Config{Data: "data", Cluster: &Cluster{Name: "test", Server: "one", Listen: "127.0.0.1:7001", Routes: []string{"127.0.0.1:7001", "[::1]:7002"}}})
	if err != nil {
		t.Fatal(err)
	}
	if o.ServerName != "one" || o.Cluster.Name != "test" || o.Cluster.Host != "127.0.0.1" || o.Cluster.Port != 7001 {
		t.Errorf("server %s of cluster %s listens on %s:%d", o.ServerName, o.Cluster.Name, o.Cluster.Host, o.Cluster.Port)
	}
	if len(o.Routes) != 2 || o.Routes[1].String() != "nats-route://[::1]:7002" {
		t.Errorf("routes are %v", o.Routes)
	}
	if !o.SyncAlways || !o.NoSigs || o.JetStreamLimits.DefaultMaxConsumers != -1 {
		t.Errorf("SyncAlways %t, NoSigs %t, limit of consumers %d", o.SyncAlways, o.NoSigs, o.JetStreamLimits.DefaultMaxConsumers)
	}
}

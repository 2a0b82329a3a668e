package local

import (
	"net"
	"testing"
)

func TestBeaconOfADeadBusIsNotSeen(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if _, err := (Beacon{URL: "nats://" + l.Addr().String(), Data: "x"}).Light(folder); err != nil {
		t.Fatal(err)
	}
	if n := len(Beacons(folder)); n != 1 {
		t.Fatalf("%d beacons, want 1", n)
	}
	l.Close()
	if n := len(Beacons(folder)); n != 0 {
		t.Errorf("%d beacons, want none: its bus is gone", n)
	}
}

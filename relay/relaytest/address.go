package relaytest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// FreeAddresses gives n addresses of this machine that nobody listens on, for servers that are
// started later. Their ports are none that the operating system hands out, so that they stay free
// until then, and while their server is stopped.
func FreeAddresses(t testing.TB, n int) []string {
	t.Helper()
	addresses, err := FindAddresses(n)
	if err != nil {
		t.Fatal(err)
	}
	return addresses
}

// FindAddresses is [FreeAddresses] for those who have no test at hand.
func FindAddresses(n int) (addresses []string, err error) {
	for range 100 * n {
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.N(20_000)))
		if err != nil {
			continue // taken
		}
		defer listener.Close() // only now, lest it is given twice
		if addresses = append(addresses, listener.Addr().String()); len(addresses) == n {
			return addresses, nil
		}
	}
	return nil, fmt.Errorf("found %d free ports, want %d", len(addresses), n)
}

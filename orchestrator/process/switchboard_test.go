//go:build linux || darwin

package process_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// switchboard is where roles call the test, so that it can tell when they are ready
// and whether they live.
type switchboard struct {
	listener net.Listener
	calls    chan *call
}

// call is a role's connection, as the test sees it.
type call struct {
	net.Conn
	in   *bufio.Reader
	role string
	pid  int
}

func newSwitchboard(t *testing.T) *switchboard {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &switchboard{listener: listener, calls: make(chan *call, 10)}
	var serving sync.WaitGroup
	serving.Go(func() { s.serve(t) })
	t.Cleanup(func() {
		listener.Close()
		serving.Wait()
	})
	return s
}

// serve takes calls until the listener closes, and then hangs up.
func (s *switchboard) serve(t *testing.T) {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		c := &call{Conn: conn, in: bufio.NewReader(conn)}
		if _, err := fmt.Fscanln(c.in, &c.role, &c.pid); err != nil {
			t.Errorf("a call that does not say who is there: %v", err)
			return
		}
		s.calls <- c
	}
}

func (s *switchboard) env() string { return envLine + "=" + s.listener.Addr().String() }

// await returns the calls of these roles, in this order, once all have come.
func (s *switchboard) await(t *testing.T, roles ...string) []*call {
	t.Helper()
	got := make([]*call, len(roles))
	deadline := time.After(patience)
	for range roles {
		select {
		case c := <-s.calls:
			for i, role := range roles {
				if role == c.role {
					got[i] = c
				}
			}
		case <-deadline:
			t.Fatalf("waiting for calls of %q, have %v", roles, got)
		}
	}
	for i, c := range got {
		if c == nil {
			t.Fatalf("no call of %s", roles[i])
		}
	}
	return got
}

func (c *call) say(t *testing.T, what string) {
	t.Helper()
	if _, err := fmt.Fprintln(c, what); err != nil {
		t.Fatal(err)
	}
}

// hear returns the next line that the role says.
func (c *call) hear(t *testing.T) string {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(patience))
	var said string
	if _, err := fmt.Fscanln(c.in, &said); err != nil {
		t.Fatalf("listening to %s: %v", c.role, err)
	}
	return said
}

// isCut says whether the role's process ends, or has ended, within the limit.
func (c *call) isCut(limit time.Duration) bool {
	c.SetReadDeadline(time.Now().Add(limit))
	_, err := c.in.ReadByte()
	return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}

// mustBeGone fails the test unless the processes of all calls have ended.
func mustBeGone(t *testing.T, calls ...*call) {
	t.Helper()
	for _, c := range calls {
		if !c.isCut(5 * time.Second) {
			t.Errorf("%s (process %d) still runs", c.role, c.pid)
		}
	}
}

// mustBeEmpty fails the test unless no process of the group exists.
func mustBeEmpty(t *testing.T, group int) {
	t.Helper()
	if err := syscall.Kill(-group, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the process group %d still exists: %v", group, err)
	}
}

// poll looks again and again until it is so.
func poll(t *testing.T, what string, is func() bool) {
	t.Helper()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	deadline := time.After(patience)
	for !is() {
		select {
		case <-look.C:
		case <-deadline:
			t.Fatal(what)
		}
	}
}

// awaitChange waits until the one record in a folder is another one.
func awaitChange(t *testing.T, folder, before string) {
	t.Helper()
	poll(t, "the record stays as it was", func() bool {
		files, err := filepath.Glob(filepath.Join(folder, "*"))
		return err == nil && len(files) == 1 && files[0] != before
	})
}

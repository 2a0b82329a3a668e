package gate_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// tap leads the connection of an instance to the bus and reads along: so it is known
// which requests the instance had when it was killed. A request is recognized by its
// payload, which begins with a number behind #, and so do what passes it on and what
// answers it.
type tap struct {
	listener net.Listener
	to       string // HOST:PORT of the bus
	running  sync.WaitGroup

	mu    sync.Mutex
	taken map[int]bool // requests that came and did not go on
}

func newTap(url string) (*tap, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	t := &tap{listener: listener, to: strings.TrimPrefix(url, "nats://"), taken: make(map[int]bool)}
	t.running.Go(t.accept)
	return t, nil
}

func (t *tap) url() string { return "nats://" + t.listener.Addr().String() }

// has reports whether a request came to the instance and did not go on from there.
func (t *tap) has(request int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.taken[request]
}

// remove ends the tap, once the instance has ended.
func (t *tap) remove() {
	_ = t.listener.Close()
	t.running.Wait()
}

func (t *tap) accept() {
	for {
		instance, err := t.listener.Accept()
		if err != nil {
			return
		}
		bus, err := net.Dial("tcp", t.to)
		if err != nil {
			_ = instance.Close() // it tries again
			continue
		}
		t.running.Go(func() {
			// When the instance is gone, the bus is told that nothing more will come, and
			// then sends what it has for it, and ends: all that was taken is known.
			t.carry(bus, instance, []string{"PUB", "HPUB"}, func(request int) { delete(t.taken, request) })
			_ = bus.(*net.TCPConn).CloseWrite()
		})
		t.running.Go(func() {
			t.carry(instance, bus, []string{"MSG", "HMSG"}, func(request int) { t.taken[request] = true })
			_, _ = instance.Close(), bus.Close()
		})
	}
}

// carry copies until from ends, and calls see with each request in the given messages
// before it is passed on.
func (t *tap) carry(to io.Writer, from io.Reader, messages []string, see func(request int)) {
	r, w := bufio.NewReaderSize(from, 64<<10), bufio.NewWriterSize(to, 64<<10)
	defer func() { _ = w.Flush() }() // what was seen is passed on, also when from ends within a message
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		f := strings.Fields(line)
		var body []byte
		if len(f) > 0 && contains(messages, f[0]) {
			size, _ := strconv.Atoi(f[len(f)-1])
			body = make([]byte, size+2)
			if _, err := io.ReadFull(r, body); err != nil {
				return
			}
			payload := body
			if strings.HasPrefix(f[0], "H") {
				headers, _ := strconv.Atoi(f[len(f)-2])
				payload = body[headers:]
			}
			if request, ok := requestIn(payload); ok {
				t.mu.Lock()
				see(request)
				t.mu.Unlock()
			}
		}
		_, _ = w.WriteString(line) // the other end may be gone: then all the rest is read only
		_, _ = w.Write(body)
		if r.Buffered() == 0 {
			_ = w.Flush()
		}
	}
}

// TestATapPassesOnWhatItHasSeen ends an instance within a message: what it has sent whole
// before reaches the bus, or the judge would look for it in vain.
func TestATapPassesOnWhatItHasSeen(t *testing.T) {
	var passed bytes.Buffer
	var seen []int
	sent := "PUB todos.tell 2\r\n#1\r\nPUB todos.tell 2\r\n#2\r\n"
	new(tap).carry(&passed, strings.NewReader(sent+"PUB todos.tell 2\r\n#"), []string{"PUB"}, func(n int) { seen = append(seen, n) })
	if passed.String() != sent || !slices.Equal(seen, []int{1, 2}) {
		t.Errorf("it has seen %d and passed on %q, want 1 and 2, and %q", seen, &passed, sent)
	}
}

func contains(words []string, word string) bool {
	for _, w := range words {
		if strings.EqualFold(w, word) {
			return true
		}
	}
	return false
}

// requestIn reads the number of a request.
func requestIn(payload []byte) (int, bool) {
	payload, marked := bytes.CutPrefix(bytes.TrimSpace(payload), []byte("#"))
	number, _, _ := bytes.Cut(payload, []byte(" "))
	n, err := strconv.Atoi(string(number))
	return n, marked && err == nil
}

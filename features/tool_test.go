package features

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	supervised "github.com/golive-dev/golive/relay/bus"
)

// toolCall is how a program was called that a step of a release names.
type toolCall struct{ name, word, host string }

// playTool is a program that a step of a release names: it does what the board says, which
// counts the call.
func playTool(name, word string) int {
	host := os.Getenv("GOLIVE_HOST")
	line, err := net.Dial("tcp", os.Getenv(envBoard))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 4
	}
	go func() { // ends with the process
		_, _ = io.Copy(io.Discard, supervised.Supervisor()) // it ends when the agent is gone
		os.Exit(5)
	}()
	var o order
	in := json.NewDecoder(bufio.NewReader(line))
	if err = json.NewEncoder(line).Encode(hello{Tool: name, Word: word, Host: host}); err == nil {
		err = in.Decode(&o)
	}
	if o.Print != "" {
		fmt.Println(o.Print)
	}
	if err == nil && o.Wait {
		err = in.Decode(&o)
	}
	switch {
	case err != nil:
		return 4
	case o.Do == "fail":
		fmt.Println(o.Text)
		return 1
	case word == "status" && o.Do != "is done":
		return 3
	}
	return 0
}

// instructTool counts the call of a program and tells it what to do, and to go on when it is
// to wait for that.
func (b *board) instructTool(h hello, line net.Conn) {
	call := toolCall{h.Tool, h.Word, h.Host}
	called := strings.TrimSpace(h.Tool + " " + h.Word)
	var o order
	b.change(func() {
		b.calls = append(b.calls, call)
		b.at[h.Tool]++
		b.most[h.Tool] = max(b.most[h.Tool], b.at[h.Tool])
		for _, key := range []string{toolKey(called, h.Host), called} {
			if all := b.orders[key]; len(all) > 0 {
				o, b.orders[key] = all[0], all[min(1, len(all)-1):]
				break
			}
		}
	})
	defer b.change(func() { b.at[h.Tool]-- })
	gone := make(chan struct{})
	b.serving.Go(func() {
		defer close(gone)
		_, _ = line.Read(make([]byte, 1)) // it says nothing more
	})
	out := json.NewEncoder(line)
	_ = out.Encode(o) // who has gone needs no answer
	if o.Wait && b.awaitFree(h, gone) {
		_ = out.Encode(o)
	}
	<-gone
}

// awaitFree blocks until a program may go on; false when it has gone before.
func (b *board) awaitFree(h hello, gone <-chan struct{}) bool {
	for {
		b.mu.Lock()
		free, changed := b.free[h.Tool] || b.free[toolKey(h.Tool, h.Host)], b.changed
		b.mu.Unlock()
		if free {
			return true
		}
		select {
		case <-changed:
		case <-gone:
			return false
		}
	}
}

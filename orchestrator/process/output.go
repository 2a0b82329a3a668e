//go:build linux || darwin

package process

import (
	"bufio"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// MaxLine is the longest line that Output is called with, in bytes. A longer one
// is cut after every MaxLine bytes, wherever that is in a character.
const MaxLine = 64 << 10

// TailLines is how many of the last lines of output an [ExitError] holds.
const TailLines = 20

// quietTime is how long nothing may come behind the beginning of a line before that is
// handed out: whoever asks a question waits for an answer behind it.
const quietTime = time.Second

// errQuiet says that nothing has come behind the beginning of a line for a while.
var errQuiet = errors.New("the line goes on later, if at all")

// eachLine calls line with each line of r, and with what is left when reading ends
// for whatever reason. On [errQuiet] it hands out the beginning of a line, and reads on.
func eachLine(r io.Reader, line func(string)) {
	in := bufio.NewReaderSize(r, MaxLine)
	cut := false // what comes next is the rest of a line
	for {
		text, err := in.ReadSlice('\n')
		ended := err == nil
		if ended {
			text = text[:len(text)-1]
		}
		if len(text) > 0 || ended && !cut {
			line(string(text))
		}
		if cut = errors.Is(err, bufio.ErrBufferFull) || errors.Is(err, errQuiet); !ended && !cut {
			return
		}
	}
}

// tail keeps the last lines.
type tail []string

func (t *tail) add(line string) {
	if len(*t) == TailLines {
		*t = (*t)[1:]
	}
	*t = append(*t, line)
}

// pipe is the end of a pipe where one reads. When its deadline has passed, it still
// gives what the pipe holds, so that who reads slowly loses nothing, and then ends
// even if others have it open and go on writing. Behind the beginning of a line it gives
// [errQuiet], once, when nothing has come for a while. Only cut may be called meanwhile.
type pipe struct {
	file    *os.File
	rest    io.Reader // what the pipe held when the deadline was noticed; nil until then
	open    bool      // what was read last is the beginning of a line
	limited bool      // the deadline is only that of a quiet time

	mu    sync.Mutex
	isCut bool
}

// cut lets the deadline pass.
func (p *pipe) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.isCut = true
	_ = p.file.SetReadDeadline(time.Now()) // an error means that it is closed, for all was read
}

// limit bounds the next read to a quiet time behind the beginning of a line, and only then.
func (p *pipe) limit() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isCut || !p.open && !p.limited {
		return nil
	}
	var until time.Time
	if p.limited = p.open; p.open {
		until = time.Now().Add(quietTime)
	}
	return p.file.SetReadDeadline(until)
}

// quiet reports whether the deadline that has passed was only that of a quiet time.
func (p *pipe) quiet() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.limited && !p.isCut
}

func (p *pipe) Read(b []byte) (int, error) {
	if p.rest != nil {
		return p.rest.Read(b)
	}
	if err := p.limit(); err != nil {
		return 0, err
	}
	n, err := p.file.Read(b)
	if n > 0 {
		p.open = b[n-1] != '\n'
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return n, err
	}
	if p.quiet() {
		p.open = false
		return 0, errQuiet
	}
	held, err := p.held()
	if err != nil {
		return 0, err
	}
	if err := p.file.SetReadDeadline(time.Time{}); err != nil {
		return 0, err
	}
	p.rest = io.LimitReader(p.file, int64(held))
	return p.rest.Read(b)
}

// held is how many bytes can be read now without waiting.
func (p *pipe) held() (n int, err error) {
	conn, err := p.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	errControl := conn.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), bytesHeld) })
	return n, errors.Join(errControl, err)
}

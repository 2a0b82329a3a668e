//go:build linux || darwin

package process

import (
	"bufio"
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// MaxLine is the longest line that Output is called with, in bytes. A longer one
// is cut after every MaxLine bytes, wherever that is in a character.
const MaxLine = 64 << 10

// TailLines is how many of the last lines of output an [ExitError] holds.
const TailLines = 20

// eachLine calls line with each line of r, and with what is left when reading ends
// for whatever reason.
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
		if cut = errors.Is(err, bufio.ErrBufferFull); !ended && !cut {
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
// even if others have it open and go on writing.
type pipe struct {
	file *os.File
	rest io.Reader // what the pipe held when the deadline was noticed; nil until then
}

func (p *pipe) Read(b []byte) (int, error) {
	if p.rest != nil {
		return p.rest.Read(b)
	}
	n, err := p.file.Read(b)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return n, err
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

package protocol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Sizes and times of a stream; README.md, "Streams", has the whole of it.
const (
	// StreamWindow is how many bytes of batches a receiver lets be under way.
	StreamWindow = 1 << 20

	// StreamBatch is how many bytes a sender puts into one batch. One record that is
	// larger travels alone.
	StreamBatch = 32 << 10

	// StreamBatchCost is what a batch counts at least against the window, so that few
	// are under way also when they are small.
	StreamBatchCost = 8 << 10

	// StreamHeaderRoom is how much of NATS's payload limit is kept for a batch's headers.
	StreamHeaderRoom = 128

	// StreamQuiet is how long a record waits at most for others to fill its batch.
	StreamQuiet = 5 * time.Millisecond

	// StreamHeartbeat is how often both sides say that they are there.
	StreamHeartbeat = time.Second

	// StreamHeartbeatsMissed is how many of these in a row may fail to come before the other
	// side is taken for dead.
	StreamHeartbeatsMissed = 15
)

// How a stream has ended.
const (
	StreamDone   = "done"   // with its last record
	StreamFailed = "failed" // with an error of its handler
	StreamLost   = "lost"   // before its end, though nothing is wrong with it: it can be taken up again
)

// StreamCancel is what a receiver says that wants no more.
const StreamCancel = "cancel"

// errBatch says that a batch cannot be read.
var errBatch = errors.New("the batch cannot be read")

// StreamCost is what a batch of so many bytes counts against the window.
func StreamCost(size int) int64 { return int64(max(size, StreamBatchCost)) }

// ValidateCursor refuses a cursor that would come back as another: it comes in a header,
// which is one line, without spaces around it.
func ValidateCursor(cursor string) error {
	for i := range len(cursor) {
		switch c := cursor[i]; {
		case c == '\n', c == '\r', (c == ' ' || c == '\t') && (i == 0 || i == len(cursor)-1):
			return fmt.Errorf("the cursor %.100q has a line break in it, or a space around it: encode it, as in base64", cursor)
		}
	}
	return nil
}

// RecordSize is how many bytes a record takes in its batch.
func RecordSize(cursor string, data []byte) int {
	return uvarintSize(len(cursor)) + len(cursor) + uvarintSize(len(data)) + len(data)
}

// AppendRecord puts a record behind those of a batch.
func AppendRecord(batch []byte, cursor string, data []byte) []byte {
	batch = binary.AppendUvarint(batch, uint64(len(cursor)))
	batch = append(batch, cursor...)
	batch = binary.AppendUvarint(batch, uint64(len(data)))
	return append(batch, data...)
}

// CutRecord takes the first record off a batch, without copying.
func CutRecord(batch []byte) (cursor, data, rest []byte, err error) {
	if cursor, rest, err = cutField(batch); err != nil {
		return nil, nil, nil, err
	}
	if data, rest, err = cutField(rest); err != nil {
		return nil, nil, nil, err
	}
	return cursor, data, rest, nil
}

// cutField cuts off what stands behind its length. Nothing can be appended to it in place.
func cutField(b []byte) (field, rest []byte, err error) {
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return nil, nil, errBatch
	}
	end := n + int(size)
	return b[n:end:end], b[end:], nil
}

func uvarintSize(n int) int {
	size := 1
	for ; n >= 0x80; n >>= 7 {
		size++
	}
	return size
}

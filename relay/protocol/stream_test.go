package protocol_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/golive-dev/golive/relay/protocol"
)

func TestRecordsOfABatchAreReadAgain(t *testing.T) {
	type record struct{ cursor, data string }
	records := []record{{"", ""}, {"1", "a"}, {strings.Repeat("c", 127), strings.Repeat("d", 128)}, {strings.Repeat("e", 20_000), "f"}, {"", "g"}}
	var batch []byte
	size := 0
	for _, r := range records {
		batch = protocol.AppendRecord(batch, r.cursor, []byte(r.data))
		if size += protocol.RecordSize(r.cursor, []byte(r.data)); size != len(batch) {
			t.Errorf("size %d, want %d", size, len(batch))
		}
	}
	var got []record
	for len(batch) > 0 {
		cursor, data, rest, err := protocol.CutRecord(batch)
		if err != nil {
			t.Fatal(err)
		}
		got, batch = append(got, record{string(cursor), string(data)}), rest
	}
	if !slices.Equal(got, records) {
		t.Errorf("got %.100v", got)
	}
}

func TestWhatIsNoBatchIsRefused(t *testing.T) {
	for _, batch := range []string{"", "\x01", "\x00", "\x01a", "\x01a\x02b", "\x00\xff", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xffa", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"} {
		if cursor, data, rest, err := protocol.CutRecord([]byte(batch)); err == nil {
			t.Errorf("%q was read as %q %q, then %q", batch, cursor, data, rest)
		}
	}
}

func TestASmallBatchCountsForMore(t *testing.T) {
	if a, b := protocol.StreamCost(1), protocol.StreamCost(10_000); a != protocol.StreamBatchCost || b != 10_000 {
		t.Errorf("%d and %d", a, b)
	}
}

func FuzzCutRecord(f *testing.F) {
	f.Add(protocol.AppendRecord(protocol.AppendRecord(nil, "1", []byte("a")), "", nil))
	f.Add([]byte("\x01a\x02b"))
	f.Fuzz(func(t *testing.T, batch []byte) {
		read := 0
		var again []byte
		for rest := batch; len(rest) > 0; {
			cursor, data, next, err := protocol.CutRecord(rest)
			if err != nil {
				return
			}
			if len(next) >= len(rest) {
				t.Fatal("no progress")
			}
			read += protocol.RecordSize(string(cursor), data)
			again, rest = protocol.AppendRecord(again, string(cursor), data), next
		}
		// A length may be written with more bytes than it needs, never with fewer.
		if read > len(batch) || read == len(batch) && !bytes.Equal(again, batch) {
			t.Errorf("%q was read as %q", batch, again)
		}
	})
}

package snapshot

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
)

// digest is what tells the messages of a stream from others: all that a reader sees of them.
type digest struct {
	h    hash.Hash
	head []byte
}

func newDigest() *digest { return &digest{h: sha256.New()} }

// add adds a message; a length before each part keeps them apart.
func (d *digest) add(m Message) {
	d.head = binary.BigEndian.AppendUint64(d.head[:0], m.Sequence)
	d.head = binary.BigEndian.AppendUint64(d.head, uint64(m.Time))
	d.head = binary.AppendUvarint(d.head, uint64(len(m.Subject)))
	d.head = binary.AppendUvarint(d.head, uint64(len(m.Header)))
	d.head = binary.AppendUvarint(d.head, uint64(len(m.Body)))
	d.head = append(d.head, m.Subject...)
	d.h.Write(d.head) // writing to a hash never fails
	d.h.Write(m.Header)
	d.h.Write(m.Body)
}

func (d *digest) sum() string { return hex.EncodeToString(d.h.Sum(nil)) }

package sdk

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
)

// identity makes an ID of texts: another one whenever a text, their number or their order
// is another.
type identity struct {
	hash   hash.Hash
	buffer []byte
}

// identityBuffer is how many bytes are gathered before they are hashed.
const identityBuffer = 4096

func newHash(texts ...string) *identity {
	h := &identity{hash: sha256.New(), buffer: make([]byte, 0, identityBuffer)}
	for _, text := range texts {
		h.write(text)
	}
	return h
}

func (h *identity) write(text string) {
	if len(h.buffer) > 0 && len(h.buffer)+binary.MaxVarintLen64+len(text) > identityBuffer {
		h.flush()
	}
	h.buffer = binary.AppendUvarint(h.buffer, uint64(len(text)))
	h.buffer = append(h.buffer, text...)
}

func (h *identity) flush() {
	_, _ = h.hash.Write(h.buffer) // never fails
	h.buffer = h.buffer[:0]
}

func (h *identity) sum() string {
	h.flush()
	return hex.EncodeToString(h.hash.Sum(nil)[:16])
}

func identify(texts ...string) string { return newHash(texts...).sum() }

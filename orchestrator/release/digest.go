package release

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// Digest identifies the release that the manifest describes, as SHA-256 in hex. It
// does not depend on commands and folders, which belong to the host, nor on the
// order of the file. A key that was added later counts only where it does not have
// its default, so that the digests of older manifests stay what they were. The commands
// of steps do count, as those who run them must agree on what they are; where the bus of
// an environment is does not, but all else that it says.
func (m *Manifest) Digest() string {
	text, _ := json.Marshal(digestManifest(m)) // text, numbers and lists always have a JSON form
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// unless is a value, and zero for the default.
func unless[T comparable](v, byDefault T) T {
	if v == byDefault {
		return *new(T)
	}
	return v
}

package protocol

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
)

// RouteSubject is where orchestrators tell at once that they have written a revision of the route
// of a service. What comes there is a hint: whoever hears it reads the route, unless the hint
// proves that it comes from whoever has written the route before, see [HintHolds].
func RouteSubject(service string) string { return "golive.route." + service }

// NewHint makes a proof for the hint of the revision that comes next, and what the route names
// before that, in Next. The proof is a secret until then.
func NewHint() (proof, next string) {
	proof = rand.Text()
	return proof, hintOf(proof)
}

// HintHolds reports whether the proof of a hint is the one that the route before has named. Only
// the orchestrator that has written that route knows it, so that nobody else can tell a route by a
// hint alone.
func HintHolds(before Route, proof string) bool { return proof != "" && hintOf(proof) == before.Next }

func hintOf(proof string) string {
	sum := sha256.Sum256([]byte(proof))
	return hex.EncodeToString(sum[:])
}

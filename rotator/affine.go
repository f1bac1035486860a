package rotator

import (
	"crypto/sha256"
	"encoding/binary"
)

// WithAffinity makes the pool heed the affinity of requests. It costs about 40 bytes a key.
func WithAffinity() Option {
	return func(p *Pool) { p.affine = true }
}

// affinityDomain separates what goes into orders from every other SHA-256 of a key.
const affinityDomain = "keycycler key affinity v1\x00"

// affinitySecret returns what of the key at s goes into orders. Nobody who does not have
// the key can tell it.
func (p *Pool) affinitySecret(s Slot) uint64 {
	sum := sha256.Sum256([]byte(affinityDomain + p.keys[s].Secret()))
	return binary.BigEndian.Uint64(sum[:])
}

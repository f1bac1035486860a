package draw

import (
	"math/rand/v2"
	"sync/atomic"
)

// Use is how a key is used, by whichever pools: draws read it, and their owner writes it.
type Use struct {
	LastUsed atomic.Int64 // when, plus one; 0: never
	InFlight atomic.Int32 // requests under way

	// Of little that is left of the key's own allowance: for which model (see ModelMark), and
	// until when. Where slots take turns, others come before it.
	Model  atomic.Uint32
	Little atomic.Int64
}

// ModelMark is what a model is known by here, 0 for none. Two may have the same one by chance.
func ModelMark(model string) uint32 { return uint32(AffinityOf(model)) }

// Config is what a draw is made of.
type Config struct {
	Uses   []*Use            // slot → its key's. It is kept, and filled in before the first Choose
	Ranks  []Rank            // slot → its rank; nil: all are alike
	Lots   []uint16          // slot → its lot; nil: all are of lot 0
	Secret func(Slot) uint64 // what of its key goes into the orders of affinities; nil: requests have none
	Turns  bool              // ready slots take turns, in a random order at first
	First  bool              // requests go to one slot until that is not ready, then to the next; Turns does not count
	Rand   *rand.Rand        // for that order; nil: the runtime's generator

	// Claim tells whether the request may explore the slot, since no other one does, and
	// keeps others from it.
	Claim func(Slot) bool
}

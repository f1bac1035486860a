package rotator

import "github.com/keycycler/keycycler/rotator/draw"

// What requests want and what they get is draw's, and goes by its name here as well, so
// that who has to do with pools needs this package alone.
type (
	// Slot is a key's place in its pool: 0 to Len()-1, the order in which the keys were
	// given. It stays the same for as long as the pool lives.
	Slot = draw.Slot

	// Reason says why a key cools.
	Reason = draw.Reason

	// Rank says how keys are preferred to others.
	Rank = draw.Rank

	// Lots is a set of lots: the keys of a lot can serve the same requests.
	Lots = draw.Lots

	// Affinity stands for a value whose requests prefer the same key.
	Affinity = draw.Affinity

	// Session names a conversation of a pool's clients.
	Session = draw.Session

	// Want says which key a request wants.
	Want = draw.Want

	// Drawn is a key that a request gets.
	Drawn = draw.Drawn

	// Census is a pool at one instant.
	Census = draw.Census
)

// The bounds of these.
const (
	MaxReasons = draw.MaxReasons // Reasons are below it
	MaxRank    = draw.MaxRank    // the highest tier, and the largest weight
	MaxRanks   = draw.MaxRanks   // how many different combinations of a rank and a lot the keys of a pool may have
)

// AffinityOf returns the affinity of a value, none for an empty one. Values that have
// the same one by chance, or because a client has made them so, are as one value.
func AffinityOf(value string) Affinity { return draw.AffinityOf(value) }

// forever is the deadline of a key whose limit is that of requests under way: it is
// ready when one of them ends. No cooldown lasts so long.
const forever = draw.Forever

package keycycler

import (
	"slices"
	"sync"
	"time"

	"github.com/keycycler/keycycler/rotator"
)

// keyIndex is a pool whose keys can be found by their ids. It is immutable but for what
// the pool learns.
type keyIndex struct {
	pool   *rotator.Pool
	byID   func() []place // all keys, ordered by id: made when it is asked for
	digest rotator.ID     // of all ids, in any order
}

func newKeyIndex(pool *rotator.Pool) *keyIndex {
	x := &keyIndex{pool: pool, byID: sync.OnceValue(func() []place { return sortedPlaces(pool) })}
	for s := range pool.Len() {
		for i, b := range pool.Key(rotator.Slot(s)).ID() {
			x.digest[i] ^= b
		}
	}
	return x
}

// find returns where the key is.
func (x *keyIndex) find(id rotator.ID) (place, bool) {
	all := x.byID()
	i, ok := slices.BinarySearchFunc(all, id, func(p place, id rotator.ID) int { return compareIDs(p.id(), id) })
	if !ok {
		return place{}, false
	}
	return all[i], true
}

// sameKeys tells whether both have the same keys, in any order. Ids are a hash's:
// other keys have another digest.
func (x *keyIndex) sameKeys(other *keyIndex) bool {
	return x.pool.Len() == other.pool.Len() && x.digest == other.digest
}

// shares tells whether both have a key.
func (x *keyIndex) shares(other *keyIndex) bool {
	if x.sameKeys(other) {
		return true
	}
	for s := range rotator.Slot(other.pool.Len()) {
		if _, ok := x.find(other.pool.Key(s).ID()); ok {
			return true
		}
	}
	return false
}

func sortedPlaces(pool *rotator.Pool) []place {
	places := make([]place, pool.Len())
	for i := range places {
		places[i] = place{pool, rotator.Slot(i)}
	}
	slices.SortFunc(places, byID)
	return places
}

// place is where a key is to be found.
type place struct {
	pool *rotator.Pool
	slot rotator.Slot
}

func (p place) id() rotator.ID { return p.pool.Key(p.slot).ID() }

func (p place) status(now time.Time) rotator.Status { return p.pool.Status(now, p.slot) }

// byID orders places by their keys' ids.
func byID(a, b place) int { return compareIDs(a.id(), b.id()) }

func compareIDs(a, b rotator.ID) int { return slices.Compare(a[:], b[:]) }

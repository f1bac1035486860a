package keycycler

import (
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/keycycler/keycycler/rotator"
)

// roster is the set of keys of one moment, ready for requests: a request keeps the
// one that it began with. It is immutable but for what the pool learns.
type roster struct {
	pool     *rotator.Pool
	injector *injector
	byID     func() []place // all keys, ordered by id: made when it is asked for
	digest   rotator.ID     // of all ids, in any order

	groups   []string         // slot → its group's name, "" for none; nil: there are no groups
	ranks    []rotator.Rank   // slot → how it is preferred; nil: all are alike
	siblings [][]rotator.Slot // slot → all slots of its group; nil for none
}

// find returns where the key is.
func (r *roster) find(id rotator.ID) (place, bool) {
	all := r.byID()
	i, ok := slices.BinarySearchFunc(all, id, func(p place, id rotator.ID) int { return compareIDs(p.id(), id) })
	if !ok {
		return place{}, false
	}
	return all[i], true
}

// family returns the slots that share the slot's limits, itself among them.
func (r *roster) family(s rotator.Slot) []rotator.Slot {
	if r.siblings == nil || r.siblings[s] == nil {
		return []rotator.Slot{s}
	}
	return r.siblings[s]
}

// sameKeys tells whether both have the same keys, in any order. Ids are a hash's:
// other keys have another digest.
func (r *roster) sameKeys(other *roster) bool {
	return r.pool.Len() == other.pool.Len() && r.digest == other.digest
}

// shares tells whether both have a key.
func (r *roster) shares(other *roster) bool {
	if r.sameKeys(other) {
		return true
	}
	for s := range rotator.Slot(other.pool.Len()) {
		if _, ok := r.find(other.pool.Key(s).ID()); ok {
			return true
		}
	}
	return false
}

// newRoster returns a roster of the keys. What is known about them it finds in the
// state. Close its pool when requests go elsewhere.
func (h *Handler) newRoster(set *keySet) (*roster, error) {
	keys := set.keys
	options := []rotator.Option{rotator.WithJournal(h.backend.Journal()), rotator.WithWake(h.room.wake), rotator.WithRanks(set.ranks)}
	if h.Select.hashes() {
		options = append(options, rotator.WithAffinity())
	}
	if h.Limit != nil {
		options = append(options, h.Limit.option())
	}
	pool, err := rotator.NewPool(keys, h.backend.State(), time.Now(), options...)
	if err != nil {
		return nil, err
	}
	r := &roster{
		pool: pool, injector: newInjector(h.provider, h.Auth, h.KeepHeaders, keys),
		groups: set.groups, ranks: set.ranks, siblings: siblings(set.groups),
	}
	for _, k := range keys {
		for i, b := range k.ID() {
			r.digest[i] ^= b
		}
	}
	r.byID = sync.OnceValue(func() []place { return sortedPlaces(pool) })
	return r, nil
}

// siblings returns for each slot all slots of its group, or nil where there is no group.
func siblings(groups []string) [][]rotator.Slot {
	if groups == nil {
		return nil
	}
	members := make(map[string][]rotator.Slot)
	for i, group := range groups {
		if group != "" {
			members[group] = append(members[group], rotator.Slot(i))
		}
	}
	all := make([][]rotator.Slot, len(groups))
	for i, group := range groups {
		all[i] = members[group]
	}
	return all
}

func sortedPlaces(pool *rotator.Pool) []place {
	places := make([]place, pool.Len())
	for i := range places {
		places[i] = place{pool, rotator.Slot(i)}
	}
	slices.SortFunc(places, byID)
	return places
}

// reloadKeys reads the keys again and, if they are others, sends new requests to
// them. Requests under way stay with the keys they have; cooldowns stay where they
// are. A set of keys that is bad changes nothing.
func (h *Handler) reloadKeys() error {
	set, err := h.loadKeys()
	if err != nil {
		return err
	}
	old := h.roster.Load()
	added, removed := compare(old.pool, set.keys)
	if added == 0 && removed == 0 && slices.Equal(old.groups, set.groups) && slices.Equal(old.ranks, set.ranks) {
		return nil
	}
	next, err := h.newRoster(set)
	if err != nil {
		return err
	}
	h.roster.Store(next)
	h.room.wake()
	old.pool.Close(time.Now())
	h.logger.Info("keys have changed", zap.Int("keys", len(set.keys)), zap.Int("added", added), zap.Int("removed", removed))
	return nil
}

// compare counts what keys has that the pool has not, and the reverse.
func compare(pool *rotator.Pool, keys []rotator.Key) (added, removed int) {
	old := make(map[rotator.ID]bool, pool.Len())
	for s := range pool.Len() {
		old[pool.Key(rotator.Slot(s)).ID()] = true
	}
	for _, k := range keys {
		if old[k.ID()] {
			delete(old, k.ID())
		} else {
			added++
		}
	}
	return added, len(old)
}

// Package roster is the keys of one moment, ready for requests: how each is sent, where it
// works, which models it serves there, who it is related to, and what people call it.
//
// It knows nothing of requests under way. What a key has because of where it stands in the
// config goes here; what becomes of it is rotator's.
package roster

import (
	"slices"
	"time"

	"github.com/keycycler/keycycler/internal/credential"
	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/provider"
	"github.com/keycycler/keycycler/internal/upstream"
	"github.com/keycycler/keycycler/rotator"
)

// Roster is the set of keys of one moment, ready for requests: a request keeps the
// one that it began with. It is immutable but for what the pool learns, and safe for
// concurrent use.
type Roster struct {
	*observe.Index
	Injector  *credential.Injector
	Lots      *Lots    // of keys that can serve the same
	Addresses []string // lot → where its keys work, "" for unknown; nil: there are not two

	groups   []string       // slot → its group's name, "" for none; nil: there are no groups
	ranks    []rotator.Rank // slot → how it is preferred; nil: all are as rank
	rank     rotator.Rank
	siblings [][]rotator.Slot          // slot → all slots of its group; nil for none
	asks     func(rotator.Slot) uint32 // how the upstream is asked with the slot's key
	places   []*keyset.Place           // slot → where its key works; nil: nothing is said of any
	ways     []*upstream.Attempt       // slot → what its attempts are told of that; nil: nothing
	names    []string                  // slot → its key's name, "" for none; nil: none has one
	origins  keyset.Origins            // slot → where its key stands
}

// Family returns the slots that share the slot's limits, itself among them.
func (r *Roster) Family(s rotator.Slot) []rotator.Slot {
	if r.siblings == nil || r.siblings[s] == nil {
		return []rotator.Slot{s}
	}
	return r.siblings[s]
}

// Config is how keys become a roster.
type Config struct {
	Provider    *provider.Preset
	Auth        *provider.Auth   // how a key travels; nil: as the provider says
	KeepHeaders []string         // account headers of clients that pass
	State       *rotator.State   // what is known of keys
	Options     []rotator.Option // of the pool
}

// New returns a roster of the keys. What is known about them it finds in the state. Close
// its pool when requests go elsewhere.
func New(set *keyset.Set, c Config) (*Roster, error) {
	lots, err := newLots(set.Places)
	if err != nil {
		return nil, err
	}
	asks := c.asks(lots)
	options := slices.Concat(c.Options, []rotator.Option{rotator.WithRanks(set.Ranks), rotator.WithLots(lots.of), rotator.WithWays(asks, Unfit...)})
	pool, err := rotator.NewPool(set.Keys, c.State, time.Now(), options...)
	if err != nil {
		return nil, err
	}
	r := &Roster{
		Injector: credential.NewInjector(c.Provider, c.Auth, c.KeepHeaders, set.Keys),
		Lots:     lots, Addresses: Addresses(lots.places),
		groups: set.Groups, ranks: set.Ranks, rank: set.Rank, siblings: siblings(set.Groups),
		asks: asks, places: set.Places, ways: ways(set.Places),
		names: set.Names, origins: set.Origins,
	}
	r.Index = observe.NewIndex(pool, known{r})
	r.Index.Offers = lots
	return r, nil
}

// known is what people know the roster's keys by.
type known struct{ of *Roster }

// Name implements observe.Labels.
func (l known) Name(s rotator.Slot) (name, group string) {
	return at(l.of.names, s), at(l.of.groups, s)
}

// Way implements observe.Labels.
func (l known) Way(s rotator.Slot) *upstream.Attempt { return l.of.Way(s) }

// Label implements observe.Labels.
func (l known) Label(s rotator.Slot) observe.Label {
	r := l.of
	k := observe.Label{Name: at(r.names, s), Group: at(r.groups, s), Tier: int(r.RankOf(s).Tier), Origin: r.origins.Of(int(s)), Managed: r.origins.Managed(int(s))}
	if site := r.Place(s).Site; site.Host != "" {
		k.Upstream = site.String()
	}
	return k
}

// RankOf returns how the slot's key is preferred.
func (r *Roster) RankOf(s rotator.Slot) rotator.Rank {
	if r.ranks == nil {
		return r.rank
	}
	return r.ranks[s]
}

// at returns what the slot has, the zero T where none has any.
func at[T any](all []T, s rotator.Slot) (v T) {
	if all == nil {
		return v
	}
	return all[s]
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

// Stands tells whether the roster's keys stand at these places of the config.
func (r *Roster) Stands(at keyset.Origins) bool { return r.origins.Equal(at) }

// Equips tells whether the roster knows the same of its keys as the set, which has the same
// ones, maybe in another order.
func (r *Roster) Equips(set *keyset.Set) bool {
	for i, key := range set.Keys {
		now, s := rotator.Slot(i), rotator.Slot(i)
		if r.Pool.Key(s).ID() != key.ID() {
			place, _ := r.Find(key.ID())
			s = place.Slot
		}
		if at(r.groups, s) != at(set.Groups, now) || at(r.places, s) != at(set.Places, now) || at(r.names, s) != at(set.Names, now) ||
			r.RankOf(s) != set.RankOf(i) {
			return false
		}
	}
	return true
}

// Compare counts what keys has that the pool has not, and the reverse.
func Compare(pool *rotator.Pool, keys []rotator.Key) (added, removed int) {
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

package gateway

import (
	"fmt"
	"hash/fnv"
	"time"

	"go.uber.org/zap"

	"github.com/keycycler/keycycler/internal/credential"
	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/upstream"
	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/ttl"
)

// roster is the set of keys of one moment, ready for requests: a request keeps the
// one that it began with. It is immutable but for what the pool learns.
type roster struct {
	*observe.Index
	injector *credential.Injector

	groups    []string       // slot → its group's name, "" for none; nil: there are no groups
	ranks     []rotator.Rank // slot → how it is preferred; nil: all are as rank
	rank      rotator.Rank
	siblings  [][]rotator.Slot          // slot → all slots of its group; nil for none
	lots      *lots                     // of keys that can serve the same
	asks      func(rotator.Slot) uint32 // how the upstream is asked with the slot's key
	addresses []string                  // lot → where its keys work, "" for unknown; nil: there are not two
	places    []*keyset.Place           // slot → where its key works; nil: nothing is said of any
	ways      []*upstream.Attempt       // slot → what its attempts are told of that; nil: nothing
	names     []string                  // slot → its key's name, "" for none; nil: none has one
	origins   keyset.Origins            // slot → where its key stands
}

// family returns the slots that share the slot's limits, itself among them.
func (r *roster) family(s rotator.Slot) []rotator.Slot {
	if r.siblings == nil || r.siblings[s] == nil {
		return []rotator.Slot{s}
	}
	return r.siblings[s]
}

// newRoster returns a roster of the keys. What is known about them it finds in the
// state. Close its pool when requests go elsewhere.
func (g *Gateway) newRoster(set *keyset.Set) (*roster, error) {
	keys := set.Keys
	lots, err := newLots(set.Places)
	if err != nil {
		return nil, err
	}
	asks := g.asks(lots)
	options := []rotator.Option{rotator.WithJournal(g.Journal), rotator.WithWake(g.room.wake), rotator.WithRanks(set.Ranks), rotator.WithLots(lots.of)}
	options = append(options, rotator.WithWays(asks, unfit...))
	switch {
	case g.First:
		options = append(options, rotator.WithFirst())
	case !g.Random:
		options = append(options, rotator.WithTurns())
	}
	if g.Hash != "" || g.Sessions {
		options = append(options, rotator.WithAffinity())
	}
	if g.Limit != nil {
		options = append(options, rotator.WithLimit(*g.Limit))
	}
	pool, err := rotator.NewPool(keys, g.State, time.Now(), options...)
	if err != nil {
		return nil, err
	}
	r := &roster{
		injector: credential.NewInjector(g.Provider, g.Auth, g.KeepHeaders, keys),
		groups:   set.Groups, ranks: set.Ranks, rank: set.Rank, siblings: siblings(set.Groups),
		lots: lots, asks: asks, addresses: addressesOf(lots.places), places: set.Places, ways: ways(set.Places),
		names: set.Names, origins: set.Origins,
	}
	r.Index = observe.NewIndex(pool, known{r})
	r.Index.Offers = lots
	return r, nil
}

// known is what people know the roster's keys by.
type known struct{ of *roster }

// Name implements observe.Labels.
func (l known) Name(s rotator.Slot) (name, group string) {
	return at(l.of.names, s), at(l.of.groups, s)
}

// Way implements observe.Labels.
func (l known) Way(s rotator.Slot) *upstream.Attempt { return l.of.way(s) }

// Label implements observe.Labels.
func (l known) Label(s rotator.Slot) observe.Label {
	r := l.of
	k := observe.Label{Name: at(r.names, s), Group: at(r.groups, s), Tier: int(r.rankOf(s).Tier), Origin: r.origins.Of(int(s))}
	if site := r.place(s).Site; site.Host != "" {
		k.Upstream = site.String()
	}
	return k
}

// rankOf returns how the slot's key is preferred.
func (r *roster) rankOf(s rotator.Slot) rotator.Rank {
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

// unfit are the reasons for which a key may be refused because it was asked in a wrong way.
var unfit = []rotator.Reason{rotator.Reason(ttl.InvalidKey), rotator.Reason(ttl.Unknown)}

// asks returns how the upstream is asked with each key: another way may find keys good that
// were refused.
func (g *Gateway) asks(l *lots) func(rotator.Slot) uint32 {
	ways := make([]uint32, len(l.places))
	for lot, place := range l.places {
		ways[lot] = g.wayTo(place)
	}
	return func(s rotator.Slot) uint32 { return ways[l.Lot(s)] }
}

// wayTo names how the gateway asks at the place, which may be nil.
func (g *Gateway) wayTo(place *keyset.Place) uint32 {
	h := fnv.New32a()
	fmt.Fprintf(h, "%s\x00%+v", g.Provider.Name, g.Auth)
	if place != nil && place.Site != (upstream.Site{}) {
		fmt.Fprintf(h, "\x00%s\x00%s", place.Site, string(place.Site.Proxy))
	}
	return max(h.Sum32(), 1)
}

// asksLike tells whether both have a key that is asked for in the same way.
func (r *roster) asksLike(other *roster) bool {
	return r.Shares(other.Index, func(mine, others rotator.Slot) bool { return r.asks(mine) == other.asks(others) })
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

// reloadKeys reads the keys again and, if they are others, sends new requests to
// them. Requests under way stay with the keys they have; cooldowns stay where they
// are. A set of keys that is bad changes nothing.
func (g *Gateway) reloadKeys() error {
	set, err := g.Keys.Load()
	if err != nil {
		return err
	}
	old := g.roster.Load()
	added, removed := compare(old.Pool, set.Keys)
	same := added == 0 && removed == 0 && old.equips(set)
	if same && old.origins.Equal(set.Origins) {
		return nil
	}
	next, err := g.newRoster(set)
	if err != nil {
		return err
	}
	g.roster.Store(next)
	g.room.wake()
	old.Pool.Close(time.Now())
	if same { // and stand at other lines
		return nil
	}
	g.Logger.Info("keys have changed", zap.Int("keys", len(set.Keys)), zap.Int("added", added), zap.Int("removed", removed))
	return nil
}

// equips tells whether the roster knows the same of its keys as the set, which has the same
// ones, maybe in another order.
func (r *roster) equips(set *keyset.Set) bool {
	for i, key := range set.Keys {
		now, s := rotator.Slot(i), rotator.Slot(i)
		if r.Pool.Key(s).ID() != key.ID() {
			place, _ := r.Find(key.ID())
			s = place.Slot
		}
		if at(r.groups, s) != at(set.Groups, now) || at(r.places, s) != at(set.Places, now) || at(r.names, s) != at(set.Names, now) ||
			r.rankOf(s) != set.RankOf(i) {
			return false
		}
	}
	return true
}

// place returns where the slot's key works, and what it serves there.
func (r *roster) place(s rotator.Slot) keyset.Place {
	if r.places == nil || r.places[s] == nil {
		return keyset.Place{}
	}
	return *r.places[s]
}

// ways returns for each slot what its attempts are told, or nil where no key has a place.
func ways(places []*keyset.Place) []*upstream.Attempt {
	if places == nil {
		return nil
	}
	known := map[*keyset.Place]*upstream.Attempt{nil: upstream.Unguided}
	all := make([]*upstream.Attempt, len(places))
	for i, place := range places {
		if known[place] == nil {
			known[place] = &upstream.Attempt{Site: place.Site}
		}
		all[i] = known[place]
	}
	return all
}

// way returns what attempts with the slot's key are told of where they go.
func (r *roster) way(s rotator.Slot) *upstream.Attempt {
	if r.ways == nil {
		return upstream.Unguided
	}
	return r.ways[s]
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

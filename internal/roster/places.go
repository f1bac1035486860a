package roster

import (
	"fmt"
	"hash/fnv"

	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/upstream"
	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/ttl"
)

// Place returns where the slot's key works, and what it serves there.
func (r *Roster) Place(s rotator.Slot) keyset.Place {
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

// Way returns what attempts with the slot's key are told of where they go.
func (r *Roster) Way(s rotator.Slot) *upstream.Attempt {
	if r.ways == nil {
		return upstream.Unguided
	}
	return r.ways[s]
}

// Addresses returns for each lot of keys where it works, "" where that is not known; nil
// where there are not two to choose from.
func Addresses(places []*keyset.Place) []string {
	all, first := make([]string, len(places)), ""
	several := false
	for lot, place := range places {
		if place == nil || place.Site.Scheme == "" {
			continue
		}
		all[lot] = place.Site.Address()
		several = several || first != "" && first != all[lot]
		first = all[lot]
	}
	if !several {
		return nil
	}
	return all
}

// Address returns where the slot's key works; "" where that is not known, or all work
// there.
func (r *Roster) Address(s rotator.Slot) string {
	if r.Addresses == nil {
		return ""
	}
	return r.Addresses[r.Lots.Lot(s)]
}

// At adds the lots at the address to the set.
func (r *Roster) At(address string, to *rotator.Lots) {
	for lot, a := range r.Addresses {
		if a == address {
			to.Add(uint16(lot))
		}
	}
}

// Unfit are the reasons for which a key may be refused because it was asked in a wrong way.
var Unfit = []rotator.Reason{rotator.Reason(ttl.InvalidKey), rotator.Reason(ttl.Unknown)}

// asks returns how the upstream is asked with each key: another way may find keys good that
// were refused.
func (c *Config) asks(l *Lots) func(rotator.Slot) uint32 {
	ways := make([]uint32, len(l.places))
	for lot, place := range l.places {
		ways[lot] = c.wayTo(place)
	}
	return func(s rotator.Slot) uint32 { return ways[l.Lot(s)] }
}

// wayTo names how the keys are asked for at the place, which may be nil.
func (c *Config) wayTo(place *keyset.Place) uint32 {
	h := fnv.New32a()
	fmt.Fprintf(h, "%s\x00%+v", c.Provider.Name, c.Auth)
	if place != nil && place.Site != (upstream.Site{}) {
		fmt.Fprintf(h, "\x00%s\x00%s", place.Site, string(place.Site.Proxy))
	}
	return max(h.Sum32(), 1)
}

// AsksLike tells whether both have a key that is asked for in the same way.
func (r *Roster) AsksLike(other *Roster) bool {
	return r.Shares(other.Index, func(mine, others rotator.Slot) bool { return r.asks(mine) == other.asks(others) })
}

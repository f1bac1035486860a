// Package misuse finds out what is wrong with a config that loads, from requests: keys that
// belong to other addresses than they are sent to, a handler that takes the key off again;
// and from the routes, once all of them are there.
//
// It knows keys by their ids, Caddy's routes, and net/http as who calls the upstream does.
// It decides nothing about requests: it says what it has seen. A slip that only traffic, or
// the whole config, shows goes here.
package misuse

import (
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keycycler/keycycler/rotator"
)

const (
	maxAddresses = 32   // that are told apart, one bit each
	maxRefused   = 1024 // keys that are kept account of

	// patience is how often, for each address, a key goes free that another address may
	// know: one that always comes to the same address would be asked for ever.
	patience     = 8
	maxDoublings = 20 // of its rest, afterwards

	// enough is how many keys must serve at one address after another has refused them for
	// this to be the config's fault. One may be that of a key that was made just now.
	enough = 2
)

// Addresses finds out whether it is the address that a key is refused for as invalid:
// where reverse_proxy has several, each may know other keys. As long as one of them has
// not refused it, the key may be good there.
//
// The zero Addresses is ready for use, and costs nothing until a key is refused. It is
// safe for concurrent use.
type Addresses struct {
	on atomic.Bool // some key is kept account of

	mu     sync.Mutex
	names  []string // of the addresses; the index is the bit
	keys   map[rotator.ID]*refused
	turned int // how often a key has served at one address after another had refused it
}

// refused is a key that was refused as invalid.
type refused struct {
	at     uint64 // where, since it last served there
	anew   bool   // since it last served anywhere
	spared int    // how often it went free
	out    bool   // all addresses that were known had
}

// Served is what follows when a key has served.
type Served struct {
	// Pardoned are keys that were convicted before this address was known.
	Pardoned []rotator.ID

	// Tell is whether the log is to be told, now, that addresses know different keys.
	Tell bool
	// RefusedAt is one that has refused the key.
	RefusedAt string
}

// Refuse notes that an address has refused the key as invalid, or in unknown words. It
// returns the keys that were convicted before that address was known.
func (a *Addresses) Refuse(key rotator.ID, address string) []rotator.ID {
	if address == "" {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	bit, pardoned := a.bit(address)
	if r := a.account(key); r != nil {
		r.at |= bit
		r.anew = true
	}
	return pardoned
}

// account returns the key's, nil where there is no room for one.
func (a *Addresses) account(key rotator.ID) *refused {
	r := a.keys[key]
	if r != nil || len(a.keys) >= maxRefused {
		return r
	}
	if a.keys == nil {
		a.keys = make(map[rotator.ID]*refused)
	}
	r = new(refused)
	a.keys[key] = r
	a.on.Store(true)
	return r
}

// Watches tells whether Serve wants to know.
func (a *Addresses) Watches() bool { return a.on.Load() }

// Serve notes that the key has served at the address.
func (a *Addresses) Serve(key rotator.ID, address string) (s Served) {
	a.mu.Lock()
	defer a.mu.Unlock()
	bit, pardoned := a.bit(address)
	s.Pardoned = pardoned
	r := a.keys[key]
	if r == nil {
		return s
	}
	r.at &^= bit
	if r.at != 0 && r.anew {
		a.turned++
		s.Tell = a.turned == enough
		s.RefusedAt = a.names[bits.TrailingZeros64(r.at)]
	}
	r.anew, r.out, r.spared = false, false, 0
	if r.at == 0 {
		delete(a.keys, key)
		a.on.Store(len(a.keys) > 0)
	}
	return s
}

// Rest returns for how long a key is out that was refused while another one served: for
// all of it, if every address has refused the key. If not, for nothing, and where that has
// happened too often, for step and twice as long each time.
func (a *Addresses) Rest(key rotator.ID, step, all time.Duration) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.keys[key]
	if r == nil {
		return all
	}
	if r.out = r.at == a.every(); r.out {
		return all
	}
	r.spared++
	over := r.spared - patience*len(a.names)
	if over <= 0 {
		return 0
	}
	return min(step<<min(over-1, maxDoublings), all)
}

// every is all addresses that are told apart.
func (a *Addresses) every() uint64 { return 1<<len(a.names) - 1 }

// bit returns the address's, 0 for "" and for one too many, and the keys to be pardoned
// where it is a new one.
func (a *Addresses) bit(address string) (bit uint64, pardoned []rotator.ID) {
	i := slices.Index(a.names, address)
	if i < 0 && (address == "" || len(a.names) == maxAddresses) {
		return 0, nil
	}
	if i < 0 {
		i, a.names = len(a.names), append(a.names, address)
		pardoned = a.pardon()
	}
	return 1 << i, pardoned
}

// pardon returns the keys that were convicted before the last address was known.
func (a *Addresses) pardon() (keys []rotator.ID) {
	for id, r := range a.keys {
		if r.out {
			r.out = false
			keys = append(keys, id)
		}
	}
	return keys
}

package rotator

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"time"
)

// Resource names what was made with a key at the upstream and is found with that key
// alone, such as a file: the first 127 bits of a SHA-256 over a fixed prefix and the
// upstream's name for it, and a bit that says whether it passes. The name cannot be had
// from it.
type Resource [16]byte

// resourceDomain separates a resource from every other SHA-256 of its name.
const resourceDomain = "keycycler resource v1\x00"

// MaxResourceName is the longest name that ResourceOf takes, in bytes.
const MaxResourceName = 256

// ResourceOf returns the resource of that name, which does not pass. It does not
// allocate.
func ResourceOf(name []byte) Resource {
	var text [len(resourceDomain) + MaxResourceName]byte
	n := copy(text[:], resourceDomain)
	n += copy(text[n:], name)
	sum := sha256.Sum256(text[:n])
	r := Resource(sum[:len(Resource{})])
	r[len(r)-1] &^= 1
	return r
}

// Passing returns the resource as one of a kind that comes by the thousand and is used
// for a short time, such as a message: of these none pushes a lasting one out. Whoever
// asks for it later says the same of it.
func (r Resource) Passing() Resource {
	r[len(r)-1] |= 1
	return r
}

// Passes tells whether it is one.
func (r Resource) Passes() bool { return r[len(r)-1]&1 == 1 }

// Owner says which key has made a resource.
type Owner struct {
	Resource Resource
	Key      ID
	Used     time.Time // when the resource was made or used last: see State.Told
}

// OwnerJournal is a Journal that carries owners, too. It asks for KnownOwners itself once
// its first pool is there.
type OwnerJournal interface {
	Journal

	// RecordOwner is told of each resource of a key that a pool with this journal holds:
	// when it is new, and, once a day, while it is in use. It is called with the state's
	// lock held: it must not block, nor call the state.
	RecordOwner(Owner)
}

// Own notes that the key at s has made the resource, or has shown that it may use it,
// and tells the journals. A key of the pool that is known to have made it stays the
// one. It reports whether that is news.
func (p *Pool) Own(now time.Time, s Slot, r Resource) bool {
	at := p.state.at(now)
	news := p.state.owners.set(at, r, p.keys[s].ID(), func(known ID, used int64) bool {
		return used <= at-int64(ownerTerm) || !p.holds(known)
	})
	if news {
		p.state.tellOwner(Owner{r, p.keys[s].ID(), p.state.told(at)}, p.journal, nil)
	}
	return news
}

// Owner returns the key that has made the resource, if it is known and in the pool.
// It counts as a use of the resource, which is forgotten 30 days after the last one,
// or when too many others were used since. It does not allocate.
func (p *Pool) Owner(now time.Time, r Resource) (ID, bool) {
	key, news, ok := p.state.owners.find(p.state.at(now), r)
	if !ok || !p.holds(key) {
		return ID{}, false
	}
	if news {
		p.state.tellOwner(Owner{r, key, p.state.Told(now)}, p.journal, nil)
	}
	return key, true
}

// Resources returns how many resources' keys are known, to whichever pool they belong.
func (p *Pool) Resources() int { return p.state.Resources() }

// holds tells whether the key is in the pool. The set of a pool's keys never changes.
func (p *Pool) holds(key ID) bool {
	_, ok := slices.BinarySearchFunc(p.ids(), key, compareIDs)
	return ok
}

func sortedIDs(keys []Key) []ID {
	ids := make([]ID, len(keys))
	for i, k := range keys {
		ids[i] = k.ID()
	}
	slices.SortFunc(ids, compareIDs)
	return ids
}

func compareIDs(a, b ID) int { return bytes.Compare(a[:], b[:]) }

// Resources is that of any pool of the state.
func (s *State) Resources() int { return int(s.owners.count.Load()) }

// LearnOwner joins what another node knows with what is known here: of two keys that
// are said to have made a resource, the one with which it was used later counts.
// Journals other than from, which has brought it, are told of what is news.
func (s *State) LearnOwner(now time.Time, o Owner, from Journal) {
	used := min(s.instant(o.Used), s.at(now))
	if used > s.at(now)-int64(ownerTerm) && s.owners.hear(used, o.Resource, o.Key) {
		o.Used = s.told(used)
		s.tellOwner(o, nil, from)
	}
}

// tellOwner is tell for an owner.
func (s *State) tellOwner(o Owner, also, from Journal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[o.Key]
	if e == nil {
		e = new(entry) // no pool holds the key any more
	}
	for j := range s.listeners(e, also, from) {
		if j, ok := j.(OwnerJournal); ok {
			j.RecordOwner(o)
		}
	}
}

// introduceOwners tells a journal of the resources of keys that have come to it. One whose
// first pool this is asks itself. s.mu is held.
func (s *State) introduceOwners(j Journal, keys map[ID]struct{}, at int64) {
	oj, ok := j.(OwnerJournal)
	if !ok || len(keys) == 0 {
		return
	}
	s.owners.each(at, func(r Resource, key ID, told int64) bool {
		if _, ok := keys[key]; ok {
			oj.RecordOwner(Owner{r, key, s.told(told)})
		}
		return true
	})
}

// KnownOwners calls yield for every resource whose key a pool with the journal holds,
// with the last use that journals were told of or have told, until yield returns
// false. The state is locked meanwhile.
func (s *State) KnownOwners(now time.Time, j Journal, yield func(Owner) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owners.each(s.at(now), func(r Resource, key ID, told int64) bool {
		if e := s.entries[key]; e == nil || !e.tells(j) {
			return true
		}
		return yield(Owner{r, key, s.told(told)})
	})
}

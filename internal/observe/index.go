package observe

import (
	"slices"
	"sync"
	"time"

	"github.com/keycycler/keycycler/internal/upstream"
	"github.com/keycycler/keycycler/rotator"
)

// Index is a pool whose keys can be found by their ids. It is immutable but for what
// the pool learns.
type Index struct {
	Pool   *rotator.Pool
	Offers Offers         // which models keys serve; nil: all keys serve all
	ByID   func() []Place // all keys, ordered by id: made when it is asked for
	labels Labels
	digest rotator.ID // of all ids, in any order
}

// Offers is which keys of a pool serve which models.
type Offers interface {
	// Unserving returns the lots of keys that do not serve the model. They must not be changed.
	Unserving(model string) rotator.Lots

	// Lot returns the slot's.
	Lot(s rotator.Slot) uint16

	// Patterns returns the names and patterns of models that keys are restricted to: as many
	// as are to be watched.
	Patterns() []string
}

// want is what a request for the model wants.
func (x *Index) want(model string) rotator.Want {
	w := rotator.Want{Scope: model}
	if x.Offers != nil {
		w.Shut = x.Offers.Unserving(model)
	}
	return w
}

// models returns those of which it may be that no key is ready for them.
func (x *Index) models() []string {
	models := x.Pool.Scopes()
	if x.Offers != nil {
		models = append(models, x.Offers.Patterns()...)
	}
	slices.Sort(models)
	return slices.Compact(models)
}

// serves tells whether the key may be used for the model.
func (x *Index) serves(s rotator.Slot, model string) bool {
	return x.Offers == nil || !x.Offers.Unserving(model).Has(x.Offers.Lot(s))
}

// Label is what people know a key by, besides its id. It holds no secret.
type Label struct {
	Name     string // "": none
	Group    string // likewise
	Tier     int    // from 1 on
	Upstream string // where it works: a URL; "" where the config of reverse_proxy says
	Origin   string // where it stands: a file's base name and line, or a position in the config
	Managed  bool   // that is a file that keycycler may write
}

// Labels tell what people know a pool's keys by. They are safe for concurrent use.
type Labels interface {
	// Name returns the key's name and its group's, "" for none. It allocates nothing.
	Name(rotator.Slot) (name, group string)

	// Way returns what attempts with the key are told of where they go. It allocates nothing.
	Way(rotator.Slot) *upstream.Attempt

	// Label returns all there is.
	Label(rotator.Slot) Label
}

// NewIndex returns the pool's index. Without labels, nothing is known of its keys.
func NewIndex(pool *rotator.Pool, labels Labels) *Index {
	x := &Index{Pool: pool, labels: labels}
	x.ByID = sync.OnceValue(x.sorted)
	for s := range pool.Len() {
		for i, b := range pool.Key(rotator.Slot(s)).ID() {
			x.digest[i] ^= b
		}
	}
	return x
}

// Find returns where the key is.
func (x *Index) Find(id rotator.ID) (Place, bool) {
	all := x.ByID()
	i, ok := slices.BinarySearchFunc(all, id, func(p Place, id rotator.ID) int { return compareIDs(p.ID(), id) })
	if !ok {
		return Place{}, false
	}
	return all[i], true
}

// sameKeys tells whether both have the same keys, in any order. Ids are a hash's:
// other keys have another digest.
func (x *Index) sameKeys(other *Index) bool {
	return x.Pool.Len() == other.Pool.Len() && x.digest == other.digest
}

// Shares tells whether both have a key that is alike in both, as the caller says of its
// slots.
func (x *Index) Shares(other *Index, alike func(mine, others rotator.Slot) bool) bool {
	if x.Pool.Len() == 0 || other.Pool.Len() == 0 {
		return false
	}
	if x.Pool.Key(0).ID() == other.Pool.Key(0).ID() && alike(0, 0) {
		return true // mostly, and without looking for any
	}
	for s := range rotator.Slot(other.Pool.Len()) {
		if p, ok := x.Find(other.Pool.Key(s).ID()); ok && alike(p.Slot, s) {
			return true
		}
	}
	return false
}

func (x *Index) sorted() []Place {
	places := make([]Place, x.Pool.Len())
	for i := range places {
		places[i] = Place{x, rotator.Slot(i)}
	}
	slices.SortFunc(places, byID)
	return places
}

// Place is where a key is to be found.
type Place struct {
	*Index
	Slot rotator.Slot
}

// Label returns what the key is known by.
func (p Place) Label() Label {
	if p.Index == nil || p.labels == nil {
		return Label{}
	}
	return p.labels.Label(p.Slot)
}

// Name returns the key's name, "" for none.
func (p Place) Name() string {
	name, _ := p.names()
	return name
}

// Group returns the name of the key's group, "" for none.
func (p Place) Group() string {
	_, group := p.names()
	return group
}

func (p Place) names() (name, group string) {
	if p.Index == nil || p.labels == nil {
		return "", ""
	}
	return p.labels.Name(p.Slot)
}

// way returns what attempts with the key are told of where they go.
func (p Place) way() *upstream.Attempt {
	if p.Index == nil || p.labels == nil {
		return upstream.Unguided
	}
	return p.labels.Way(p.Slot)
}

func (p Place) secret() string {
	if p.Index == nil {
		return ""
	}
	return p.Pool.Key(p.Slot).Secret()
}

func (p Place) ID() rotator.ID { return p.Pool.Key(p.Slot).ID() }

func (p Place) Status(now time.Time) rotator.Status { return p.Pool.Status(now, p.Slot) }

// ByID orders places by their keys' ids.
func byID(a, b Place) int { return compareIDs(a.ID(), b.ID()) }

func compareIDs(a, b rotator.ID) int { return slices.Compare(a[:], b[:]) }

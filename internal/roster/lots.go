package roster

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/rotator"
)

// MaxModels is for how many names of models it is remembered who serves them: clients
// choose names. Past it all are forgotten.
const MaxModels = 256

// Lots are the keys of a roster by what they can serve: those of one place are a lot. It
// is safe for concurrent use.
type Lots struct {
	of     []uint16        // slot → its lot; nil: all are of lot 0
	places []*keyset.Place // lot → its place; nil for one of which nothing is said
	picky  bool            // some lots do not serve all models

	watched []string // see Patterns

	mu     sync.RWMutex
	models map[string]Unserved
	told   map[string]struct{} // models that no key serves, of which the log was told
}

// Unserved are the lots that do not serve a model. It is never changed.
type Unserved struct {
	Lots rotator.Lots
	All  bool // no lot serves it
}

// newLots numbers the places of the slots; nil: nothing is said of any.
func newLots(places []*keyset.Place) (*Lots, error) {
	if places == nil {
		return &Lots{places: []*keyset.Place{nil}}, nil
	}
	l, numbers := &Lots{of: make([]uint16, len(places))}, make(map[*keyset.Place]int)
	for s, place := range places {
		n, known := numbers[place]
		if !known {
			n = len(l.places)
			numbers[place], l.places = n, append(l.places, place)
			l.picky = l.picky || isPicky(place)
		}
		l.of[s] = uint16(n)
	}
	if len(l.places) > rotator.MaxRanks {
		return nil, fmt.Errorf("keys of %d different combinations of upstream, proxy and models are too many: at most %d; let more of them have the same", len(l.places), rotator.MaxRanks)
	}
	l.watched = patternsOf(l.places)
	return l, nil
}

// Without returns the lots that do not serve the model; "" is that of a request which
// names none. It does not allocate for a name that came lately.
func (l *Lots) Without(model string) Unserved {
	if !l.picky || model == "" {
		return Unserved{}
	}
	l.mu.RLock()
	u, known := l.models[model]
	l.mu.RUnlock()
	if !known {
		u = l.look(model)
		l.remember(strings.Clone(model), u)
	}
	return u
}

func (l *Lots) look(model string) Unserved {
	u := Unserved{All: true}
	for lot, place := range l.places {
		if place == nil || place.Offer.Serves(model) {
			u.All = false
		} else {
			u.Lots.Add(uint16(lot))
		}
	}
	return u
}

func (l *Lots) remember(model string, u Unserved) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.models == nil || len(l.models) >= MaxModels {
		l.models = make(map[string]Unserved)
	}
	l.models[model] = u
}

// News tells whether the log was not yet told of the model, and may be: of so many names.
func (l *Lots) News(model string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, told := l.told[model]; told || len(l.told) >= MaxModels {
		return false
	}
	if l.told == nil {
		l.told = make(map[string]struct{})
	}
	l.told[strings.Clone(model)] = struct{}{}
	return true
}

// isPicky tells whether there are models that the place's keys do not serve. It may get nil.
func isPicky(p *keyset.Place) bool { return p != nil && p.Offer != nil && len(p.Offer.Models) > 0 }

// maxPatterns is for how many names and patterns of the config it is watched whether a key
// is ready.
const maxPatterns = 256

// Patterns implements observe.Offers.
func (l *Lots) Patterns() []string { return l.watched }

// patternsOf returns the names and patterns of models that the places serve alone.
func patternsOf(places []*keyset.Place) (all []string) {
	for _, place := range places {
		if isPicky(place) {
			all = append(all, place.Offer.Models...)
		}
	}
	slices.Sort(all)
	all = slices.DeleteFunc(slices.Compact(all), func(pattern string) bool { return pattern == rotator.Overflow })
	return all[:min(len(all), maxPatterns)]
}

// Unserving implements observe.Offers. A pattern is as a model of that name. What is
// remembered is for requests alone.
func (l *Lots) Unserving(model string) rotator.Lots {
	if !l.picky || model == "" {
		return nil
	}
	return l.look(model).Lots
}

// Lot implements observe.Offers.
func (l *Lots) Lot(s rotator.Slot) uint16 {
	if l.of == nil {
		return 0
	}
	return l.of[s]
}

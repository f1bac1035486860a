package meter

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// Stated is one of a key's limits, as an upstream has stated it.
type Stated struct {
	Model            string // for which it was stated; "": for any
	Of               string // what is limited: requests, tokens, …
	Limit, Remaining int64
	Left             time.Duration // until all of it is available again
}

// The bounds of what is kept of a key: models are named by clients, limits by upstreams.
const (
	maxLearned = 8  // models, of which the one heard of longest ago is forgotten
	maxStated  = 8  // limits of a model
	maxNamed   = 64 // bytes of a limit's name
)

// scarce is which part of a limit is little: a key of which less is left comes later.
const scarce = 2

// Learned is what upstreams have stated of a key's limits. It is safe for concurrent use.
type Learned struct {
	mu     sync.Mutex
	models []learned
}

// learned is what was stated last for a model.
type learned struct {
	model  string
	at     int64
	stated []Stated
}

// Note takes what an answer states for the model, in place of what was stated before. It
// returns until when that is little. It allocates for what is new.
func (l *Learned) Note(at int64, model string, stated []Stated) (little int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := l.of(model)
	m.at = at
	little = never
	kept := m.stated[:0]
	for i, s := range stated[:min(len(stated), maxStated)] {
		if little = max(little, s.littleUntil(at)); i < len(m.stated) && m.stated[i].Of == s.Of {
			s.Of = m.stated[i].Of
		} else {
			s.Of = strings.Clone(s.Of[:min(len(s.Of), maxNamed)])
		}
		s.Model = m.model
		kept = append(kept, s)
	}
	m.stated = kept
	return little
}

// of returns what is known for the model. l.mu is held.
func (l *Learned) of(model string) *learned {
	i := slices.IndexFunc(l.models, func(m learned) bool { return m.model == model })
	switch {
	case i >= 0:
	case len(l.models) < maxLearned:
		i, l.models = len(l.models), append(l.models, learned{model: strings.Clone(model)})
	default:
		i = l.oldest()
		l.models[i] = learned{model: strings.Clone(model)}
	}
	return &l.models[i]
}

// oldest returns the index of the model that was heard of longest ago.
func (l *Learned) oldest() (oldest int) {
	for i := range l.models {
		if l.models[i].at < l.models[oldest].at {
			oldest = i
		}
	}
	return oldest
}

// littleUntil returns until when less than half is left of what was stated then: limits
// fill up steadily. It is never where that is more.
func (s *Stated) littleUntil(at int64) int64 {
	enough := float64(s.Limit) / scarce
	missing := enough - float64(s.Remaining)
	if missing <= 0 {
		return never
	}
	return at + int64(missing/float64(s.Limit-s.Remaining)*float64(s.Left))
}

// Now returns what is known by then: of a limit that is reset nothing is, since all of it is
// available.
func (l *Learned) Now(at int64) (all []Stated) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.models {
		for _, s := range m.stated {
			if s.Left -= time.Duration(at - m.at); s.Left > 0 {
				all = append(all, s)
			}
		}
	}
	slices.SortFunc(all, func(a, b Stated) int { return strings.Compare(a.Model+"\x00"+a.Of, b.Model+"\x00"+b.Of) })
	return all
}

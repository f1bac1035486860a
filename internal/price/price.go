// Package price is what models cost: a file of prices, and what an answer costs by it.
//
// It knows the kinds of tokens and the names of models, and nothing of requests or clients.
// All it counts with are whole numbers. How a price is written goes here, and which of
// several patterns is a model's; what is done with costs does not.
package price

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
	"strings"

	"github.com/keycycler/keycycler/internal/catalog"
	"github.com/keycycler/keycycler/internal/usage"
)

// rates are what a token of each kind costs, in pico-USD (10⁻¹² USD): so is what a million
// of them cost in millionths of a USD.
type rates [len(usage.Names)]uint64

// List is what models cost. It is immutable. nil has no prices.
type List struct {
	exact    map[string]*rates
	patterns []pattern // the most specific come first
}

// pattern is what models cost whose names fit it.
type pattern struct {
	text   string
	prefix string // of text, before its first *: most names do not even have that
	*rates
}

// Cost returns what an answer of the model costs, and whether the list has a price of it.
// The cost is in whole nano-USD, the nearest: of what is half-way, the even one. One that is
// beyond all sense is the most that USD can hold.
func (l *List) Cost(model string, t *usage.Tokens) (usage.USD, bool) {
	r := l.find(model)
	if r == nil {
		return 0, false
	}
	return r.cost(t), true
}

// find returns the rates of the model, nil for none: those of its name, or else those of the
// most specific pattern that it fits.
func (l *List) find(model string) *rates {
	if l == nil {
		return nil
	}
	if r := l.exact[model]; r != nil {
		return r
	}
	for _, p := range l.patterns {
		if strings.HasPrefix(model, p.prefix) && catalog.Fits(p.text, model) {
			return p.rates
		}
	}
	return nil
}

// bySpecificity orders patterns: the one comes first that has more letters besides its `*`,
// of two the one with fewer `*`, and then the one that the alphabet has first.
func bySpecificity(a, b pattern) int {
	stars := func(p pattern) int { return strings.Count(p.text, "*") }
	return cmp.Or(cmp.Compare(len(b.text)-stars(b), len(a.text)-stars(a)), cmp.Compare(stars(a), stars(b)), cmp.Compare(a.text, b.text))
}

// newList makes a list of what these names and patterns cost.
func newList(all map[string]*rates) *List {
	l := &List{exact: make(map[string]*rates)}
	for text, r := range all {
		if prefix, _, open := strings.Cut(text, "*"); open {
			l.patterns = append(l.patterns, pattern{text, prefix, r})
			continue
		}
		l.exact[text] = r
	}
	slices.SortFunc(l.patterns, bySpecificity)
	return l
}

// cost adds up. Tokens of reasoning are counted in the output, and have a rate of their own.
// 128 bits hold the sum of whatever numbers there are.
func (r *rates) cost(t *usage.Tokens) usage.USD {
	n := *t
	n[usage.Reasoning] = min(t.Known(usage.Reasoning), t.Known(usage.Output))
	n[usage.Output] = t.Known(usage.Output) - n[usage.Reasoning]
	var hi, lo uint64
	for kind, rate := range r {
		h, l := bits.Mul64(uint64(n.Known(usage.Type(kind))), rate)
		var carry uint64
		lo, carry = bits.Add64(lo, l, 0)
		hi += h + carry
	}
	return rounded(hi, lo)
}

// rounded returns pico-USD as nano-USD.
func rounded(hi, lo uint64) usage.USD {
	const pico = 1000 // of a nano-USD
	if hi >= pico {
		return math.MaxInt64
	}
	q, rest := bits.Div64(hi, lo, pico)
	if q >= math.MaxInt64 {
		return math.MaxInt64
	}
	if rest > pico/2 || rest == pico/2 && q%2 == 1 {
		q++
	}
	return usage.USD(q)
}

// Package quota is what clients may use: how many requests and tokens in a while, how many
// requests at a time, budgets for a day or a month, and which models. It counts what they
// have used, and says from when on there is room again.
//
// It knows numbers and times, which it is given, and neither HTTP nor who a client is. What
// is counted goes into a [Meter]; a further kind of limit is a [Kind] and what of a request
// it counts.
package quota

import (
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/keycycler/keycycler/internal/catalog"
	"github.com/keycycler/keycycler/rotator/keep"
)

// Kind is what a limit is about.
type Kind uint8

// The kinds of limits.
const (
	None        Kind = iota
	Requests         // in any window of a length
	Tokens           // likewise
	Concurrency      // requests under way at a time
	TokenBudget      // tokens in a longer time
	USDBudget        // billionths of a dollar, likewise
	Models           // the models that may be asked for
	kinds
)

// String returns what metrics call the kind: both kinds of budgets are one.
func (k Kind) String() string {
	return [kinds]string{"", "requests", "tokens", "concurrency", "budget", "budget", "models"}[k]
}

// Limit is how much there may be of something.
type Limit struct {
	Kind   Kind
	Most   int64  // requests, tokens or billionths of a dollar; at least 1
	Period Period // in which; none for Concurrency
}

// Terms are what a client may use. They are immutable.
type Terms struct {
	Limits []Limit
	Models *catalog.Offer // the only models that may be asked for; nil: all
	Weight int            // of the client's requests, where some wait; 0: 1
}

// Serves tells whether the client may ask for the model, "" where a request names none. t
// may be nil.
func (t *Terms) Serves(model string) bool {
	return t == nil || t.Models.Serves(strings.TrimPrefix(model, "models/"))
}

// Costs tells whether tokens count: of answers it must be known what they have used. t may be
// nil.
func (t *Terms) Costs() bool { return t.has(costs) }

// CostsMoney tells whether it counts what tokens cost. t may be nil.
func (t *Terms) CostsMoney() bool { return t.has(func(k Kind) bool { return k == USDBudget }) }

func (t *Terms) has(kind func(Kind) bool) bool {
	return t != nil && slices.ContainsFunc(t.Limits, func(l Limit) bool { return kind(l.Kind) })
}

// Plan is the limits of a config. Until its config ends it is immutable.
type Plan struct {
	named  map[string]*Terms
	rest   *Terms       // of each client that is not named; nil: no limit
	serial uint64       // a later one's is higher
	ended  *atomic.Bool // its config has

	lender   Lender        // who divides the limits among nodes; nil: they are this one's
	accounts keep.Accounts // where what was used outlives the process; nil: nowhere
	pool     string        // what these call the pool
}

var serials atomic.Uint64

// NewPlan returns the plan with these terms, by the clients' names. Nobody changes the map
// any more. rest are those of each other client, nil for none.
func NewPlan(named map[string]*Terms, rest *Terms) *Plan {
	return &Plan{named: named, rest: rest, serial: serials.Add(1), ended: new(atomic.Bool)}
}

// End says that the plan's config has ended: also one that has failed when its first requests
// had come, and the config before it goes on. p may be nil.
func (p *Plan) End() {
	if p != nil {
		p.ended.Store(true)
	}
}

// succeeds tells whether the plan is to count in place of a client's other one, or of none. One
// whose config has ended may have requests still.
func (p *Plan) succeeds(other *Plan) bool {
	if other == nil || p == other {
		return other == nil
	}
	if over := other.ended.Load(); over != p.ended.Load() {
		return over
	}
	return other.serial < p.serial
}

// Names tells whether the plan has terms for this client by its name.
func (p *Plan) Names(client string) bool { return p.named[client] != nil }

// Terms returns those of the client; nil: it has no limit.
func (p *Plan) Terms(client string) *Terms {
	if t := p.named[client]; t != nil {
		return t
	}
	return p.rest
}

// Each calls f with all terms of the plan. p may be nil.
func (p *Plan) Each(f func(*Terms)) {
	if p == nil {
		return
	}
	for _, t := range p.named {
		f(t)
	}
	if p.rest != nil {
		f(p.rest)
	}
}

// moment is how long a client waits that is refused for what may be over at any time: what
// is under way.
const moment = int64(time.Second)

// givenBack is after what time other nodes have given back what they do not use of a budget.
const givenBack = 12 * moment

// longestGuess is how long it waits at most where other nodes have what there is.
const longestGuess = 60 * moment

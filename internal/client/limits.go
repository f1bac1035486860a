package client

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/keycycler/keycycler/internal/catalog"
	"github.com/keycycler/keycycler/internal/directive"
	"github.com/keycycler/keycycler/internal/quota"
)

// Limits says what clients may use.
type Limits struct {
	// The placeholder whose value names a client whose token has no name, or that has no
	// token, such as `{http.request.header.X-Team}`. Whoever chooses the value chooses whose
	// limits count: it should come from an authentication handler or a proxy. Its first 256
	// bytes count. Default: `{http.auth.user.id}`.
	Placeholder string `json:"placeholder,omitempty"`

	// The limits by the client's name; those of `*` are for each client that has none of
	// its own, also for those without a name, who are one. A client for whom there is
	// neither has no limit. Up to 100000 clients that are not named here are told apart at a
	// time; while so many have used something that still counts, further ones have one
	// allowance together.
	Limits map[string]*Limit `json:"limits,omitempty"`
}

// Limit is what one client may use. Over a limit it gets a 429 in the provider's form, with a
// Retry-After, before a key is drawn. With the state `redis`, requests, tokens and budgets are
// of all nodes together that share it, otherwise of this node.
type Limit struct {
	// Requests in any window: 1 to 1000000. One that gets no answer does not count. Default:
	// any number.
	Requests *Rate `json:"requests,omitempty"`

	// Tokens in any window, of requests and answers: 1 to 10^12. A request holds an estimate
	// until its answer has ended: a quarter of its bytes, and what it asks for at most. Then
	// what the answer says counts, or the estimate where it says nothing. With nothing used
	// or held one request always passes. Default: any number.
	Tokens *Rate `json:"tokens,omitempty"`

	// Requests under way at a time, those whose response still streams and websockets
	// included, at each node for itself: 1 to 100000. Default: any number.
	Concurrency int `json:"concurrency,omitempty"`

	// Tokens or costs in a longer time, up to 8 of them. Default: none.
	Budgets []Budget `json:"budgets,omitempty"`

	// Patterns of the only models that the client may ask for, such as `gpt-4o*`: a `*`
	// stands for any text. For another one, or where nobody can read which one a body is for,
	// it gets a 403. Default: all models.
	Models []string `json:"models,omitempty"`

	// Where requests wait for a key, clients are served in proportion to it: 1 to 100.
	// Default: 1.
	Weight int `json:"weight,omitempty"`
}

// Rate is so many of something in any window of a length.
type Rate struct {
	// How many.
	Most int64 `json:"most,omitempty"`

	// In what time, wherever the window begins: 1s to 24h. A 32nd of it is how much later
	// than it could be there is room again, at the most.
	Per caddy.Duration `json:"per,omitempty"`
}

// Budget is how much a client may use in a longer time: in any window of the length `per`, or
// in each day or month of the calendar.
type Budget struct {
	// How many tokens, 1 to 10^15, or dollars, 0.000001 to 100000000.
	Most float64 `json:"most,omitempty"`

	// `tokens` or `usd`. Costs are known for models that have a price.
	Unit string `json:"unit,omitempty"`

	// In what time: 1m to 8784h (366 days), with the resolution of a 32nd of it. Either this
	// or `calendar` is set.
	Per caddy.Duration `json:"per,omitempty"`

	// `day` or `month`.
	Calendar string `json:"calendar,omitempty"`

	// With `calendar`: the time zone whose days and months count, such as `Europe/Berlin`.
	// Default: `UTC`.
	Zone string `json:"zone,omitempty"`
}

// Bounds of clients' limits.
const (
	maxClientName     = 256
	maxClientNames    = 100_000
	mostConcurrency   = 100_000
	maxClientRequests = 1_000_000
	maxClientTokens   = 1_000_000_000_000
	minPer            = time.Second
	maxPer            = 24 * time.Hour
	maxPatterns       = 1000
	maxWeight         = 100
	maxBudgets        = 8
	maxBudgetTokens   = 1_000_000_000_000_000
	minBudgetUSD      = 0.000001
	maxBudgetUSD      = 100_000_000
	minBudgetPer      = time.Minute
	maxBudgetPer      = 366 * 24 * time.Hour
	nanoUSD           = 1e9
	unitTokens        = "tokens"
	unitUSD           = "usd"
	otherClients      = "*"
	wantedBudget      = "<n> tokens|usd <duration>|day [<zone>]|month [<zone>]"
	wantedBudgetUnit  = unitTokens + " or " + unitUSD
)

// calendars are the parts of the calendar for which there are budgets.
var calendars = map[string]quota.Calendar{"day": quota.Day, "month": quota.Month}

// Plan is what the gateway heeds. c may be nil.
func (c *Limits) Plan() *quota.Plan {
	if c == nil {
		return nil
	}
	named := make(map[string]*quota.Terms, len(c.Limits))
	for name, l := range c.Limits {
		named[name] = l.terms()
	}
	rest := named[otherClients]
	delete(named, otherClients)
	return quota.NewPlan(named, rest)
}

// Names returns the names of the clients that have limits of their own, and * maybe. c may be
// nil.
func (c *Limits) Names() []string {
	if c == nil {
		return nil
	}
	return slices.Collect(maps.Keys(c.Limits))
}

// Name returns the name of that which names clients. c may be nil.
func (c *Limits) Name() string {
	if c == nil {
		return ""
	}
	return strings.Trim(cmp.Or(c.Placeholder, UserPlaceholder), "{}")
}

func (l *Limit) terms() *quota.Terms {
	t := &quota.Terms{Weight: l.Weight}
	add := func(kind quota.Kind, most int64, p quota.Period) {
		t.Limits = append(t.Limits, quota.Limit{Kind: kind, Most: most, Period: p})
	}
	if l.Requests != nil {
		add(quota.Requests, l.Requests.Most, quota.Period{Per: time.Duration(l.Requests.Per)})
	}
	if l.Tokens != nil {
		add(quota.Tokens, l.Tokens.Most, quota.Period{Per: time.Duration(l.Tokens.Per)})
	}
	if l.Concurrency > 0 {
		add(quota.Concurrency, int64(l.Concurrency), quota.Period{})
	}
	for _, b := range l.Budgets {
		add(b.limit())
	}
	if len(l.Models) > 0 {
		t.Models = &catalog.Offer{Models: l.Models}
	}
	return t
}

// limit returns what the budget is to the gateway.
func (b Budget) limit() (quota.Kind, int64, quota.Period) {
	p := quota.Period{Per: time.Duration(b.Per), Calendar: calendars[b.Calendar]}
	if p.Calendar != quota.Sliding {
		p.Zone, _ = time.LoadLocation(b.Zone) // it was checked
	}
	if b.Unit == unitUSD {
		return quota.USDBudget, int64(math.Round(b.Most * nanoUSD)), p
	}
	return quota.TokenBudget, int64(b.Most), p
}

// CheckPriced finds a budget of dollars where nothing has a price: it would never be used up.
// c may be nil.
func (c *Limits) CheckPriced(priced bool) error {
	if c == nil || priced {
		return nil
	}
	for name, l := range c.Limits {
		if l != nil && slices.ContainsFunc(l.Budgets, func(b Budget) bool { return b.Unit == unitUSD }) {
			return fmt.Errorf("clients %s: budget: usd needs prices: add 'prices <path>'", directive.Shown(name))
		}
	}
	return nil
}

// Check holds the limits against their bounds.
func (c *Limits) Check() error {
	if len(c.Limits) == 0 {
		return errors.New("clients: the limits of a client are needed, or of *")
	}
	if len(c.Limits) > maxClientNames {
		return fmt.Errorf("clients: %d are too many: at most %d", len(c.Limits), maxClientNames)
	}
	for name, l := range c.Limits {
		if err := checkLimit(name, l); err != nil {
			return err
		}
	}
	return nil
}

func checkLimit(name string, l *Limit) error {
	if err := checkLimited(name); err != nil {
		return fmt.Errorf("clients: %w", err)
	}
	if l == nil {
		return fmt.Errorf("clients %s: there is nothing in it", directive.Shown(name))
	}
	if err := l.check(); err != nil {
		return fmt.Errorf("clients %s: %w", directive.Shown(name), err)
	}
	return nil
}

func checkLimited(name string) error {
	switch {
	case name == otherClients:
		return nil
	case directive.HasKeyPrefix(name):
		return errors.New("the name (not shown) begins as keys do")
	case !catalog.IsName(name):
		return fmt.Errorf("the name %s must be 1 to %d bytes of printable characters", directive.Shown(name), maxClientName)
	case strings.Contains(name, otherClients):
		return fmt.Errorf("%s is no pattern: a client is named in full, and * alone stands for all others", directive.Shown(name))
	}
	return nil
}

func (l *Limit) check() error {
	switch {
	case l.Requests == nil && l.Tokens == nil && l.Concurrency == 0 && len(l.Budgets)+len(l.Models)+l.Weight == 0:
		return errors.New("requests, tokens, concurrency, a budget, models or a weight is needed")
	case l.Concurrency < 0 || l.Concurrency > mostConcurrency:
		return fmt.Errorf("concurrency: %d is out of range: 1 to %d", l.Concurrency, mostConcurrency)
	case l.Weight < 0 || l.Weight > maxWeight:
		return fmt.Errorf("weight: %d is out of range: 1 to %d", l.Weight, maxWeight)
	case len(l.Budgets) > maxBudgets:
		return fmt.Errorf("budget: %d are too many: at most %d", len(l.Budgets), maxBudgets)
	}
	for _, b := range l.Budgets {
		if err := b.check(); err != nil {
			return fmt.Errorf("budget: %w", err)
		}
	}
	if err := checkPatterns(l.Models); err != nil {
		return fmt.Errorf("models: %w", err)
	}
	return cmp.Or(l.Requests.check("requests", maxClientRequests), l.Tokens.check("tokens", maxClientTokens))
}

// check holds the rate against its bounds. r may be nil.
func (r *Rate) check(name string, most int64) error {
	if r == nil {
		return nil
	}
	if r.Most < 1 || r.Most > most {
		return fmt.Errorf("%s: %d is out of range: 1 to %d", name, r.Most, most)
	}
	if per := time.Duration(r.Per); per < minPer || per > maxPer {
		if err := directive.CheckUnit(name, per); err != nil {
			return err
		}
		return fmt.Errorf("%s: %s is out of range: %s to %s", name, per, minPer, maxPer)
	}
	return nil
}

func (b Budget) check() error {
	switch b.Unit {
	case unitTokens:
		if !(b.Most >= 1 && b.Most <= maxBudgetTokens && b.Most == math.Trunc(b.Most)) {
			return fmt.Errorf("%v is no number of tokens: 1 to %d", b.Most, int64(maxBudgetTokens))
		}
	case unitUSD:
		if !(b.Most >= minBudgetUSD && b.Most <= maxBudgetUSD) {
			return fmt.Errorf("%v usd are out of range: %.6f to %d", b.Most, minBudgetUSD, maxBudgetUSD)
		}
	default:
		return fmt.Errorf("unknown unit %s: %s", directive.Shown(b.Unit), wantedBudgetUnit)
	}
	return b.checkPer()
}

func (b Budget) checkPer() error {
	_, dated := calendars[b.Calendar]
	switch per := time.Duration(b.Per); {
	case b.Calendar != "" && !dated:
		return fmt.Errorf("%s is neither day nor month nor a duration", directive.Shown(b.Calendar))
	case dated && per != 0:
		return errors.New("either a duration or a day or a month")
	case !dated && b.Zone != "":
		return errors.New("a zone goes with day and month")
	case !dated && (per < minBudgetPer || per > maxBudgetPer):
		return fmt.Errorf("%s is out of range: %s to %s", per, minBudgetPer, maxBudgetPer)
	}
	if _, err := time.LoadLocation(b.Zone); err != nil || b.Zone == "Local" {
		return fmt.Errorf("unknown time zone %s: one such as Europe/Berlin", directive.Shown(b.Zone))
	}
	return nil
}

func checkPatterns(patterns []string) error {
	if len(patterns) > maxPatterns {
		return fmt.Errorf("%d are too many: at most %d", len(patterns), maxPatterns)
	}
	for i, p := range patterns {
		if err := catalog.CheckPattern(p); err != nil {
			return fmt.Errorf("%s %w", directive.Shown(p), err)
		}
		if slices.Contains(patterns[:i], p) {
			return fmt.Errorf("%s stands twice", directive.Shown(p))
		}
	}
	return nil
}

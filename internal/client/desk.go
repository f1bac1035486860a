package client

import (
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/keycycler/keycycler/internal/peek"
	"github.com/keycycler/keycycler/internal/provider"
	"github.com/keycycler/keycycler/internal/quota"
	"github.com/keycycler/keycycler/rotator/keep"
	"github.com/keycycler/keycycler/ttl"
)

// Desk is where requests come by, for their clients' limits. A nil Desk is that of a pool
// without any. It is safe for concurrent use.
type Desk struct {
	plan        *quota.Plan
	placeholder string // that names clients whose token has no name
	book        *quota.Book
}

// NewDesk returns the pool's desk; nil, if there is no plan.
func NewDesk(pool string, plan *quota.Plan, placeholder string) *Desk {
	if plan == nil {
		return nil
	}
	return &Desk{plan, placeholder, quota.BookOf(pool)}
}

// Share makes the limits those of all nodes that the lender divides them among, if there is
// one. It is called before the first request.
func (d *Desk) Share(pool string, l quota.Lender) {
	if d != nil {
		d.plan = d.plan.Over(pool, l)
	}
}

// Keep lets what clients use outlive the process in these accounts, if there are any. It is
// called before the first request.
func (d *Desk) Keep(pool string, in keep.Accounts) {
	if d != nil {
		d.plan = d.plan.Kept(pool, in)
	}
}

// Close is called when the desk's config has ended: clients' requests come by another one.
func (d *Desk) Close() {
	if d != nil {
		d.plan.End()
	}
}

// Each calls f with all terms of the desk's plan.
func (d *Desk) Each(f func(*quota.Terms)) {
	if d != nil {
		d.plan.Each(f)
	}
}

// Enter makes the request's place among its client's. It returns the client's name, as far as
// configs have it, and its terms: nil where it has no limits. It reads nothing of the body.
func (d *Desk) Enter(r *http.Request, token string) (name string, terms *quota.Terms, stay *quota.Stay) {
	if d == nil {
		return token, nil, nil
	}
	name = d.whose(r, token)
	if terms = d.plan.Terms(name); terms == nil {
		return token, nil, nil
	}
	var need quota.Need
	if peek.IsJSON(peek.First(r.Header, "Content-Type")) {
		need.Tokens = peek.InputOf(r.ContentLength)
	}
	stay = d.book.Enter(d.plan, name, time.Now().UnixNano(), need)
	if !d.plan.Names(name) {
		name = token // of the others there may be any number
	}
	return name, terms, stay
}

// Tells tells whether the request's body says what it needs of its client's limits: before it is
// read, nobody can say when there is room for it.
func Tells(terms *quota.Terms, r *http.Request) bool {
	return terms.Costs() && r.ContentLength != 0 && peek.IsJSON(peek.First(r.Header, "Content-Type")) && peek.First(r.Header, "Expect") == ""
}

// whose returns the name of the client that sends the request: that of its token, else the
// value of the placeholder; "" where neither is known.
func (d *Desk) whose(r *http.Request, token string) string {
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	switch {
	case token != "" || !ok:
		return token
	case d.placeholder == UserPlaceholder:
		return UserOf(repl)
	}
	name, _ := repl.GetString(d.placeholder)
	return name
}

// Leave ends the stay, if nothing else has. It may be nil.
func Leave(stay *quota.Stay) {
	if stay.Open() {
		stay.Leave(time.Now().UnixNano())
	}
}

// Tell puts the client's limits into an answer's header. The stay may be nil.
func Tell(stay *quota.Stay, header http.Header) {
	if stay != nil {
		stay.Tell(time.Now().UnixNano(), header)
	}
}

// RefusalOf is what the client is told that has met the limit; how long it is to wait comes to
// it.
func RefusalOf(over quota.Over) provider.Refusal {
	f := provider.Refusal{Limit: over.Words(), Counted: over.Kind == quota.Tokens}
	if over.Kind == quota.TokenBudget || over.Kind == quota.USDBudget {
		f.Class = ttl.QuotaExhausted
	}
	return f
}

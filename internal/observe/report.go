package observe

import (
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/keycycler/keycycler/internal/peek"
	"github.com/keycycler/keycycler/internal/session"
	"github.com/keycycler/keycycler/internal/usage"
	"github.com/keycycler/keycycler/rotator"
)

// Report is what became of a request, for placeholders. Access logs ask it after
// the handler is back, and late reads its body, so it is not used again for another
// request.
type Report struct {
	latest   *Report // that of the last pool that the request has come to
	Pool     *Pool
	index    *Index // of the last attempt's key; nil before the first
	slot     rotator.Slot
	attempts int32
	Named    string      // the model that the request's URL names; "" if none
	Body     modelNamer  // nil when it has none
	Outcome  string      // of the last attempt that is over, or of the request
	Client   string      // whose token the request had; "" where it has no name
	Session  session.ID  // the request's, if it was looked for in the body as well; 0: it was not found
	Used     *usage.Bill // of the answer; nil: it does not say

	client *http.Request                  // the request, as it has come to us
	vars   map[string]any                 // its variables; nil outside of Caddy
	repl   *caddy.Replacer                // likewise
	below  caddy.Replacer                 // repl, without what reports add to it
	before *Report                        // that of the pool which the request has come to before
	shown  atomic.Pointer[AttemptContext] // whose replacer tells what handlers have set; may be nil
}

// modelNamer is a body that may name a model.
type modelNamer interface {
	// ModelName returns the model, if what has come by now names it. It is safe for
	// concurrent use.
	ModelName() (string, bool)
}

// What becomes of a request, besides the outcomes of its last attempt.
const (
	OutcomeExhausted    = "exhausted"    // no key was left for it
	OutcomeCanceled     = "canceled"     // the client left between two attempts
	OutcomeStopped      = "stopped"      // the process stopped while it waited for a key
	OutcomeNested       = "nested"       // of an attempt under way: another pool serves it
	OutcomeUnauthorized = "unauthorized" // it had no valid client token
	OutcomeLimited      = "limited"      // its client was at a limit of its own

	OutcomeUnknownModel = "unknown_model" // no key serves its model
	OutcomeModels       = "models"        // it was answered from the list of models
)

const (
	// PlaceholderPrefix begins the names of keycycler's placeholders.
	PlaceholderPrefix = "http.keycycler."

	// reportVar is the request variable that holds the report.
	reportVar = "keycycler"
)

// Begin makes p the report of the request. Where the request has come to a
// pool before, as one that handle_errors falls back from, placeholders tell of the
// new one from now on. It returns the report of the pool within whose attempt the request
// has come, nil if there is none.
func (p *Report) Begin(r *http.Request) (outer *Report) {
	p.latest, p.client = p, r
	p.Named, _ = peek.ModelInURL(r.URL)
	ctx := r.Context()
	p.vars, _ = ctx.Value(caddyhttp.VarsCtxKey).(map[string]any)
	p.repl, _ = ctx.Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if p.repl != nil {
		p.below = *p.repl
	}
	if first, ok := p.vars[reportVar].(*Report); ok {
		if p.repl == first.repl { // not an attempt's of that pool
			p.below, p.before = first.below, first.latest
		} else {
			outer = first.latest
		}
		first.latest = p
		return outer
	}
	if p.vars != nil {
		p.vars[reportVar] = p
	}
	if p.repl != nil {
		p.repl.Map(p.lookup)
	}
	return nil
}

// Attempt notes the key of the attempt that begins, and that it is the n-th.
func (p *Report) Attempt(key Place, n int) {
	p.index, p.slot, p.attempts = key.Index, key.Slot, int32(n)
}

// at returns the report as it was during the n-th attempt, with this key. It may be called
// at any time from then on.
func (p *Report) at(key Place, n int32) *Report {
	return &Report{
		Pool: p.Pool, index: key.Index, slot: key.Slot, attempts: n,
		Named: p.Named, Body: p.Body, Client: p.Client, Session: p.Session, client: p.client,
	}
}

// key is that of the last attempt.
func (p *Report) key() Place { return Place{p.index, p.slot} }

// lookup is a caddy.ReplacerFunc: what all see who look at the request, besides what
// Caddy shows them.
func (p *Report) lookup(name string) (any, bool) {
	if value, ok := p.latest.field(name); ok {
		return value, true
	}
	return p.latest.set(name)
}

// beneath is what the handlers of an attempt see, besides what is the attempt's and
// keycycler's.
func (p *Report) beneath(name string) (any, bool) {
	if value, ok := p.below.Get(name); ok {
		return value, true
	}
	return p.before.set(name)
}

// set returns what the handlers of the last attempt have set, or of those before. p may
// be nil.
func (p *Report) set(name string) (any, bool) {
	switch {
	case p == nil, hasAnyPrefix(name, "file.", "http.request.", "http.vars."):
		return nil, false // Caddy's own: the attempt's request is its handlers' alone
	case p.shown.Load() == nil:
		return p.before.set(name)
	}
	c := p.shown.Load()
	value, ok := c.repl.Get(name)
	return c.guarded(value), ok
}

func hasAnyPrefix(text string, prefixes ...string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(text, p) })
}

// proxied is set by reverse_proxy in the attempt that it makes.
const proxied = "http.reverse_proxy.upstream.address"

// Settle makes what the last attempt's reverse_proxy has set be seen, instead of what
// one before us has, such as forward_auth. No attempt follows.
func (p *Report) Settle() {
	if c := p.shown.Load(); c != nil && c.settle() {
		p.repl.DeleteByPrefix("http.reverse_proxy.")
	}
}

// Address returns where the reverse_proxy of the attempt under way has turned to; "" if it
// has not.
func (p *Report) Address() string {
	if c := p.shown.Load(); c != nil {
		return c.address()
	}
	return ""
}

// Retry tells by a placeholder for how long a client is to wait that no key serves, in whole
// seconds, "" where nobody knows.
func (p *Report) Retry(seconds string) {
	if p.repl != nil {
		p.repl.Set(PlaceholderPrefix+"retry_after", seconds)
	}
}

// Unhandled tells whether the last attempt came to the end of the routes.
func (p *Report) Unhandled() bool {
	unhandled, _ := p.vars["unhandled"].(bool)
	return unhandled
}

// field returns one of keycycler's placeholders.
func (p *Report) field(name string) (any, bool) {
	field, ours := strings.CutPrefix(name, PlaceholderPrefix)
	if !ours {
		return nil, false
	}
	switch field {
	case "pool":
		return p.Pool.name(), true
	case "key_id":
		if p.index == nil {
			return "", true
		}
		return p.key().ID().String(), true
	case "key_name":
		name, _ := p.key().names()
		return name, true
	case "group":
		_, group := p.key().names()
		return group, true
	case "attempts":
		return int(p.attempts), true
	case "upstream":
		return p.key().way().Text(), true
	case "client":
		return p.Client, true
	case "outcome":
		return p.Outcome, true
	case "retry_after":
		return "", true // Retry sets it
	case "session":
		if p.Session == 0 {
			return session.Named(p.client.Header).String(), true
		}
		return p.Session.String(), true
	case "model":
		return p.Model(), true
	}
	return p.used(field)
}

// used returns one of the placeholders of what the answer has used, once it has ended.
func (p *Report) used(field string) (any, bool) {
	kind, ok := strings.CutPrefix(field, "usage.")
	i := slices.Index(usage.Names[:], kind)
	switch {
	case !ok || i < 0 && kind != "cost":
		return nil, false
	case p.Used == nil:
		return "", true
	case i < 0:
		return p.Used.Cost.Shown(), true
	case p.Used.Tokens[i] == usage.Unknown:
		return "", true
	}
	return p.Used.Tokens[i], true
}

// Model returns the model that the request names, in its URL or in as much of its
// body as has come by now; "" if none.
func (p *Report) Model() string {
	name := p.Named
	if name == "" && p.Body != nil {
		name, _ = p.Body.ModelName()
	}
	return name
}

// String tells nothing: the report stands among the request's variables, which are
// placeholders too.
func (*Report) String() string { return reportVar }

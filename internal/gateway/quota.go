package gateway

import (
	"net/http"
	"strings"
	"time"

	"github.com/keycycler/keycycler/internal/client"
	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/peek"
	"github.com/keycycler/keycycler/internal/provider"
	"github.com/keycycler/keycycler/internal/quota"
	"github.com/keycycler/keycycler/internal/replay"
	"github.com/keycycler/keycycler/internal/usage"
)

// limited answers a request whose client has come to a limit, before it is looked at.
func (g *Gateway) limited(w http.ResponseWriter, r *http.Request, name string, stay *quota.Stay, over quota.Over) error {
	report := new(observe.Report)
	outer := report.Begin(r)
	report.Pool, report.Client, report.Outcome = g.seen, name, observe.OutcomeLimited
	g.tellNested(outer, r)
	return g.tellLimited(w, r, stay, over, client.RefusalOf(over))
}

// tellLimited tells the client, and who looks at the pool.
func (g *Gateway) tellLimited(w http.ResponseWriter, r *http.Request, stay *quota.Stay, over quota.Over, f provider.Refusal) error {
	quota.CountRefused(g.Pool, over.Kind)
	if !f.Forbidden {
		f.Wait = wholeSeconds(time.Duration(over.Wait))
	}
	if over.News || f.Forbidden {
		g.announcer.ClientLimited(stay.Client(), over.Kind.String(), f.Wait)
	}
	client.Tell(stay, w.Header())
	return g.writeRefusal(w, r, f)
}

// barred answers the request if its client may not ask for its model, or if there is no room
// for what it may use, and tells whether it has.
func (x *exchange) barred(w http.ResponseWriter) (bool, error) {
	if x.stay == nil {
		return false, nil
	}
	over, barred := x.stay.Over()
	model, served := x.mayAsk()
	if served && !barred {
		return false, nil
	}
	f := client.RefusalOf(over)
	if !served {
		over, f = quota.Over{Kind: quota.Models}, provider.Refusal{Model: model, Forbidden: true}
		client.Leave(x.stay)
	}
	x.report.Outcome, x.latest = observe.OutcomeLimited, x.started
	return true, x.g.tellLimited(w, x.r, x.stay, over, f)
}

// mayAsk tells whether the client may ask for the models that the request names in its URL
// and in its body, or which one it may not.
func (x *exchange) mayAsk() (model string, ok bool) {
	if x.terms.Models == nil {
		return "", true
	}
	if name, strays := client.Strays(x.r, x.terms); strays {
		return name, false
	}
	if x.body == nil {
		return "", true
	}
	model, _ = x.body.ModelName()
	switch served := x.terms.Serves(model); {
	case !served:
		return model, false
	case x.body.Strays():
		return "", false // it is not the name that is known which it may not ask for
	}
	return model, true
}

// limitsOf returns what bounds the copies of bodies of a client with these terms: one whose
// models are not all must not name another one late, and none gets around its limits by what it
// calls its bodies.
func (g *Gateway) limitsOf(terms *quota.Terms) *replay.Limits {
	if l := g.restricted[terms]; l != nil {
		return l
	}
	return &g.replay
}

// restrict makes the limits of clients of whose bodies it matters what they say.
func (g *Gateway) restrict() {
	g.restricted = make(map[*quota.Terms]*replay.Limits)
	g.Desk.Each(func(t *quota.Terms) {
		if l := g.replay; t.Models != nil {
			l.AnyMedia, l.SelectsByModel, l.Serves = true, true, t.Serves
			g.restricted[t] = &l
		} else if t.Costs() {
			l.AnyMedia = true
			g.restricted[t] = &l
		}
	})
}

// needs makes the request hold of its client's limits what it may use.
func (x *exchange) needs(e peek.Estimate) {
	x.needed = usage.Tokens{usage.Input: e.Input, usage.Output: e.Output}
	x.stay.Raise(x.started.UnixNano(), quota.Need{Tokens: e.All(), Cost: x.cost(&x.needed)})
}

// cost returns what the tokens cost, in billionths of a dollar, where that counts for the
// client; 0 where nobody knows.
func (x *exchange) cost(t *usage.Tokens) int64 {
	if x.g.prices == nil || !x.terms.CostsMoney() {
		return 0
	}
	n, _ := x.g.prices.Cost(strings.TrimPrefix(x.report.Model(), "models/"), t)
	return int64(max(n, 0))
}

// told puts the client's limits into the answer's header.
func (x *exchange) told(header http.Header) { client.Tell(x.stay, header) }

// spent counts what the answer has used against the client's limits.
func (x *exchange) spent(now time.Time) {
	if x.stay == nil {
		return
	}
	used := quota.Need{Tokens: quota.Unknown, Cost: quota.Unknown}
	if t := x.report.Used.Used(); t != nil {
		used = quota.Need{Tokens: max(t.AllInput(), 0) + t.Known(usage.Output), Cost: x.cost(t)}
	}
	x.stay.Settle(now.UnixNano(), used)
	x.stay, x.terms = nil, nil
}

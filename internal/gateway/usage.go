package gateway

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/keycycler/keycycler/internal/usage"
)

// keepUsage has what is counted kept, if the state does that. gather brings what other nodes
// have counted; nil: nothing does.
func (g *Gateway) keepUsage() (gather func(context.Context)) {
	if !g.Usage || g.Keeper == nil {
		return nil
	}
	gather, g.unkeep = g.ledger.Keep(g.Keeper)
	return gather
}

// count begins to read what the answer says that it has used, if it is counted. What is
// asked for anew by GET was counted when it was made.
func (x *exchange) count(status int, header http.Header) {
	if !x.g.Usage && !x.terms.Costs() && !x.g.limitsTokens() || status < 200 || status > 299 || x.r.Method != http.MethodPost {
		return
	}
	x.counts, x.usage = true, usage.NewReader(header)
	if x.usage != nil {
		x.writer.ReadAlong(x.usage)
	}
}

// counted counts what the answer has used, of which no more comes. One that says nothing is
// counted as such if a model was asked for.
func (x *exchange) counted(now time.Time) {
	if !x.counts {
		return
	}
	if x.g.Usage || x.terms.Costs() {
		x.report.Used = x.used()
	}
	x.counts, x.usage = false, nil
	model := strings.TrimPrefix(x.report.Model(), "models/")
	if !x.g.Usage || x.report.Used == nil && model == "" {
		return
	}
	u := usage.Use{Client: x.report.Client, Model: model, Key: x.roster.Pool.Key(x.drawn.Slot).ID(), Tokens: x.report.Used.Used()}
	u.Cost = x.g.prices.Price(model, x.report.Used)
	x.g.ledger.Note(now, u)
	x.tracer.Usage(x.report.Used)
}

// used returns what the answer says, nil where it says nothing.
func (x *exchange) used() *usage.Bill {
	if x.usage == nil {
		return nil
	}
	t, ok := x.usage.Tokens()
	if !ok {
		return nil
	}
	if x.bill == nil {
		x.bill = new(usage.Bill)
	}
	*x.bill = usage.Bill{Tokens: t, Cost: usage.NotPriced}
	return x.bill
}

package gateway

import (
	"cmp"
	"net/http"
	"strings"
	"time"

	"github.com/keycycler/keycycler/internal/allowance"
	"github.com/keycycler/keycycler/internal/peek"
	"github.com/keycycler/keycycler/internal/replay"
	"github.com/keycycler/keycycler/rotator"
)

// limitsTokens tells whether it counts for keys' limits what requests use.
func (g *Gateway) limitsTokens() bool { return g.Limit != nil && g.Limit.Tokens > 0 }

// expect begins to estimate what the request will use, where that counts for its client or
// for keys. It tells whether it does for its client: more of the body is read for that, until
// it has stated how long the answer may be.
func (x *exchange) expect(r *http.Request) (costs bool) {
	if costs = x.terms.Costs() && replay.Has(r); !replay.Has(r) || !costs && !x.g.limitsTokens() {
		return false
	}
	x.estimate.Begin(peek.First(r.Header, "Content-Type"), costs)
	x.followers = append(x.followers, &x.estimate)
	return costs
}

// expected ends what expect began.
func (x *exchange) expected(costs bool) {
	if costs {
		x.needs(x.estimate.Estimate(x.r.ContentLength))
	}
	if x.g.limitsTokens() && x.body != nil {
		e := x.estimate.Estimate(x.r.ContentLength)
		x.want.Tokens = e.Input + x.g.habits.Expect(x.report.Model(), e.Output)
	}
	if x.g.Limit != nil && x.g.Limit.ByModel {
		x.want.Model = strings.TrimPrefix(x.report.Model(), "models/")
	}
}

// giveBack ends the attempt with the key. What it has used counts for the key's limits.
func (x *exchange) giveBack(pool *rotator.Pool, d rotator.Drawn) {
	if d.Held.By == nil {
		pool.End(d.Slot)
		return
	}
	pool.Finish(time.Now(), d, x.consumed())
}

// consumed returns what the attempt has used, as the provider counts: nothing where it has failed.
func (x *exchange) consumed() rotator.Used {
	if x.abandoned(x.writer.Status) {
		return rotator.Used{Unknown: true}
	}
	if !x.writer.Begun() || x.writer.Rejected() || x.writer.Status >= http.StatusBadRequest {
		return rotator.Used{}
	}
	used := x.usage.Spent(x.g.Provider.CachedFree)
	if x.g.limitsTokens() && x.body != nil && !used.Unknown {
		x.g.habits.Learn(x.report.Model(), x.estimate.Estimate(0).Output, used.Output)
	}
	return used
}

// left tells whether the client has left before its upstream has answered, as the status says
// that the next handler gives: reverse_proxy makes it up.
func (x *exchange) left(status int) bool {
	return status == statusClientGone && x.r.Context().Err() != nil
}

// abandoned tells whether the client has left while the upstream was at work for it: nobody
// knows what that has used, and an upstream counts it.
func (x *exchange) abandoned(status int) bool { return x.left(status) && x.body.Whole() }

// learn notes what an answer states of the key's limits.
func (x *exchange) learn(header http.Header, now time.Time) {
	if !x.nested() { // it is not another pool's key
		allowance.Learn(x.g.Provider.Dialect, header, now, x.roster.Pool, x.drawn.Slot, cmp.Or(x.want.Model, x.scope))
	}
}

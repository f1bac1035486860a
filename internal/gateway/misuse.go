package gateway

import (
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/keycycler/keycycler/internal/misuse"
	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/replay"
	"github.com/keycycler/keycycler/internal/roster"
	"github.com/keycycler/keycycler/internal/upstream"
	"github.com/keycycler/keycycler/rotator"
)

// slips are what requests have shown to be wrong with the config: one line of the log each.
type slips struct {
	addresses  misuse.Addresses
	carriage   misuse.Carriage
	lost       sync.Once
	nested     sync.Once
	unanswered sync.Once
	placed     atomic.Int32 // attempts with keys that have a place
	astray     sync.Once
}

// manyPlaced is for how many attempts it is looked whether keys with a place get there.
const manyPlaced = 64

// tellClash warns of another pool of the same name.
func (g *Gateway) tellClash() {
	if other := observe.Live.Clash(g.seen); other != "" {
		g.Logger.Warn("pools of one name have different providers: lists and metrics mix them up",
			zap.String("provider", g.Provider.Name), zap.String("other_provider", other))
	}
}

// tellNested warns of a request that comes within an attempt of another pool's, unless a
// handler there has taken it up again that has seen an answer of the upstream: a fallback.
// The other pool does not judge what this one answers: it is no answer to its key.
func (g *Gateway) tellNested(outer *observe.Report, r *http.Request) {
	if outer == nil || replay.CameBack(r) {
		return
	}
	outer.Outcome = observe.OutcomeNested
	g.slips.nested.Do(func() {
		g.Logger.Warn("keycycler stands behind another keycycler: requests go out with the keys of this pool alone",
			zap.String("other_pool", outer.Pool.Name))
	})
}

// tellSlips tells of an attempt that nobody has answered, or whose key did not go out.
func (x *exchange) tellSlips(err error) {
	if err == nil && !x.writer.Begun() && x.report.Unhandled() {
		x.g.slips.unanswered.Do(func() {
			x.g.Logger.Error("no handler stands behind keycycler: add reverse_proxy, or clients get an empty answer")
		})
	}
	if err != nil && x.sight.Blank() {
		x.g.slips.carriage.Arm() // there was no connection
	}
	name := x.sight.Lost()
	if x.sight = nil; name != "" && !x.nested() {
		x.g.slips.lost.Do(func() {
			x.g.Logger.Warn("the key does not reach the upstream: a handler behind keycycler replaces or deletes its header", zap.String("header", name))
		})
	}
}

// tellAstray tells of a key that did not go where it works, or not by its proxy.
func (x *exchange) tellAstray() {
	sent := x.looked
	if x.looked = nil; sent == nil || x.nested() {
		return
	}
	site, address := x.roster.Place(x.drawn.Slot).Site, x.report.Address()
	elsewhere := site.Scheme != "" && address != site.Dial
	if address == "" || !elsewhere && (site.Proxy == "" || sent.context.Proxied()) {
		return
	}
	x.g.slips.astray.Do(func() {
		at := []zap.Field{zap.Stringer("key_id", x.roster.Pool.Key(x.drawn.Slot)), zap.String("goes_to", address)}
		if elsewhere {
			x.g.Logger.Warn("a key goes to another address than its upstream: put 'dynamic keycycler' into reverse_proxy, in place of its addresses", append(at, zap.Stringer("upstream", site))...)
			return
		}
		x.g.Logger.Warn("a key does not go by its proxy: put 'transport keycycler' into reverse_proxy", append(at, zap.Stringer("proxy", site.Proxy))...)
	})
}

// nested tells whether another pool serves the attempt.
func (x *exchange) nested() bool { return x.report.Outcome == observe.OutcomeNested }

// lookOut looks, now and then, at whether the key reaches the upstream.
func (x *exchange) lookOut(sent *attempt) {
	due := x.g.slips.carriage.Due()
	if x.roster.Place(x.drawn.Slot).Site != (upstream.Site{}) && (due || x.g.slips.placed.Load() < manyPlaced) {
		x.g.slips.placed.Add(1)
		x.looked = sent
	}
	if due {
		secret := x.roster.Pool.Key(x.drawn.Slot).Secret()
		sent.context.Context, x.sight = misuse.Look(sent.context.Context, sent.Request.Header, secret)
	}
}

// doubtAddress notes that the key was refused for a reason that may be the address's.
func (x *exchange) doubtAddress(now time.Time, r rotator.Refusal) {
	if !slices.Contains(roster.Unfit, r.Reason) {
		return
	}
	x.g.slips.carriage.Arm()
	if x.roster.Place(x.drawn.Slot).Site == (upstream.Site{}) {
		x.pardon(now, x.g.slips.addresses.Refuse(x.roster.Pool.Key(x.drawn.Slot).ID(), x.report.Address()))
	}
}

// atAddress notes where the key has served, if that is of interest.
func (x *exchange) atAddress(now time.Time) {
	if !x.g.slips.addresses.Watches() {
		return
	}
	key, address := x.roster.Pool.Key(x.drawn.Slot), x.report.Address()
	served := x.g.slips.addresses.Serve(key.ID(), address)
	x.pardon(now, served.Pardoned)
	if served.Tell {
		x.g.Logger.Warn("keys are refused at one address of reverse_proxy and serve at another: give each key its upstream",
			zap.Stringer("key_id", key), zap.String("serves_at", address), zap.String("refused_at", served.RefusedAt))
	}
}

// pardon makes keys ready that were convicted of being invalid.
func (x *exchange) pardon(now time.Time, keys []rotator.ID) {
	for _, id := range keys {
		p, ok := x.roster.Find(id)
		if ok && slices.Contains(roster.Unfit, p.Status(now).Reason) {
			p.Pool.Serve(now, now, p.Slot, "")
		}
	}
}

// believed returns what the key is convicted of, now that another one has served its
// request: of next to nothing, where that may be its address's fault.
func (x *exchange) believed(m *met) rotator.Refusal {
	r := m.refusal
	if slices.Contains(roster.Unfit, r.Reason) {
		r.For = x.g.slips.addresses.Rest(m.pool.Key(m.asked).ID(), r.Step, r.For)
	}
	return r
}

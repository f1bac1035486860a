package gateway

import (
	"bytes"
	"cmp"
	"hash/maphash"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/keycycler/keycycler/internal/blame"
	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/peek"
	"github.com/keycycler/keycycler/internal/reason"
	"github.com/keycycler/keycycler/internal/respond"
	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/ttl"
)

// met is what a request has met: keys that have refused it, for no reason that is proven.
type met struct {
	pool    *rotator.Pool
	asked   rotator.Slot
	slots   []rotator.Slot // that one, and those that share its limits
	refusal rotator.Refusal
	status  int
}

// again returns when the request may ask the key again.
func (m *met) again() time.Time { return m.refusal.At.Add(max(m.refusal.Step, m.refusal.Stated)) }

// answer is a refusal that the client gets where no key serves its request.
type answer struct {
	*respond.Kept
	weight int
}

// refuse notes that the key has refused the request.
func (x *exchange) refuse(now time.Time, status int, v blame.Verdict) {
	if x.nested() {
		return // it was another pool's key
	}
	x.limited = x.limited || v.Limit()
	scope := ""
	if v.Limit() {
		x.scope = x.scopeNow() // more of the body may have come
		scope = x.scope
	}
	if v.Class == ttl.QuotaExhausted && x.namesModel() {
		scope = x.scope
	}
	slots := x.concerned(v)
	if v.Proven {
		x.convict(now, status, v, scope, slots)
		return
	}
	x.suspect(now, status, v, scope, slots)
}

// concerned returns which keys the refusal is about.
func (x *exchange) concerned(v blame.Verdict) []rotator.Slot {
	if v.OfAccount() {
		return x.roster.Family(x.drawn.Slot)
	}
	return []rotator.Slot{x.drawn.Slot}
}

// namesModel tells whether the refusal names the request's model: then it is about that.
func (x *exchange) namesModel() bool {
	x.scope = x.scopeNow()
	body := peek.Decode(x.writer.Head.Get("Content-Encoding"), x.writer.Held)
	return len(x.scope) > 2 && bytes.Contains(body, []byte(x.scope))
}

// convict makes keys cool for what is their own fault, as the answer says.
func (x *exchange) convict(now time.Time, status int, v blame.Verdict, scope string, slots []rotator.Slot) {
	moved := false
	for _, s := range slots {
		cools := x.roster.Pool.Cool(now, s, v.Conviction(scope))
		moved = moved || cools && s == x.drawn.Slot
	}
	if moved {
		x.tellCooling(x.roster.Pool, x.drawn.Slot, status, v.Conviction(scope), v.Cooldown, v.Spent)
	}
}

// suspect makes keys suspects: nobody knows whose fault it was.
func (x *exchange) suspect(now time.Time, status int, v blame.Verdict, scope string, slots []rotator.Slot) {
	m := met{x.roster.Pool, x.drawn.Slot, slots, v.Refusal(scope, x.latest, now, x.g.Policy.Max), status}
	x.doubtAddress(now, m.refusal)
	news := false
	for _, s := range slots {
		fresh := m.pool.Suspect(s, m.refusal)
		news = news || fresh && s == x.drawn.Slot
	}
	x.met = append(x.met, m)
	x.hold(m.pool, slots)
	x.want.Refused = true
	x.want.Limited = x.want.Limited || x.drawn.Suspect
	x.g.pace.Refuse(now, x.shape(), v.Limit(), v.Stated)
	if news && m.refusal.Shown {
		x.tellCooling(m.pool, x.drawn.Slot, status, m.refusal.Cooldown, v.Cooldown, false)
	}
}

// hold keeps others from finding out about the keys: the request will.
func (x *exchange) hold(pool *rotator.Pool, slots []rotator.Slot) {
	for _, s := range slots {
		pool.Hold(s)
	}
	x.held = append(x.held, holding{pool, slots})
}

// holding is keys of which the request finds out what they are worth.
type holding struct {
	pool  *rotator.Pool
	slots []rotator.Slot
}

// release lets others find out about the keys.
func (x *exchange) release() {
	for _, h := range x.held {
		for _, s := range h.slots {
			h.pool.Release(s)
		}
	}
	clear(x.held)
	x.held = x.held[:0]
}

// tellCooling tells people of a key that cools, or counts as one that does.
func (x *exchange) tellCooling(pool *rotator.Pool, s rotator.Slot, status int, cool rotator.Cooldown, rests time.Duration, spent bool) {
	x.g.metrics.Cooldown(pool.Key(s).ID(), reason.Name(cool.Reason), cool.Source)
	c := &observe.CooledKey{
		Pool: x.g.Pool, Key: pool.Key(s), Name: x.nameOf(pool, s), Status: status,
		Class: reason.Name(cool.Reason), Source: cool.Source, Scope: cmp.Or(cool.Scope, reason.ScopeKey),
		Rests: rests, Spent: spent,
	}
	x.g.announcer.LogCooling(*c)
	if !spent {
		x.cooled = append(x.cooled, c)
	}
}

// nameOf returns the key's name, "" for none. Since the request met the key, other keys may
// have been read.
func (x *exchange) nameOf(pool *rotator.Pool, s rotator.Slot) string {
	place, ok := observe.Place{Index: x.roster.Index, Slot: s}, true
	if pool != x.roster.Pool {
		place, ok = x.roster.Find(pool.Key(s).ID())
	}
	if !ok {
		return ""
	}
	return place.Name()
}

// served notes that the upstream has taken the request: the key is good, and those that
// have refused the request are not.
func (x *exchange) served() {
	now, pool := time.Now(), x.roster.Pool
	x.g.history.Serve(now)
	x.g.sawReady(now, cmp.Or(x.scope, x.model))
	if pool.Serve(now, x.latest, x.drawn.Slot, x.scope) {
		x.g.announcer.Back(observe.Place{Index: x.roster.Index, Slot: x.drawn.Slot})
	}
	x.atAddress(now)
	x.moveIn()
	for i := range x.met {
		x.compare(now, &x.met[i])
	}
	x.release()
	if x.g.pace.Serve(x.latest) {
		x.g.announcer.Reopened()
		x.g.room.Wake()
	}
}

// compare convicts keys that have refused what another one has served.
func (x *exchange) compare(now time.Time, m *met) {
	refusal := x.believed(m)
	for _, s := range m.slots {
		if m.pool.Convict(now, s, refusal) && !m.refusal.Shown && s == m.asked {
			x.tellCooling(m.pool, s, m.status, m.refusal.Cooldown, m.refusal.For, false)
		}
	}
}

// keep keeps the answer, if it says more to its client than those before.
func (x *exchange) keep(w *respond.Writer, v blame.Verdict) {
	k := w.Keep()
	if weight := v.Weight(x.drawn.Convicted); k != nil && (x.answer.Kept == nil || weight > x.answer.weight) {
		x.answer = answer{k, weight}
	}
	x.leave(w, k)
	x.repeat()
}

// repeat lets others of the request's shape have the answer that its client gets, as long
// as the pace holds them back.
func (x *exchange) repeat() {
	if x.says() != nil && x.answer.Size() <= maxRepeated && x.g.pace.Active() {
		x.g.pace.Answer(x.shape(), repeated{x.answer.Kept, codings(x.r)})
	}
}

// repeated is an answer for others of its request's shape. One in a content coding is for
// those who take the same.
type repeated struct {
	*respond.Kept
	codings string // that its own client takes
}

// fits tells whether the request's client can read the answer.
func (a *repeated) fits(r *http.Request) bool { return !a.Coded() || a.codings == codings(r) }

// codings returns which content codings the request's client says that it takes.
func codings(r *http.Request) string { return strings.Join(r.Header["Accept-Encoding"], ",") }

// maxRepeated is the largest answer that is kept for others of its shape, in bytes, with its
// headers.
const maxRepeated = 4 << 10

// says returns the upstream's answer that the client gets where no key serves its
// request, nil where the pool knows more: of limits.
func (x *exchange) says() *respond.Kept {
	if x.limited && x.answer.weight <= blame.LimitWeight {
		return nil
	}
	return x.answer.Kept
}

// admit tells whether the pace lets the request out, which comes or has waited; if not,
// it returns for how long the request would have to wait.
func (x *exchange) admit(now time.Time) (wait time.Duration, ok bool) {
	pace := x.g.pace
	if !pace.Active() || x.g.judge.ToTheLetter {
		return 0, true
	}
	pace.Heed(x.roster.Pool.Clearings())
	pass := pace.Admit(now, x.shape(), x.othersReady(now))
	if pass.Begins {
		x.g.announcer.Paced()
	}
	if a, ok := pass.Answer.(repeated); ok && a.fits(x.r) {
		x.answer.Kept = a.Kept
	}
	if x.allowed = 0; pass.Calls > 0 {
		x.allowed = x.calls + pass.Calls
	}
	return pass.Wait, pass.Goes
}

// paced tells whether the request stops trying: the pool has come to be paced meanwhile,
// or it was let out for so many calls.
func (x *exchange) paced(now time.Time) bool {
	if x.allowed > 0 {
		return x.calls >= x.allowed
	}
	return x.calls > 0 && x.g.pace.Holds(now, x.othersReady(now))
}

// othersReady tells whether keys are ready that nothing is held against.
func (x *exchange) othersReady(now time.Time) func() bool {
	return func() bool {
		return x.roster.Pool.CensusFor(now, rotator.Want{Scope: x.scope, Shut: x.shut()}).Free > 0
	}
}

var shapeSeed = maphash.MakeSeed()

// shape returns what the request has in common with others that are refused for the same
// reason.
func (x *exchange) shape() blame.Shape {
	var h maphash.Hash
	h.SetSeed(shapeSeed)
	ip, _ := caddyhttp.GetVar(x.r.Context(), caddyhttp.ClientIPVarKey).(string)
	for _, part := range []string{x.report.Client, ip, x.r.Method, x.r.URL.Path, x.report.Model()} {
		h.WriteString(part)
		h.WriteByte(0)
	}
	return blame.Shape(h.Sum64())
}

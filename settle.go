package keycycler

import (
	"cmp"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/ttl"
)

// holds implements attemptOwner.
func (x *exchange) holds(status int) bool { return x.g.judge.holds(status) }

// passed implements attemptOwner: no other attempt will need the body, nor will anybody
// else whom the answer does not come to.
func (x *exchange) passed() {
	if x.body != nil && !isBuffered(x.writer.client) {
		x.body.commit()
	}
}

// commit implements attemptOwner.
func (x *exchange) commit(status int, header http.Header) {
	x.answered()
	x.report.settle()
	if x.shows {
		if l := newLearner(x.g.resources, x.roster.pool, x.slot, status, header, time.Now()); l != nil {
			x.writer.learner = l
		}
	}
	if !x.judged && status < http.StatusInternalServerError {
		x.served()
	}
	if x.g.judge.mayBeSpent(status, header) {
		now := time.Now()
		if v, ok := x.g.judge.ahead(status, header, now); ok {
			x.cool(now, status, v)
		}
	}
}

// blame implements attemptOwner: the client has the response, the key cools all the
// same.
func (x *exchange) blame(status int, body []byte) {
	now := time.Now()
	payload, _ := firstEvent(body)
	v := x.g.judge.judgeEvent(status, payload, now, rand.Float64())
	x.note(now, v)
	if v.action == actionCooldown {
		x.cool(now, status, v)
	}
}

// settle implements attemptOwner: it judges the held response and cools the key.
func (x *exchange) settle(w *attemptWriter) bool {
	x.answered()
	now := time.Now()
	v := x.verdict(w, now)
	x.note(now, v)
	if v.action == actionCooldown {
		before := len(x.sentences)
		x.cool(now, w.status, v)
		if fresh := x.sentences[before:]; !x.doubting && (x.acquits(now, v, fresh) || x.blameless(now, v, fresh)) {
			v.action = actionPass
		}
	}
	pass := v.action == actionPass || x.body != nil && !x.body.reject()
	if pass {
		w.held = maskResponse(w.header, w.held, w.whole, x.roster.pool.Key(x.slot).Secret())
	}
	return pass
}

// verdict judges the held response: what it is or, where it is a success, what its
// body begins with.
func (x *exchange) verdict(w *attemptWriter, now time.Time) verdict {
	if w.status != http.StatusOK {
		return x.g.judge.judge(ttl.Response{
			Status: w.status,
			Header: w.header,
			Body:   decode(w.header.Get("Content-Encoding"), w.held),
			Now:    now,
		}, rand.Float64())
	}
	body := w.held
	if isEventStream(w.header.Get("Content-Type")) {
		body, _ = firstEvent(body)
	}
	return x.g.judge.judgeEvent(w.status, body, now, rand.Float64())
}

// note counts what the response was judged to be.
func (x *exchange) note(now time.Time, v verdict) {
	x.judged, x.class = v.class != ttl.OK || v.action != actionPass, v.class
	if x.judged {
		x.roster.pool.Reject(x.slot, v.reason())
		x.g.history.note(now, v.reason())
	}
}

// cool takes the key out of the draw.
func (x *exchange) cool(now time.Time, status int, v verdict) {
	term := rotator.Cooldown{For: v.cooldown, Reason: v.reason(), Source: v.source}
	if v.class == ttl.RateLimited {
		x.scope = x.scopeNow() // more of the body may have come
		term.Scope = x.scope
	}
	pool, slots := x.roster.pool, []rotator.Slot{x.slot}
	if v.class == ttl.RateLimited || v.class == ttl.QuotaExhausted {
		slots = x.roster.family(x.slot)
	}
	moved := false
	for _, s := range slots {
		token, cools := pool.CoolRevocably(now, s, term)
		if !cools {
			continue
		}
		moved = moved || s == x.slot
		if !v.spent {
			x.sentences = append(x.sentences, sentence{pool, token})
		}
	}
	x.g.doubts.plan(now, cooldownOf{pool.Key(x.slot).ID(), term.Scope}, v.cooldown)
	if !moved {
		return
	}
	x.g.metrics.cooldown(reasonName(v.reason()), v.source)
	c := &cooledKey{
		pool: x.g.Pool, key: x.roster.pool.Key(x.slot), status: status,
		class: reasonName(v.reason()), source: v.source, scope: cmp.Or(term.Scope, scopeKey),
		rests: v.cooldown, spent: v.spent,
	}
	x.g.announcer.logCooling(*c)
	if !v.spent {
		x.cooled = c
	}
}

// blameless notes that one more key has refused the request, of which fresh came,
// and tells whether the key cannot be to blame: then the client gets the upstream's
// answer.
func (x *exchange) blameless(now time.Time, v verdict, fresh []sentence) bool {
	last := x.roster.pool.CensusIn(now, x.scope).Ready == 0
	ruled, back := x.g.guard.refuse(now, &x.run, last, x.sentences, fresh, now.Add(v.cooldown))
	takeBack(now, back)
	if ruled == goOn {
		return false
	}
	x.g.metrics.stopped.Inc()
	x.g.announcer.stopped(x.run.length, ruled == shut)
	return true
}

// answered notes that the attempt has its answer, whatever that is.
func (x *exchange) answered() {
	if x.open {
		x.open = false
		x.g.guard.open.Add(-1)
	}
}

// served notes that the upstream has taken the request.
func (x *exchange) served() {
	x.roster.pool.Serve(x.latest, x.slot)
	if x.doubting {
		x.dispel(time.Now())
	}
	back, reopened := x.g.guard.serve(x.latest)
	if len(back) > 0 {
		takeBack(time.Now(), back)
	}
	if reopened {
		x.g.announcer.reopened(len(back))
		x.g.room.wake()
	}
}

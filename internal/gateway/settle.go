package gateway

import (
	"cmp"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/keycycler/keycycler/internal/blame"
	"github.com/keycycler/keycycler/internal/credential"
	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/peek"
	"github.com/keycycler/keycycler/internal/reason"
	"github.com/keycycler/keycycler/internal/replay"
	"github.com/keycycler/keycycler/internal/resource"
	"github.com/keycycler/keycycler/internal/respond"
	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/ttl"
)

// Holds implements attemptOwner.
func (x *exchange) Holds(status int) bool { return x.g.judge.Holds(status) }

// Passed implements attemptOwner: no other attempt will need the body, nor will anybody
// else whom the answer does not come to.
func (x *exchange) Passed() {
	if x.body != nil && !replay.IsBuffered(x.writer.Client) {
		x.body.Commit()
	}
}

// Commit implements attemptOwner.
func (x *exchange) Commit(status int, header http.Header) {
	x.answered()
	x.report.Settle()
	if x.shows {
		if l := resource.NewLearner(x.g.resources, x.roster.Pool, x.slot, status, header, time.Now()); l != nil {
			x.writer.Learner = l
		}
	}
	if !x.judged && status < http.StatusInternalServerError {
		x.served()
	}
	if x.g.judge.MayBeSpent(status, header) {
		now := time.Now()
		if v, ok := x.g.judge.Ahead(status, header, now); ok {
			x.cool(now, status, v)
		}
	}
}

// Blame implements attemptOwner: the client has the response, the key cools all the
// same.
func (x *exchange) Blame(status int, body []byte) {
	now := time.Now()
	payload, _ := peek.FirstEvent(body)
	v := x.g.judge.JudgeEvent(status, payload, now, rand.Float64())
	x.note(now, v)
	if v.Action == blame.ActionCooldown {
		x.cool(now, status, v)
	}
}

// Settle implements attemptOwner: it judges the held response and cools the key.
func (x *exchange) Settle(w *respond.Writer) bool {
	x.answered()
	now := time.Now()
	v := x.verdict(w, now)
	x.note(now, v)
	if v.Action == blame.ActionCooldown {
		before := len(x.sentences)
		x.cool(now, w.Status, v)
		if fresh := x.sentences[before:]; !x.doubting && (x.acquits(now, v, fresh) || x.blameless(now, v, fresh)) {
			v.Action = blame.ActionPass
		}
	}
	pass := v.Action == blame.ActionPass || x.body != nil && !x.body.Reject()
	if pass {
		w.Held = credential.Mask(w.Head, w.Held, w.Whole, x.roster.Pool.Key(x.slot).Secret())
	}
	return pass
}

// verdict judges the held response: what it is or, where it is a success, what its
// body begins with.
func (x *exchange) verdict(w *respond.Writer, now time.Time) blame.Verdict {
	if w.Status != http.StatusOK {
		return x.g.judge.Judge(ttl.Response{
			Status: w.Status,
			Header: w.Head,
			Body:   said(w),
			Now:    now,
		}, rand.Float64())
	}
	return x.g.judge.JudgeEvent(w.Status, said(w), now, rand.Float64())
}

// said returns what the held response says: its body without its coding, or a stream's
// first event.
func said(w *respond.Writer) []byte {
	body := peek.Decode(w.Head.Get("Content-Encoding"), w.Held)
	if peek.IsEventStream(w.Head.Get("Content-Type")) {
		if data, _ := peek.FirstEvent(body); data != nil {
			return data
		}
	}
	return body
}

// note counts what the response was judged to be.
func (x *exchange) note(now time.Time, v blame.Verdict) {
	x.judged, x.class = v.Class != ttl.OK || v.Action != blame.ActionPass, v.Class
	if x.judged {
		x.roster.Pool.Reject(x.slot, v.Reason())
		x.g.history.Note(now, v.Reason())
	}
}

// cool takes the key out of the draw.
func (x *exchange) cool(now time.Time, status int, v blame.Verdict) {
	term := rotator.Cooldown{For: v.Cooldown, Reason: v.Reason(), Source: v.Source}
	if v.Class == ttl.RateLimited {
		x.scope = x.scopeNow() // more of the body may have come
		term.Scope = x.scope
	}
	pool, slots := x.roster.Pool, []rotator.Slot{x.slot}
	if v.Class == ttl.RateLimited || v.Class == ttl.QuotaExhausted {
		slots = x.roster.family(x.slot)
	}
	moved := false
	for _, s := range slots {
		token, cools := pool.CoolRevocably(now, s, term)
		if !cools {
			continue
		}
		moved = moved || s == x.slot
		if !v.Spent {
			x.sentences = append(x.sentences, blame.Sentence{Pool: pool, Token: token})
		}
	}
	x.g.doubts.Plan(now, blame.CooldownOf{Key: pool.Key(x.slot).ID(), Scope: term.Scope}, v.Cooldown)
	if !moved {
		return
	}
	x.g.metrics.Cooldown(reason.Name(v.Reason()), v.Source)
	c := &observe.CooledKey{
		Pool: x.g.Pool, Key: x.roster.Pool.Key(x.slot), Status: status,
		Class: reason.Name(v.Reason()), Source: v.Source, Scope: cmp.Or(term.Scope, reason.ScopeKey),
		Rests: v.Cooldown, Spent: v.Spent,
	}
	x.g.announcer.LogCooling(*c)
	if !v.Spent {
		x.cooled = c
	}
}

// blameless notes that one more key has refused the request, of which fresh came,
// and tells whether the key cannot be to blame: then the client gets the upstream's
// answer.
func (x *exchange) blameless(now time.Time, v blame.Verdict, fresh []blame.Sentence) bool {
	last := x.roster.Pool.CensusIn(now, x.scope).Ready == 0
	ruled, back := x.g.guard.Refuse(now, &x.run, last, x.sentences, fresh, now.Add(v.Cooldown))
	blame.TakeBack(now, back)
	if ruled == blame.GoOn {
		return false
	}
	x.g.metrics.Stopped.Inc()
	x.g.announcer.Stopped(x.run.Length, ruled == blame.Shut)
	return true
}

// answered notes that the attempt has its answer, whatever that is.
func (x *exchange) answered() {
	if x.open {
		x.open = false
		x.g.guard.Open.Add(-1)
	}
}

// served notes that the upstream has taken the request.
func (x *exchange) served() {
	x.roster.Pool.Serve(x.latest, x.slot)
	if x.doubting {
		x.dispel(time.Now())
	}
	back, reopened := x.g.guard.Serve(x.latest)
	if len(back) > 0 {
		blame.TakeBack(time.Now(), back)
	}
	if reopened {
		x.g.announcer.Reopened(len(back))
		x.g.room.wake()
	}
}

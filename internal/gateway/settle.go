package gateway

import (
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/keycycler/keycycler/internal/blame"
	"github.com/keycycler/keycycler/internal/credential"
	"github.com/keycycler/keycycler/internal/peek"
	"github.com/keycycler/keycycler/internal/replay"
	"github.com/keycycler/keycycler/internal/resource"
	"github.com/keycycler/keycycler/internal/respond"
	"github.com/keycycler/keycycler/ttl"
)

// Holds implements attemptOwner.
func (x *exchange) Holds(status int) bool { return x.g.judge.Holds(status) }

// Passed implements attemptOwner: no other attempt will need the body, nor will anybody
// else whom the answer does not come to.
func (x *exchange) Passed() {
	if x.passed = x.body != nil && !replay.IsBuffered(x.writer.Client); x.passed {
		x.body.Commit()
	}
}

// Commit implements attemptOwner.
func (x *exchange) Commit(status int, header http.Header) {
	x.heard(status)
	x.report.Settle()
	if x.shows {
		if l := resource.NewLearner(x.g.resources, x.roster.Pool, x.drawn.Slot, status, header, time.Now()); l != nil {
			x.writer.ReadAlong(l)
		}
	}
	x.count(status, header)
	if x.abandoned(status) {
		x.stay.Abandon()
	} else {
		x.stay.Answer(status)
	}
	if !x.judged && status < http.StatusInternalServerError && !x.left(status) {
		x.served()
	}
	states, spent := x.g.judge.Speaks(status, header)
	if states {
		x.learn(header, time.Now())
	}
	if spent {
		now := time.Now()
		if v, ok := x.g.judge.Ahead(status, header, now); ok {
			x.refuse(now, status, v)
		}
	}
	x.told(header) // in the place of what the upstream says of the key, which was read by now
	if x.roster.Injector.InURL() {
		maskHeaders(&x.writer, header, x.roster.Pool.Key(x.drawn.Slot).Secret())
	}
}

// Blame implements attemptOwner: the client has the response, the key cools all the
// same.
func (x *exchange) Blame(status int, events []byte) bool {
	now := time.Now()
	for payload := range peek.Events(events) {
		v := x.g.judge.JudgeEvent(status, payload, now, rand.Float64())
		x.note(now, v)
		if v.Action == blame.ActionCooldown {
			x.refuse(now, status, v)
		}
		if x.judged {
			return true
		}
	}
	return false
}

// Settle implements attemptOwner: it judges the held response, and says what follows for
// the key.
func (x *exchange) Settle(w *respond.Writer) bool {
	x.heard(w.Status)
	now := time.Now()
	x.learn(w.Head, now)
	v := x.verdict(w, now)
	if v.Action == blame.ActionAway && !x.away() {
		v.Action = blame.ActionPass
	}
	x.note(now, v)
	if v.Action == blame.ActionCooldown {
		x.refuse(now, w.Status, v)
	}
	pass := v.Action == blame.ActionPass || x.body != nil && !x.body.Reject()
	mask(w, x.roster.Pool.Key(x.drawn.Slot).Secret())
	if !pass {
		x.keep(w, v)
	}
	return pass
}

// mask blots the key out of all that is held of the response.
func mask(w *respond.Writer, secret string) {
	w.Held = credential.Mask(w.Head, w.Held, w.Whole, secret)
	maskHeaders(w, w.Late, secret)
}

// maskHeaders blots the key out of the header and of the hints before it.
func maskHeaders(w *respond.Writer, h http.Header, secret string) {
	for _, hints := range w.Early {
		credential.MaskHeader(hints, secret)
	}
	credential.MaskHeader(h, secret)
}

// verdict judges the held response: what it is or, where it is a success, what its
// body begins with.
func (x *exchange) verdict(w *respond.Writer, now time.Time) blame.Verdict {
	if x.nested() || x.left(w.Status) {
		return blame.Verdict{Action: blame.ActionPass}
	}
	if w.Status != http.StatusOK {
		return x.g.judge.Judge(ttl.Response{
			Status: w.Status,
			Header: w.Head,
			Body:   peek.Said(w.Head, w.Held),
			Now:    now,
		}, rand.Float64())
	}
	return x.g.judge.JudgeEvent(w.Status, peek.Said(w.Head, w.Held), now, rand.Float64())
}

// note counts what the response was judged to be.
func (x *exchange) note(now time.Time, v blame.Verdict) {
	x.judged, x.class = v.Class != ttl.OK || v.Action != blame.ActionPass, v.Class
	if x.judged && v.Action != blame.ActionAway {
		x.roster.Pool.Reject(x.drawn.Slot, v.Reason())
		x.g.history.Note(now, v.Reason())
	}
}

// answered notes that the attempt has its answer, whatever that is.
func (x *exchange) answered() {
	if x.open {
		x.open = false
		x.g.pace.Call(-1)
	}
}

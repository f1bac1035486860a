package keycycler

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/ttl"
)

// statusClientGone is what Caddy's access log shows for a client that has left.
const statusClientGone = 499

// exchange is one client request on its way through the attempts.
type exchange struct {
	g      *gateway
	r      *http.Request
	body   *replayBody // nil when the request has none
	roster *roster
	slot   rotator.Slot
	owner  rotator.ID     // of the key that has made what the request names, …
	bound  bool           // … if it is known
	shows  bool           // the answer is about resources
	scope  string         // of the request: the model that it names, or "" for all
	tried  []rotator.Slot // of the roster
	calls  int            // to the upstream
	judged bool           // the attempt's response was judged to be of the …
	class  ttl.Class
	cooled *cooledKey // the attempt's key, if it cools by it

	affinity rotator.Affinity // the key that the request prefers

	run       run        // the keys in a row that have refused the request …
	sentences []sentence // … and cool for it
	suspects  []suspect  // those of them that have served others lately
	open      bool       // the attempt has no answer yet

	doubting bool       // the attempt's key cools, and is doubted to
	doubts   cooldownOf // what it cools for

	started time.Time
	waited  time.Duration // for keys
	gone    bool          // the client has left meanwhile
	stopped bool          // the process stops
	latest  time.Time     // when the last attempt began, or there was none any more
	record  *record
	report  *report // the record's
	tracer  tracer
	writer  attemptWriter
}

// record is what outlives the exchange: access logs ask the report after the handler is
// back, and late reads the body. Both are one allocation.
type record struct {
	report report
	body   replayBody
}

// usualAttempts is how many attempts an exchange has room for without allocating.
const usualAttempts = 15

var exchanges = sync.Pool{New: func() any {
	x := &exchange{tried: make([]rotator.Slot, 0, usualAttempts)}
	x.writer.owner = x
	return x
}}

// ServeHTTP sends the request with one key after the other until a response is
// the client's.
func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) (err error) {
	client, presented, ok := g.letIn(r)
	if !ok {
		return g.unauthorized(w, r, presented)
	}
	if err := refuse(w, r, g.Provider, g.Auth); err != nil {
		return err
	}
	x := exchanges.Get().(*exchange)
	x.begin(g, w, r)
	defer func() { x.end(err) }()
	x.report.client = client
	for now := x.started; ; now = time.Now() {
		x.latest = now
		if wait, ok := g.guard.admits(now); !ok {
			return x.refused(w, wait)
		}
		if x.over(now) || !x.next(now) || !x.replayable() {
			return x.unserved(w)
		}
		g.sawReady()
		x.tried = append(x.tried, x.slot)
		x.calls++
		if err := x.attempt(next); !x.writer.rejected() {
			return err
		}
		x.writer.base.restore(w.Header())
		if r.Context().Err() != nil {
			return x.canceled(w)
		}
	}
}

func (x *exchange) begin(g *gateway, w http.ResponseWriter, r *http.Request) {
	x.g, x.r = g, r
	x.record, x.tracer = new(record), tracerFor(r)
	x.report = &x.record.report
	x.report.begin(r)
	x.report.pool = g.Pool
	x.roster = g.roster.Load()
	x.report.path = r.URL.Path
	follower := x.follow(r)
	if hasBody(r) {
		x.body = &x.record.body
		x.report.body = x.body
		if follower != nil {
			x.body.follower = follower
		}
		x.body.begin(r, g.replay)
		x.body.follower = nil
	}
	x.followed(follower)
	x.scope, x.affinity = x.scopeNow(), g.affinity(r)
	x.started = time.Now()
	x.writer.client = w
	x.writer.base.take(w.Header())
}

// replayable tells whether the attempt that is about to begin gets the whole body. If
// not, it must not begin.
func (x *exchange) replayable() bool {
	if x.calls == 0 || x.body == nil || x.body.replayable() {
		return true
	}
	x.roster.pool.End(x.slot)
	return false
}

// endBody gives the body back: to who comes after us, if somebody may want it, or else
// for good.
func (x *exchange) endBody(err error) {
	if x.body == nil {
		return
	}
	if err == nil && !isBuffered(x.writer.client) {
		x.body.finish()
	} else if source := x.r.Body; !x.body.handOver(x.r) {
		source.Close() // who reads it is told
	}
}

func (x *exchange) end(err error) {
	x.g.metrics.attempts.Observe(float64(x.calls))
	x.g.metrics.wait.Observe(x.latest.Sub(x.started).Seconds())
	x.endBody(err)
	x.report.settle()
	x.writer.endLearning()
	x.writer.forget()
	x.g, x.r, x.body, x.roster = nil, nil, nil, nil
	x.record, x.report, x.tracer, x.cooled = nil, nil, tracer{}, nil
	x.scope, x.doubts = "", cooldownOf{}
	x.tried, x.calls, x.waited, x.gone, x.stopped = x.tried[:0], 0, 0, false, false
	clear(x.sentences)
	clear(x.suspects)
	x.suspects = x.suspects[:0]
	x.run, x.sentences = run{}, x.sentences[:0]
	exchanges.Put(x)
}

// affinity returns which key the request prefers, none if the placeholder is unknown or
// empty.
func (g *gateway) affinity(r *http.Request) rotator.Affinity {
	if g.Hash == "" {
		return 0
	}
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return 0
	}
	value, _ := repl.GetString(g.Hash)
	return rotator.AffinityOf(value)
}

// pick draws a key for the next attempt, which must follow: it counts from here. Keys that were removed meanwhile are not
// among them.
func (x *exchange) pick(now time.Time) (ok bool) {
	if r := x.g.roster.Load(); r != x.roster {
		x.roster, x.tried = r, x.tried[:0]
	}
	x.doubting = false
	among := x.among()
	if among == nil && x.doubt(now) {
		return true
	}
	x.slot, ok = x.roster.pool.Take(now, rotator.Want{Scope: x.scope, Tried: x.tried, Affinity: x.affinity, Among: among})
	return ok
}

// scopeNow returns the scope of the request, as far as it is known by now.
func (x *exchange) scopeNow() string {
	if !x.g.replay.byModel {
		return ""
	}
	return strings.TrimPrefix(x.report.model(), "models/")
}

// over tells whether the request has had its attempts or its time.
func (x *exchange) over(now time.Time) bool {
	limit := x.g.TryDuration
	return x.calls >= x.g.MaxAttempts || limit > 0 && x.calls > 0 && now.Sub(x.started) >= limit
}

// attempt is what goes out, in one allocation.
type attempt struct {
	outgoing
	context attemptContext
}

// attempt calls the upstream with the key at x.slot. Only where its response was
// rejected is a broken-off body of no account.
func (x *exchange) attempt(next caddyhttp.Handler) (err error) {
	ctx, cancel := context.WithCancel(x.r.Context())
	defer cancel()
	pool, slot := x.roster.pool, x.slot
	defer pool.End(slot)
	x.report.key, x.report.attempts = pool.Key(slot).ID(), x.calls
	sent := new(attempt)
	request := &sent.request
	sent.context.begin(ctx, request, x.report, pool.Key(slot))
	x.roster.injector.fill(&sent.context, &sent.outgoing, x.r, slot)
	if x.shows {
		readable(request.Header)
	}
	if x.body != nil {
		body := x.body.attempt(request)
		defer body.Close() //nolint:errcheck // never fails
		request.Body = body
	}
	x.writer.begin(cancel)
	x.judged, x.open = false, true
	x.g.guard.open.Add(1)
	defer func() {
		x.writer.end()
		sent.context.end()
		x.answered()
		x.tell(err)
		if x.doubting {
			x.g.doubts.resume(time.Now(), x.doubts, x.judged)
		}
		if !x.writer.rejected() {
			return
		}
		err = nil
		if p := recover(); p != nil && p != http.ErrAbortHandler { //nolint:errorlint // a panic's value, compared as net/http does
			panic(p)
		}
	}()
	return next.ServeHTTP(&x.writer, request)
}

// tell notes what has become of the attempt.
func (x *exchange) tell(err error) {
	outcome := x.g.metrics.attempt(x.judged, x.class, err)
	x.report.outcome = outcome
	x.tracer.attempt(x.g.Provider.genAI, x.report, x.writer.status, outcome)
	if x.cooled != nil {
		x.g.announcer.emitCooling(*x.cooled)
		x.cooled = nil
	}
}

// refused answers while the pool is closed.
func (x *exchange) refused(w http.ResponseWriter, wait time.Duration) error {
	x.g.metrics.closed.Inc()
	x.report.outcome = outcomeExhausted
	return x.g.writeRefusal(w, x.r, refusal{class: ttl.RateLimited, wait: wholeSeconds(wait)})
}

// canceled ends the request of a client that has left.
func (x *exchange) canceled(w http.ResponseWriter) error {
	x.report.outcome = outcomeCanceled
	w.WriteHeader(statusClientGone)
	return nil
}

// unserved ends a request that makes no further attempt.
func (x *exchange) unserved(w http.ResponseWriter) error {
	if x.gone { // the context may be canceled by what made a read of the body end
		return x.canceled(w)
	}
	if x.stopped {
		x.report.outcome = outcomeStopped
		return x.g.writeRefusal(w, x.r, refusal{stopped: true, wait: wholeSeconds(0)})
	}
	return x.exhausted(w, x.latest)
}

// exhausted answers for a pool that has no key for this request.
func (x *exchange) exhausted(w http.ResponseWriter, now time.Time) error {
	if x.calls > 1 && x.calls == x.run.length && x.calls >= x.g.MaxAttempts {
		x.g.guard.giveUp(x.run, x.sentences)
	}
	census, bound := x.census(now)
	f := newRefusal(census)
	f.bound = bound
	x.tellExhausted(now, census, f)
	x.g.metrics.exhausted.Inc()
	x.report.outcome = outcomeExhausted
	return x.g.writeRefusal(w, x.r, f)
}

// tellExhausted tells once that the pool has no key that is ready, or that it has
// none for this model.
func (x *exchange) tellExhausted(now time.Time, census rotator.Census, f refusal) {
	switch {
	case census.Ready > 0: // the request has had its attempts, or its time
	case f.bound:
		x.g.announcer.exhaustedOwner(census.Keys, shortageOf(f))
	case x.roster.pool.Census(now).Ready > 0:
		x.g.announcer.exhaustedModel(x.scope, census.Keys, shortageOf(f))
	case f.some:
		x.g.announcer.exhaustedLimit(census.Keys, shortageOf(f))
	case !x.g.dry.Swap(true):
		x.g.announcer.exhausted(x.g.Pool, census.Keys, shortageOf(f))
	}
}

// sawReady notes that the pool has keys again.
func (g *gateway) sawReady() {
	if g.dry.Load() && g.dry.CompareAndSwap(true, false) {
		g.Logger.Info("keys are ready again")
	}
}

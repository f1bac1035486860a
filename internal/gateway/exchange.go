package gateway

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/keycycler/keycycler/internal/client"
	"github.com/keycycler/keycycler/internal/credential"
	"github.com/keycycler/keycycler/internal/misuse"
	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/peek"
	"github.com/keycycler/keycycler/internal/provider"
	"github.com/keycycler/keycycler/internal/quota"
	"github.com/keycycler/keycycler/internal/replay"
	"github.com/keycycler/keycycler/internal/resource"
	"github.com/keycycler/keycycler/internal/respond"
	"github.com/keycycler/keycycler/internal/roster"
	"github.com/keycycler/keycycler/internal/session"
	"github.com/keycycler/keycycler/internal/usage"
	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/ttl"
)

// statusClientGone is what Caddy's access log shows for a client that has left.
const statusClientGone = 499

// exchange is one client request on its way through the attempts.
type exchange struct {
	g      *Gateway
	r      *http.Request
	body   *replay.Body // nil when the request has none
	roster *roster.Roster
	drawn  rotator.Drawn // the attempt's key
	owner  rotator.ID    // of the key that has made what the request names, …
	bound  bool          // … if it is known
	shows  bool          // the answer is about resources
	scope  string        // of the request: the model that it names, or "" for all
	model  string        // by which its keys are chosen: what it named before its first attempt; "": any key
	calls  int           // to the upstream
	open   bool          // the attempt has no answer yet
	passed bool          // nobody before us keeps the answer, which has begun: the body is not wanted
	judged bool          // the attempt's response was judged to be of the …
	class  ttl.Class
	cooled []*observe.CooledKey // keys that cool since the attempt
	rested *observe.Rested      // its address, if that rests since, or no longer; or nil

	want     rotator.Want // which key the request wants
	closed   rotator.Lots // at addresses that have failed
	merged   rotator.Lots // room for shut
	avoided  rotator.Lots // room for drawAwake
	met      []met        // the keys that have refused the request
	answer   answer       // what the client gets where no key serves it
	limited  bool         // a key was refused for a limit
	again    bool         // the attempt has failed, and the next key is tried
	failure  error        // by which one has failed, and none has been answered so since
	failedAt []string     // addresses, in this request
	held     []holding    // the keys of which the request finds out what they are worth
	allowed  int          // calls that the pace lets the request make; 0: it does not say

	followers replay.Followers // of the body, before the first attempt
	session   session.Found    // the request's, where keys are chosen by it
	estimate  peek.Estimator   // of what it will use, where keys or clients are limited by that

	started time.Time
	waited  time.Duration // for keys
	pause   time.Duration // for which the pace holds the request back; 0: it does not
	gone    bool          // the client has left meanwhile
	stopped bool          // the process stops
	latest  time.Time     // when the last attempt began, or there was none any more
	record  *record
	report  *observe.Report // the record's
	tracer  observe.Tracer
	sight   *misuse.Sight // of the attempt; mostly nil
	looked  *attempt      // the attempt, where it is looked at whether its key gets to its place
	counts  bool          // what the answer has used is counted …
	usage   *usage.Reader // … as it says itself; nil: it cannot
	bill    *usage.Bill   // the record's; nil: it has none
	terms   *quota.Terms  // the client's; nil: it has no limits
	stay    *quota.Stay   // likewise
	needed  usage.Tokens  // an estimate of what it may use
	writer  respond.Writer
}

// record is what outlives the exchange: access logs ask the report after the handler is
// back, and late reads the body. With the first attempt, mostly the only one, it is one
// allocation.
type record struct {
	report observe.Report
	body   replay.Body
	first  attempt
}

// newRecord returns one, and with it what a bill may be written to, if there may be one.
func newRecord(billed bool) (*record, *usage.Bill) {
	if !billed {
		return new(record), nil
	}
	both := new(struct {
		record
		bill usage.Bill
	})
	return &both.record, &both.bill
}

// usualAttempts is how many attempts an exchange has room for without allocating.
const usualAttempts = 15

var exchanges = sync.Pool{New: func() any {
	x := new(exchange)
	x.want.Tried = make([]rotator.Slot, 0, usualAttempts)
	x.writer.Owner = x
	return x
}}

// ServeHTTP sends the request with one key after the other until a response is
// the client's.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) (err error) {
	name, presented, ok := g.letIn(r)
	if !ok {
		return g.unauthorized(w, r, presented)
	}
	if err := credential.Refuse(w, r, g.Provider, g.Auth); err != nil {
		return err
	}
	if model, ok := g.listed(r); ok {
		return g.listModels(w, r, name, model)
	}
	name, terms, stay := g.Desk.Enter(r, name)
	defer client.Leave(stay)
	if over, ok := stay.Over(); ok && !client.Tells(terms, r) {
		return g.limited(w, r, name, stay, over)
	}
	x := exchanges.Get().(*exchange)
	x.terms, x.stay = terms, stay
	x.begin(g, w, r)
	defer func() { x.end(err) }()
	x.report.Client = name
	if barred, err := x.barred(w); barred {
		return err
	}
	for now := x.started; ; now = time.Now() {
		x.latest = now
		if x.over(now) || x.unknown() || !x.next(now) || !x.replayable() {
			return x.unserved(w)
		}
		x.want.Tried = append(x.want.Tried, x.drawn.Slot)
		x.calls++
		err := x.attempt(next)
		if x.again || x.writer.Rejected() {
			x.writer.Base.Restore(w.Header())
		}
		if !x.again {
			return err
		}
		if r.Context().Err() != nil {
			return x.canceled(w)
		}
	}
}

func (x *exchange) begin(g *Gateway, w http.ResponseWriter, r *http.Request) {
	x.g, x.r = g, r
	x.record, x.bill = newRecord(g.Usage)
	x.tracer = observe.TracerFor(r)
	x.report = &x.record.report
	outer := x.report.Begin(r)
	x.report.Pool = g.seen
	g.tellNested(outer, r)
	x.roster = g.roster.Load()
	follower, finder, costs := x.follow(r), x.seekSession(r), x.expect(r)
	if replay.Has(r) {
		x.body = &x.record.body
		x.report.Body = x.body
		if len(x.followers) > 0 {
			x.body.Followers = &x.followers
		}
		x.body.Begin(r, g.limitsOf(x.terms))
		x.body.Followers = nil
	}
	x.followed(follower)
	x.foundSession(finder)
	x.started = time.Now()
	x.expected(costs)
	x.scope, x.model, x.want.Affinity = x.scopeNow(), x.modelNow(), x.affinity()
	x.writer.Client, x.writer.Keepalive = w, g.Keepalive
	x.writer.Base.Take(w.Header())
}

// replayable tells whether the attempt that is about to begin gets the whole body. If
// not, it must not begin.
func (x *exchange) replayable() bool {
	if x.calls == 0 || x.body == nil || x.body.Replayable() {
		return true
	}
	x.roster.Pool.Settled(x.drawn)
	x.roster.Pool.Finish(time.Now(), x.drawn, rotator.Used{})
	return false
}

// endBody gives the body back: to who comes after us, if somebody may want it, or else
// for good.
func (x *exchange) endBody(err error) {
	if x.body == nil {
		return
	}
	if err == nil && (x.passed || !replay.IsBuffered(x.writer.Client)) {
		x.body.Finish()
	} else if source := x.r.Body; !x.body.HandOver(x.r) {
		source.Close() // who reads it is told
	}
}

func (x *exchange) end(err error) {
	x.g.metrics.Attempts.Observe(float64(x.calls))
	x.g.metrics.Wait.Observe(x.latest.Sub(x.started).Seconds())
	x.endBody(err)
	x.report.Settle()
	if x.counts || x.stay != nil {
		now := time.Now()
		x.counted(now)
		x.spent(now)
	}
	x.writer.EndReading()
	x.writer.Forget()
	x.g, x.r, x.body, x.roster = nil, nil, nil, nil
	x.record, x.report, x.bill, x.tracer, x.cooled = nil, nil, nil, observe.Tracer{}, nil
	x.closed, x.failedAt, x.failure, x.passed = x.closed[:0], x.failedAt[:0], nil, false
	x.scope, x.model, x.calls, x.waited, x.gone, x.stopped, x.limited = "", "", 0, 0, false, false, false
	x.release()
	clear(x.met)
	x.session, x.drawn = session.Found{}, rotator.Drawn{}
	x.met, x.answer, x.allowed, x.pause = x.met[:0], answer{}, 0, 0
	x.want = rotator.Want{Tried: x.want.Tried[:0]}
	exchanges.Put(x)
}

// affinity returns which key the request prefers, none if the placeholder is unknown or
// empty.
func (x *exchange) affinity() rotator.Affinity {
	if x.g.Hash == "" {
		return rotator.Affinity(x.session.ID)
	}
	repl, ok := x.r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return 0
	}
	value, _ := repl.GetString(x.g.Hash)
	return rotator.AffinityOf(value)
}

// pick draws a key for the next attempt, which must follow: it counts from here. Keys that
// were removed meanwhile are not among them.
func (x *exchange) pick(now time.Time) (ok bool) {
	if r := x.g.roster.Load(); r != x.roster {
		old := x.roster.Pool
		x.roster = r
		x.tryNot(old)
		x.closeAgain()
	}
	x.want.Scope, x.want.Among, x.want.Shut, x.want.Explore = x.scope, x.among(), x.shut(), 0
	if x.explores() {
		x.want.Explore = x.g.Policy.Default
	}
	x.want.Home = x.home()
	x.drawn, ok = x.draw(now)
	return ok
}

// explores tells whether the request may find out what a key is worth that is not to be
// used otherwise: if it is refused, another key gets it.
func (x *exchange) explores() bool {
	return x.calls == 0 && x.g.MaxAttempts > 1 && !x.g.judge.ToTheLetter && (x.body == nil || x.body.Fits())
}

// scopeNow returns the scope of the request, as far as it is known by now.
func (x *exchange) scopeNow() string {
	if !x.g.replay.ByModel {
		return ""
	}
	return strings.TrimPrefix(x.report.Model(), "models/")
}

// modelNow returns the model that the request names by now, where keys are chosen by it.
func (x *exchange) modelNow() string {
	if len(x.g.offers) == 0 {
		return ""
	}
	return strings.TrimPrefix(x.report.Model(), "models/")
}

// over tells whether the request has had its attempts or its time.
func (x *exchange) over(now time.Time) bool {
	limit := x.g.TryDuration
	return x.calls >= x.g.MaxAttempts || limit > 0 && x.calls > 0 && now.Sub(x.started) >= limit
}

// attempt is what goes out, in one allocation.
type attempt struct {
	credential.Outgoing
	context observe.AttemptContext
}

// newAttempt returns room for the attempt that begins.
func (x *exchange) newAttempt() *attempt {
	if x.calls == 1 {
		return &x.record.first
	}
	return new(attempt)
}

// attempt calls the upstream with the key at x.slot. Only where its response was
// rejected is a broken-off body of no account.
func (x *exchange) attempt(next caddyhttp.Handler) (err error) {
	ctx, cancel := context.WithCancelCause(x.r.Context())
	defer cancel(nil)
	ctx, watch := x.watched(ctx)
	pool, drawn := x.roster.Pool, x.drawn
	slot := drawn.Slot
	defer x.giveBack(pool, drawn)
	if drawn.Explores {
		x.held = append(x.held, holding{pool, []rotator.Slot{slot}})
	}
	sent, body := x.outgoing(ctx, slot)
	if body != nil {
		defer body.End()
	}
	x.lookOut(sent)
	x.writer.Begin(cancel)
	x.judged, x.open = false, true
	x.g.pace.Call(1)
	deadline := x.beginDeadline()
	defer func() {
		x.writer.End()
		deadline.end()
		watch.End()
		x.tellAstray()
		sent.context.End()
		x.answered()
		err = x.ends(err, watch.Reach())
		x.tell(err)
		if p := x.writer.Panicked(); p != nil {
			panic(p)
		}
		if !x.writer.Rejected() {
			return
		}
		if p := recover(); p != nil && p != http.ErrAbortHandler { //nolint:errorlint // a panic's value, compared as net/http does
			panic(p)
		}
	}()
	err = next.ServeHTTP(&x.writer, &sent.Request)
	x.writer.Returned = true
	return err
}

// outgoing makes the attempt's request, and its body: nil where there is none.
func (x *exchange) outgoing(ctx context.Context, slot rotator.Slot) (sent *attempt, body *replay.AttemptBody) {
	key := observe.Place{Index: x.roster.Index, Slot: slot}
	x.report.Attempt(key, x.calls)
	sent = x.newAttempt()
	request := &sent.Request
	sent.context.Begin(ctx, request, x.report, key)
	x.roster.Injector.Fill(&sent.context, &sent.Outgoing, x.r, slot)
	x.renameInURL(request, slot) // the client's: what an upstream's own path has is no model
	x.roster.Way(slot).Direct(request)
	if x.shows {
		resource.Readable(request.Header)
	}
	if x.body != nil {
		body = x.body.Attempt(request)
		request.Body = body
		x.renameInBody(body, request, slot)
	}
	return sent, body
}

// tell notes what has become of the attempt.
func (x *exchange) tell(err error) {
	x.tellSlips(err)
	failed := err != nil || x.left(x.writer.Status)
	outcome := x.g.metrics.Attempt(x.roster.Pool.Key(x.drawn.Slot).ID(), x.judged, x.class, failed)
	x.report.Outcome = outcome
	x.tracer.Attempt(x.g.Provider.GenAI, x.report, x.writer.Status, outcome)
	for _, c := range x.cooled {
		x.g.announcer.EmitCooling(*c)
	}
	if x.rested != nil {
		x.g.announcer.EmitRest(*x.rested)
	}
	x.cooled, x.rested = nil, nil
}

// canceled ends the request of a client that has left.
func (x *exchange) canceled(w http.ResponseWriter) error {
	x.report.Outcome = observe.OutcomeCanceled
	w.WriteHeader(statusClientGone)
	return nil
}

// unserved ends a request that makes no further attempt.
func (x *exchange) unserved(w http.ResponseWriter) error {
	if x.gone { // the context may be canceled by what made a read of the body end
		return x.canceled(w)
	}
	if x.stopped {
		x.report.Outcome = observe.OutcomeStopped
		return x.g.writeRefusal(w, x.r, provider.Refusal{Stopped: true, Wait: wholeSeconds(0)})
	}
	if x.failure != nil {
		return x.failure
	}
	if says := x.says(); says != nil {
		return x.send(w, says)
	}
	if !x.g.Raises {
		x.told(w.Header())
	}
	if x.unknown() {
		return x.unknownModel(w)
	}
	return x.exhausted(w, x.latest)
}

// send gives the client the upstream's own answer.
func (x *exchange) send(w http.ResponseWriter, says *respond.Kept) error {
	wait := ""
	if x.pause == 0 {
		x.g.metrics.Stopped.Inc()
	} else {
		x.g.metrics.Closed.Inc()
		wait = inSeconds(x.pause)
	}
	if x.g.Raises {
		return x.raiseAnswer(says)
	}
	if x.stay != nil {
		says = says.With(x.told)
	}
	return says.Send(w, wait)
}

// exhausted answers for a pool that has no key for this request.
func (x *exchange) exhausted(w http.ResponseWriter, now time.Time) error {
	census, bound := x.census(now)
	if bound && census.Keys == 0 && len(x.closed) == 0 {
		return x.unknownModel(w) // to the key that has made what the request names
	}
	f := newRefusal(census)
	f.Bound, f.Empty = bound, x.roster.Pool.Len() == 0
	if x.pause > 0 {
		x.g.metrics.Closed.Inc()
		if f.Wait = wholeSeconds(x.pause); census.Unstated == 0 && census.Free == 0 {
			f.Wait = max(f.Wait, wholeSeconds(census.Soonest))
		}
	}
	x.tellExhausted(now, census, f)
	x.g.metrics.Exhausted.Inc()
	x.report.Outcome = observe.OutcomeExhausted
	if x.g.Raises {
		return x.raiseRefusal(f)
	}
	return x.g.writeRefusal(w, x.r, f)
}

// tellExhausted tells once that the pool has no key that is ready, or that it has
// none for this model.
func (x *exchange) tellExhausted(now time.Time, census rotator.Census, f provider.Refusal) {
	switch {
	case census.Free > 0: // the request has had its attempts, or its time
	case f.Bound:
		x.g.announcer.ExhaustedOwner(census.Keys, shortageOf(f))
	case x.roster.Pool.Census(now).Free > 0:
		x.tellExhaustedModel(now, census, f)
	case f.Some:
		x.g.announcer.ExhaustedLimit("", census.Keys, shortageOf(f))
	case !x.g.dry.Swap(true):
		x.g.announcer.Exhausted(x.g.Pool, census.Keys, shortageOf(f))
	}
}

// sawReady notes that the pool has keys again, and for the model of the request.
func (g *Gateway) sawReady(now time.Time, model string) {
	if g.dry.Load() && g.dry.CompareAndSwap(true, false) {
		g.Logger.Info("keys are ready again")
	}
	if g.dryModels.concerns(model) {
		g.tellModels(now)
	}
}

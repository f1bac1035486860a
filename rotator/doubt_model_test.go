package rotator

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/keycycler/keycycler/rotator/draw"
)

// belief is what is to be known of a key, for all requests or in a scope: what the rules
// say, asked anew at each time. Times are nanoseconds since the start.
type belief struct {
	until, learned, spare int64 // spare 0: not before until
	equal                 bool
	reason                Reason
	cleared               int64

	since, end, shown, ripe int64 // since never: no suspicion
	suspected               Reason
	limit, stated, seen     bool

	step, last int64
}

func (b *belief) cools(at int64) bool    { return b.until > at }
func (b *belief) suspects(at int64) bool { return b.since != never && b.end > at }

func (b *belief) kind(at int64) (k draw.Kind) {
	switch {
	case !b.cools(at):
	case b.spare == 0 || at < b.spare:
		return draw.Out
	case !b.equal:
		k = draw.Spare
	}
	if b.suspects(at) {
		k = max(k, draw.Suspect)
	}
	return k
}

// counts returns until when it counts as cooling, and for what.
func (b *belief) counts(at int64) (until int64, r Reason) {
	if b.cools(at) {
		until, r = b.until, b.reason
	}
	if seen := min(b.shown, b.end); b.suspects(at) && b.seen && seen > max(until, at) {
		until, r = seen, b.suspected
	}
	return until, r
}

// ends are until when it is out, spare and suspect, which is over if it is not so now.
func (b *belief) ends(at int64) (times [3]int64) {
	switch {
	case !b.cools(at):
	case b.spare == 0:
		times[0] = b.until
	case b.equal:
		times[0] = b.spare
	default:
		times[0], times[1] = b.spare, b.until
	}
	if b.suspects(at) {
		times[2] = b.end
	}
	return times
}

func (b *belief) relent() { b.since = never }

func (b *belief) forgive(cleared, at int64) (changed bool) {
	if b.since <= cleared {
		changed = b.suspects(at)
		b.relent()
	}
	if b.last <= cleared {
		b.step, b.last = 0, never
	}
	return changed
}

func (b *belief) void(cleared, at int64) (cooled bool) {
	if b.until == 0 || b.learned > cleared {
		return false
	}
	cooled = b.cools(at)
	b.until, b.learned, b.spare, b.equal = 0, never, 0, false
	return cooled
}

// jury drives pools of one state, and the beliefs beside them.
type jury struct {
	*testing.T
	r       *rand.Rand
	at      int64
	keys    []Key
	state   *State
	pools   []*Pool // the first holds all keys and stays
	beliefs map[subject]*belief
	off     map[ID]bool
	scopes  []string
	ends    map[string]int64 // when a scope is forgotten
	met     []accusation
}

// accusation is a refusal that may lead to a conviction.
type accusation struct {
	key ID
	Refusal
}

func newJury(t *testing.T, seed uint64) *jury {
	j := &jury{
		T: t, r: rand.New(rand.NewPCG(seed, 17)), keys: makeKeys(t, 1+int(seed%12)), state: NewState(start),
		beliefs: make(map[subject]*belief), off: make(map[ID]bool), ends: make(map[string]int64),
		scopes: []string{"", "gpt-x", "gpt-y"}[:1+seed%3],
	}
	j.pools = []*Pool{j.newPool(len(j.keys)), j.newPool(1 + j.r.IntN(len(j.keys)))}
	return j
}

func (j *jury) newPool(n int) *Pool {
	keys := slices.Clone(j.keys)
	j.r.Shuffle(n, func(a, b int) { keys[a], keys[b] = keys[b], keys[a] })
	options := []Option{WithSource(rand.NewPCG(j.r.Uint64(), 6))}
	if j.r.IntN(2) == 0 {
		options = append(options, WithTurns())
	}
	if j.r.IntN(2) == 0 {
		options = append(options, WithRanks(randomRanks(j.r, n)))
	}
	p, err := NewPool(keys[:n], j.state, j.now(), options...)
	if err != nil {
		j.Fatal(err)
	}
	return p
}

func (j *jury) now() time.Time { return in(time.Duration(j.at)) }

// while returns some time of up to so many tenths of a second.
func (j *jury) while(tenths int) time.Duration {
	return time.Duration(j.r.IntN(tenths+1)) * 100 * time.Millisecond
}

func (j *jury) of(about subject) *belief {
	if j.beliefs[about] == nil {
		j.beliefs[about] = &belief{learned: never, cleared: never, since: never, last: never}
	}
	return j.beliefs[about]
}

// open is of for something new in the scope, which may have been forgotten.
func (j *jury) open(about subject) *belief {
	if about.scope != "" && j.ends[about.scope] <= j.at {
		j.sweep()
	}
	return j.of(about)
}

// sweep forgets scopes that are over.
func (j *jury) sweep() {
	for about := range j.beliefs {
		if about.scope != "" && j.ends[about.scope] <= j.at {
			delete(j.beliefs, about)
		}
	}
}

func (j *jury) lasts(about subject, until int64) {
	j.ends[about.scope] = max(j.ends[about.scope], until)
}

// What is ready, suspect, spare or out is so at each instant in every pool and scope, as
// are the counts, whatever was said of the keys in whichever order.
func TestVerdictsAgainstModel(t *testing.T) {
	for seed := range uint64(40) {
		j := newJury(t, seed)
		for range 1200 {
			j.step()
			j.check()
			if t.Failed() {
				t.Fatalf("seed %d, %s after the start", seed, time.Duration(j.at))
			}
		}
	}
}

func (j *jury) step() {
	p := j.pools[j.r.IntN(len(j.pools))]
	s := Slot(j.r.IntN(p.Len()))
	id := p.Key(s).ID()
	switch n := j.r.IntN(100); {
	case n < 25:
		j.at += int64(j.while(12)) + j.r.Int64N(3)
	case n < 35:
		j.cool(p, s, id)
	case n < 60:
		j.suspect(p, s, id)
	case n < 75:
		j.convict(p)
	case n < 86:
		j.serve(p, s, id)
	case n < 89:
		j.clear(p, s, id)
	case n < 93:
		j.turn(p, s, id)
	case n < 95:
		old := j.pools[1]
		j.pools[1] = j.newPool(1 + j.r.IntN(len(j.keys)))
		old.Close(j.now())
		j.sweep()
	default:
		j.draw(p)
	}
}

func (j *jury) scope() string { return j.scopes[j.r.IntN(len(j.scopes))] }

func (j *jury) cooldown() Cooldown {
	return Cooldown{For: 100*time.Millisecond + j.while(60), Reason: Reason(j.r.IntN(MaxReasons)), Scope: j.scope()}
}

// learned is when something is learned now: after the clearings that are known.
func (j *jury) learned(id ID, b *belief) int64 {
	return max(j.at, after(j.of(subject{id, ""}).cleared), after(b.cleared))
}

func (j *jury) cool(p *Pool, s Slot, id ID) {
	c := j.cooldown()
	if j.r.IntN(2) == 0 {
		c.Spare, c.Equal = 1+j.while(60), j.r.IntN(2) == 0
	}
	about := subject{id, c.Scope}
	b, until := j.open(about), j.at+int64(c.For)
	moved, may := until > b.until, until
	if c.Spare > 0 {
		may = j.at + int64(c.Spare)
	}
	switch {
	case moved:
		b.until, b.learned, b.reason, b.spare, b.equal = until, j.learned(id, b), c.Reason, 0, false
		if c.Spare > 0 {
			b.spare, b.equal = min(may, until), c.Equal
		}
		b.relent()
		j.lasts(about, until)
	case b.spare != 0:
		b.spare = min(max(b.spare, may), b.until)
	}
	if got := p.Cool(j.now(), s, c); got != moved {
		j.Errorf("Cool reports %t, want %t", got, moved)
	}
}

func (j *jury) suspect(p *Pool, s Slot, id ID) {
	r := Refusal{
		Cooldown: j.cooldown(), At: j.now(), Began: j.now().Add(-j.while(20)),
		Step: time.Second, Max: 5 * time.Second, Limit: j.r.IntN(2) == 0, Shown: j.r.IntN(2) == 0,
	}
	end := int64(forever)
	if r.Scope != "" {
		end = j.at + int64(scopeMemory)
	}
	if j.r.IntN(2) == 0 {
		r.Stated = 1 + j.while(50)
		end = j.at + int64(r.Stated)
	}
	j.met = append(j.met, accusation{id, r})
	about := subject{id, r.Scope}
	b, news := j.open(about), false
	if !b.cools(j.at) || b.equal && b.spare <= j.at {
		if news = !b.suspects(j.at); news {
			b.since, b.ripe = j.at, j.at+int64(r.Step)
		}
		b.end, b.shown, b.suspected = end, j.at+int64(r.For), r.Reason
		b.limit, b.stated, b.seen = r.Limit, r.Stated > 0, r.Shown
		j.lasts(about, end)
	}
	if got := p.Suspect(s, r); got != news {
		j.Errorf("Suspect reports %t, want %t", got, news)
	}
}

// convict convicts a key that was refused lately, if the pool holds it.
func (j *jury) convict(p *Pool) {
	if len(j.met) == 0 {
		return
	}
	a := j.met[len(j.met)-1-j.r.IntN(min(len(j.met), 4))]
	s := slices.IndexFunc(p.keys, func(k Key) bool { return k.ID() == a.key })
	if s < 0 {
		return
	}
	about := subject{a.key, a.Scope}
	refused := int64(a.At.Sub(start))
	b, until, news := j.open(about), refused+int64(a.For), false
	cooled := b.cools(j.at)
	if until <= j.at && b.suspects(j.at) {
		b.relent()
	}
	if until > j.at && (cooled || b.suspects(j.at)) && int64(a.Began.Sub(start)) >= b.last {
		news = !cooled
		b.step = min(max(2*b.step, int64(a.Step)), int64(a.Max))
		b.last = j.at
		may := refused + b.step
		if a.Stated > 0 {
			may = refused + int64(a.Stated)
		}
		b.until = max(until, b.until)
		b.learned, b.reason, b.spare, b.equal = j.learned(a.key, b), a.Reason, min(may, b.until), a.Limit
		b.relent()
		j.lasts(about, b.until)
	}
	if got := p.Convict(j.now(), Slot(s), a.Refusal); got != news {
		j.Errorf("Convict reports %t, want %t", got, news)
	}
}

func (j *jury) serve(p *Pool, s Slot, id ID) {
	began, scope := j.now().Add(-j.while(15)), j.scope()
	since, cooled := int64(began.Sub(start)), false
	if scope != "" {
		if b := j.of(subject{id, scope}); j.absolve(b, since) {
			b.cleared = max(after(b.learned), b.cleared)
			b.void(b.cleared, j.at)
			cooled = true
		}
	}
	if all := j.of(subject{id, ""}); j.absolve(all, since) {
		all.cleared = max(after(all.learned), all.cleared)
		all.void(all.cleared, j.at)
		cooled = true
		for _, scope := range j.scopes[1:] { // which cool on
			b := j.of(subject{id, scope})
			if (b.cools(j.at) || b.suspects(j.at)) && b.until != 0 && b.learned <= all.cleared {
				b.learned = after(all.cleared)
			}
		}
	}
	if got := p.Serve(j.now(), began, s, scope); got != cooled {
		j.Errorf("Serve reports %t, want %t", got, cooled)
	}
}

// absolve reports whether the cooldown is over, too.
func (j *jury) absolve(b *belief, since int64) bool {
	if b.suspects(j.at) && b.limit && !b.stated {
		b.relent()
	}
	b.forgive(since, j.at)
	return b.cools(j.at) && b.learned <= since
}

func (j *jury) clear(p *Pool, s Slot, id ID) {
	cleared, ended := max(j.at, j.of(subject{id, ""}).cleared), false
	for _, scope := range j.scopes {
		if b := j.of(subject{id, scope}); b.cools(j.at) || scope != "" && b.suspects(j.at) {
			cleared = max(cleared, after(b.learned))
		}
	}
	j.of(subject{id, ""}).cleared = cleared
	for _, scope := range j.scopes {
		b := j.of(subject{id, scope})
		ended = b.forgive(cleared, j.at) || ended
		ended = b.void(cleared, j.at) || ended
	}
	if got := p.Clear(j.now(), s); got != ended {
		j.Errorf("Clear reports %t, want %t", got, ended)
	}
}

func (j *jury) turn(p *Pool, s Slot, id ID) {
	disable, was := j.r.IntN(2) == 0, j.off[id]
	turn := p.Disable
	if !disable {
		turn = p.Enable
		for _, scope := range j.scopes {
			j.of(subject{id, scope}).forgive(j.at, j.at)
		}
	}
	j.off[id] = disable
	if got := turn(j.now(), s); got != (was != disable) {
		j.Errorf("turning %t reports %t", disable, got)
	}
}

// in returns all that counts for a request of the scope.
func (j *jury) in(scope string, id ID) []*belief {
	if scope == "" {
		return []*belief{j.of(subject{id, ""})}
	}
	return []*belief{j.of(subject{id, ""}), j.of(subject{id, scope})}
}

func (j *jury) kind(scope string, id ID) (k draw.Kind) {
	if j.off[id] {
		return draw.Out
	}
	for _, b := range j.in(scope, id) {
		k = max(k, b.kind(j.at))
	}
	return k
}

func (j *jury) check() {
	for _, p := range j.pools {
		for _, scope := range j.scopes {
			if got, want := p.CensusIn(j.now(), scope), j.census(p, scope); got != want {
				j.Errorf("census in %q %+v, want %+v", scope, got, want)
			}
			for s, k := range p.keys {
				if got, want := p.in(j.at, scope).KindOf(Slot(s)), j.kind(scope, k.ID()); got != want {
					j.Errorf("slot %d in %q is %d, want %d: %s", s, scope, got, want, j.told(scope, k.ID()))
				}
			}
		}
		checkPool(j, p)
	}
	checkState(j, j.state)
	j.status(j.pools[0], Slot(j.r.IntN(len(j.keys))))
}

func (j *jury) told(scope string, id ID) (text string) {
	for _, b := range j.in(scope, id) {
		text += fmt.Sprintf("%+v ", *b)
	}
	return text
}

func (j *jury) census(p *Pool, scope string) Census {
	c := Census{Keys: p.Len()}
	for _, k := range p.keys {
		if j.off[k.ID()] {
			c.Disabled++
			continue
		}
		j.add(&c, scope, k.ID())
	}
	return c
}

func (j *jury) add(c *Census, scope string, id ID) {
	shown, reason, ends := int64(0), Reason(0), [3]int64{}
	for _, b := range j.in(scope, id) {
		if until, r := b.counts(j.at); until > shown {
			shown, reason = until, r
		}
		for i, end := range b.ends(j.at) {
			ends[i] = max(ends[i], end)
		}
	}
	if shown > j.at {
		c.Cooling[reason]++
	} else {
		c.Ready++
	}
	switch k := j.kind(scope, id); {
	case k == draw.Ready:
		c.Free++
	case k == draw.Suspect && !j.worst(&Want{Scope: scope}, id).stated:
		c.Unstated++
	}
	next := ends[0] // while it is out, nothing else matters
	if j.kind(scope, id) != draw.Out {
		c.Usable++
		next = forever
		for _, end := range append(ends[:], shown) {
			if end > j.at {
				next = min(next, end)
			}
		}
	}
	if left := time.Duration(next - j.at); next < forever && (c.Soonest == 0 || left < c.Soonest) {
		c.Soonest = left
	}
}

// status compares what people see of a key.
func (j *jury) status(p *Pool, s Slot) {
	id := p.Key(s).ID()
	st := p.Status(j.now(), s)
	j.seen("", j.of(subject{id, ""}), st.Left, st.Reason, st.Suspect)
	scopes := st.Scopes
	for _, scope := range j.scopes[1:] {
		b := j.of(subject{id, scope})
		if !b.cools(j.at) && !b.suspects(j.at) {
			continue
		}
		if len(scopes) == 0 || scopes[0].Scope != scope {
			j.Errorf("status in scopes %+v lacks %q", st.Scopes, scope)
			return
		}
		j.seen(scope, b, scopes[0].Left, scopes[0].Reason, scopes[0].Suspect)
		scopes = scopes[1:]
	}
	if len(scopes) != 0 {
		j.Errorf("status in scopes has %+v besides", scopes)
	}
}

func (j *jury) seen(scope string, b *belief, left time.Duration, r Reason, s *Suspicion) {
	until, reason := b.counts(j.at)
	suspected := b.shown
	if b.seen { // it counts as cooling for as long, and no longer than it is suspect
		suspected = min(b.shown, b.end)
	}
	if want := time.Duration(max(until-j.at, 0)); left != want || left > 0 && r != reason {
		j.Errorf("in %q it cools for %s for %d, want %s, %d", scope, left, r, want, reason)
	}
	if (s != nil) != b.suspects(j.at) {
		j.Errorf("in %q the suspicion is %+v, want %t", scope, s, b.suspects(j.at))
	}
	if s != nil && (s.Reason != b.suspected || s.Shown != b.seen || s.Left != time.Duration(max(suspected-j.at, 0))) {
		j.Errorf("in %q the suspicion is %+v, want %+v", scope, *s, *b)
	}
}

// draw lets a request go out: with a ready key of the lowest tier, else with a suspect,
// else with a spare one.
func (j *jury) draw(p *Pool) {
	w := Want{Scope: j.scope(), Refused: j.r.IntN(2) == 0, Limited: j.r.IntN(2) == 0}
	for range j.r.IntN(4) {
		w.Tried = append(w.Tried, Slot(j.r.IntN(p.Len())))
	}
	best, tier := draw.Out, uint8(0)
	for s := range Slot(p.Len()) {
		if k, t := j.allowed(p, s, &w), p.tier(s); k < best || k == best && t < tier {
			best, tier = k, t
		}
	}
	d, ok := p.Draw(j.now(), w)
	if ok != (best != draw.Out) {
		j.Errorf("drawn: %t, the best that can be had is %d", ok, best)
	}
	if !ok {
		return
	}
	p.End(d.Slot)
	if k := j.allowed(p, d.Slot, &w); k != best || p.tier(d.Slot) != tier || d.Explores || d.Suspect != (k == draw.Suspect && j.ofLimit(&w, p.Key(d.Slot).ID())) {
		j.Errorf("drawn %+v of the kind %d and tier %d, want %d and %d; wanted %+v", d, k, p.tier(d.Slot), best, tier, w)
	}
}

// allowed is the kind of a slot, out where the request must not use it.
func (j *jury) allowed(p *Pool, s Slot, w *Want) draw.Kind {
	id := p.Key(s).ID()
	k := j.kind(w.Scope, id)
	if slices.Contains(w.Tried, s) || k == draw.Suspect && (w.Limited && j.ofLimit(w, id) || w.Refused && j.worst(w, id).stated) {
		return draw.Out
	}
	return k
}

func (j *jury) ofLimit(w *Want, id ID) bool { return j.worst(w, id).limit }

// worst is the suspicion that lasts longer.
func (j *jury) worst(w *Want, id ID) (worst *belief) {
	worst = &belief{since: never}
	for _, b := range j.in(w.Scope, id) {
		if b.suspects(j.at) && (!worst.suspects(j.at) || b.end > worst.end) {
			worst = b
		}
	}
	return worst
}

package rotator

import (
	"time"

	"github.com/keycycler/keycycler/rotator/draw"
)

// doubt is what this process has seen of a key, for all requests or for those of one
// scope, besides its cooldown. Times are nanoseconds since the state's epoch.
type doubt struct {
	// A suspicion: the key was refused, and nobody knows yet whose fault that was.
	since  int64 // never: there is none
	end    int64 // until when; forever: until it is known
	shown  int64 // until when it counts as a cooldown
	ripe   int64 // since when it is worth finding out
	source string
	reason Reason
	limit  bool // of a limit: time alone cures it
	stated bool // the upstream has stated the end
	seen   bool // it counts as a cooldown

	// Of the cooldown:
	equal bool  // past spare it is as good as none
	spare int64 // when the key may be asked again; never: not before the end

	// What the key was convicted of:
	step int64  // how long it was not to be asked after the last conviction; 0: there was none
	last int64  // when that was
	way  uint32 // how it was asked then
}

// doubted returns the term's doubt, to be changed.
func (t *term) doubted() *doubt {
	if t.doubt == nil {
		t.doubt = &doubt{since: never, spare: never, last: never}
	}
	return t.doubt
}

// rest says from when on a cooling key may be asked: never, if not before its time.
func (t *term) rest(spare int64, equal bool) {
	if spare >= t.until {
		spare = never
	}
	if spare != never || t.doubt != nil {
		d := t.doubted()
		d.spare, d.equal = spare, equal && spare != never
	}
}

// postpone makes a cooling key that was asked before its time spare no sooner than then,
// and reports whether it would have been.
func (t *term) postpone(spare int64) bool {
	d := t.doubt
	if d == nil || d.spare == never || d.spare >= spare {
		return false
	}
	d.spare = min(spare, t.until)
	return true
}

// forgive forgets what the key was suspected and convicted of until then. It reports
// whether that changes anything for a draw.
func (t *term) forgive(sc *scope, cleared, at int64) (changed bool) {
	d := t.doubt
	if d == nil {
		return false
	}
	if d.since <= cleared {
		changed = d.suspects(at)
		sc.relent(t)
	}
	if d.last <= cleared {
		d.step, d.last = 0, never
	}
	t.tidy(at)
	return changed
}

// tidy forgets the doubt if there is nothing in it.
func (t *term) tidy(at int64) {
	if d := t.doubt; d != nil && d.since == never && d.step == 0 && (d.spare == never || t.until <= at) {
		t.doubt = nil
	}
}

// suspects tells whether there is a suspicion. d may be nil.
func (d *doubt) suspects(at int64) bool { return d != nil && d.since != never && d.end > at }

// relent ends the suspicion, and reports whether there was one. d may be nil.
func (d *doubt) relent() bool {
	if d == nil || d.since == never {
		return false
	}
	d.since = never
	return true
}

// relent is that of a term for all requests.
func (e *entry) relent() bool { return e.doubt.relent() }

// mark returns what draws shall know of the term.
func (t *term) mark(at int64) (m draw.Mark) {
	d := t.doubt
	if t.until > at {
		m = draw.Cooling(t.until, t.reason)
		if d != nil && d.spare != never {
			m.Out = d.spare
			if !d.equal {
				m.Spare = t.until
			}
		}
	}
	if d.suspects(at) {
		m = m.Join(d.mark())
	}
	return m
}

func (d *doubt) mark() draw.Mark {
	m := draw.Mark{Suspect: d.end, Ripe: d.ripe, Limit: d.limit, Stated: d.stated}
	if d.seen {
		m.Shown, m.Reason = min(d.shown, d.end), d.reason
	}
	return m
}

// over returns when nothing is left of the term.
func (t *term) over(at int64) int64 {
	if t.doubt.suspects(at) {
		return max(t.until, t.doubt.end)
	}
	return t.until
}

// shown is what people see of the term: for how long it cools and why, and a suspicion.
func (t *term) shown(at int64) (left time.Duration, r Reason, source string, s *Suspicion) {
	if t.until > at {
		left, r, source = time.Duration(t.until-at), t.reason, t.source
	}
	d := t.doubt
	if !d.suspects(at) {
		return left, r, source, nil
	}
	s = &Suspicion{Reason: d.reason, Source: d.source, Left: time.Duration(max(d.shown-at, 0)), Shown: d.seen}
	if s.Shown {
		s.Left = time.Duration(max(min(d.shown, d.end)-at, 0))
	}
	if s.Shown && s.Left > left {
		left, r, source = s.Left, s.Reason, s.Source
	}
	return left, r, source, s
}

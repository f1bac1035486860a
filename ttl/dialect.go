// Package ttl answers two questions about an upstream's answer: what does it
// mean for the API key that was used (its Class), and how long does it say to
// wait. Both are pure functions of the status, the headers, the body and the
// time of receipt; the package keeps no state and reads no clock.
//
// What differs between providers is data: a Dialect is a table of rules, which
// recognise classes, and a table of waits, which find the stated time. It knows nothing but
// the standard library, and no HTTP. A header, a unit or a dialect goes here, with its cases.
package ttl

import (
	"slices"
	"time"
)

// Response is an upstream's answer, as far as it matters here.
type Response struct {
	// Status is the HTTP status code.
	Status int
	// Header has canonical keys, such as "X-Ratelimit-Reset-Requests", as
	// net/http makes them. It is only read.
	Header map[string][]string
	// Body is the answer's body without its content coding. It may be cut off
	// anywhere and is nil where there is none. The cost of reading it grows
	// with its length, so bound it: rejections say what they have to say
	// within 64 KiB. It is only read, and not kept.
	Body []byte
	// Now is when the answer was received.
	Now time.Time
}

// Verdict is what an answer means and states.
type Verdict struct {
	Class Class
	// Stated tells whether the answer states how long to wait. It never does
	// for OK.
	Stated bool
	// Seconds is the stated wait from the time of receipt: finite, at least
	// 0, and as large as the answer likes (1e100 has been seen): compare it
	// as it is, do not convert it first. 0 where nothing is stated.
	Seconds float64
	// Source tells where the wait was read: a header's name in lower case, or
	// "body:" and the place, such as "body:message"; "" where nothing is
	// stated. It is one of a fixed set and so can label a metric.
	Source string
	// Proven tells that the answer itself shows that the key has nothing left:
	// nothing remaining and its reset, used-up figures, a plan's end. It is not so
	// for what may be the request's fault.
	Proven bool
}

// Dialect is one provider's way of speaking. It is immutable and safe for
// concurrent use.
type Dialect struct {
	rules  []rule
	plain  []rule // those of them that may fit an answer without a body
	ahead  []wait
	signs  signs     // the headers without which ahead finds nothing
	judges [200]bool // status − 400: whether a rule covers it
	china  bool      // dates without a zone are by China's clock
}

func newDialect(rules []rule, ahead ...[]wait) *Dialect {
	d := &Dialect{rules: slices.Clone(rules), ahead: slices.Concat(ahead...)}
	d.signs = signsOf(d.ahead)
	for i := range d.rules {
		r := &d.rules[i]
		if r.row = i + 1; r.bare() || r.fields != nil {
			d.plain = append(d.plain, *r)
		}
	}
	for i := range d.judges {
		d.judges[i] = slices.ContainsFunc(rules, func(r rule) bool { return r.covers(400 + i) })
	}
	return d
}

func (d *Dialect) inChina() *Dialect { d.china = true; return d }

// Judges tells whether an answer with this status can be anything but OK. Any
// other answer needs no judging, and nobody has to wait for its body.
func (d *Dialect) Judges(status int) bool {
	return status >= 400 && status <= 599 && d.judges[status-400]
}

// Judge returns what the answer means and how long it says to wait. Where the
// class is OK, nothing counts as stated: the headers that announce a reset
// come with successes as well, and so does Retry-After at some providers.
func (d *Dialect) Judge(r Response) Verdict {
	if !d.Judges(r.Status) {
		return Verdict{}
	}
	a := newAnswer(r)
	class, _ := d.classify(r.Status, a)
	return d.verdict(class, a)
}

// Explain is Judge or, for a status below 400, JudgeEvent, and tells by what. It is for
// people who want to know, and not for every answer.
func (d *Dialect) Explain(r Response) (Verdict, Evidence) {
	if r.Status >= 400 {
		a := newAnswer(r)
		class, why := d.classify(r.Status, a)
		return d.verdict(class, a), why
	}
	return d.explainEvent(r.Body, r.Now)
}

// Reset returns how long the answer says to wait, whatever its status and class,
// for callers that know already that the answer counts as a limit. The verdict's
// class is RateLimited.
func (d *Dialect) Reset(r Response) Verdict {
	return d.verdict(RateLimited, newAnswer(r))
}

// verdict returns the class together with what the answer states, which is
// nothing for OK.
func (d *Dialect) verdict(class Class, a answer) Verdict {
	if class == OK {
		return Verdict{}
	}
	a.china = d.china
	s, ok := a.stated(class)
	return Verdict{Class: class, Stated: ok, Seconds: s.seconds, Source: s.source, Proven: a.proven(class, ok)}
}

// classify returns the class of the first rule that fits.
func (d *Dialect) classify(status int, a answer) (Class, Evidence) {
	rules := d.rules
	if a.body == &noBody {
		rules = d.plain
	}
	for i := range rules {
		if kind, word := rules[i].match(status, a); kind != "" {
			return rules[i].class, Evidence{rules[i].row, kind, word}
		}
	}
	return OK, Evidence{}
}

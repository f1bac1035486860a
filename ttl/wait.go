package ttl

import (
	"math"
	"strings"
	"time"

	"github.com/keycycler/keycycler/ttl/date"
)

// wait is a row of a table: a place where an answer may state how
// long to wait, and how to read it. The first row that finds something decides.
type wait struct {
	read func(a answer, w *wait) (stated, bool)
	// field is the header to read, for the readers of one header.
	field field
	// windows are the limits to compare, for the readers of several.
	windows []window
	// value is the value of the body to read, and source what it is called,
	// for the readers of the body.
	value   role
	source  string
	lengths uint64 // of the headers without which it finds nothing: see answer
}

// stated is a wait in seconds, finite and at least 0, and where it was read.
type stated struct {
	seconds float64
	source  string
}

// answer is what the rows of a dialect look at.
type answer struct {
	header  map[string][]string
	lengths uint64 // of the header's names, as a set: most that are looked for are not there
	now     time.Time
	body    *errorBody // never nil
	china   bool       // the dialect is by China's clock
}

func newAnswer(r Response) answer {
	a := answer{header: r.Header, lengths: lengthsOf(r.Header), now: r.Now, body: &noBody}
	if len(r.Body) > 0 {
		a.body = readError(r.Body)
	}
	return a
}

// stated returns what the answer states, given what it means.
func (a answer) stated(class Class) (stated, bool) {
	if s, ok := a.first(toldWaits); ok {
		return s, true
	}
	switch class {
	case QuotaExhausted, InvalidKey, Unknown:
		return a.first(spentWaits)
	}
	return a.first(reportedWaits)
}

// first returns what the first row that finds something has found.
func (a answer) first(rows []wait) (stated, bool) {
	for i := range rows {
		if needs := rows[i].lengths; needs&a.lengths == 0 && (needs != 0 || a.body == &noBody) {
			continue // what it reads is not there
		}
		if s, ok := rows[i].read(a, &rows[i]); ok {
			return s, true
		}
	}
	return stated{}, false
}

// field is a header: its name in lower case, by which people know it, and its
// key in a header map.
type field struct{ name, key string }

// length is that of the key, as a set.
func (f field) length() uint64 { return 1 << (len(f.key) % 64) }

// named returns the field of that name in lower case. The key is what net/http
// makes of the name.
func named(name string) field {
	key := []byte(name)
	for i := range key {
		if (i == 0 || key[i-1] == '-') && 'a' <= key[i] && key[i] <= 'z' {
			key[i] -= 'a' - 'A'
		}
	}
	return field{name: name, key: string(key)}
}

var (
	dateField = named("date")
	ageField  = named("age")
)

// values returns the field's lines. A value with a comma in it is one value:
// the numbers and dates that are read here do not come in lists.
func (a answer) values(f field) []string {
	if a.lengths&f.length() == 0 {
		return nil
	}
	return a.header[f.key]
}

// lengthsOf returns the lengths of the header's names, as a set.
func lengthsOf(header map[string][]string) (lengths uint64) {
	for name := range header {
		lengths |= 1 << (len(name) % 64)
	}
	return lengths
}

func trim(value string) string { return strings.Trim(value, " \t") }

// sent returns when the answer was made, in seconds since 1970 by the
// upstream's clock. Absolute times in the same answer are by that clock, so
// that a wrong clock here does no harm. An answer with an Age comes out of a
// cache, which makes its Date an old one (RFC 9111, section 4.2.3), and only
// our own clock is left.
func (a answer) sent() float64 {
	if len(a.values(ageField)) == 0 {
		for _, value := range a.values(dateField) {
			if t, ok := date.Timestamp(trim(value), a.now); ok {
				return t
			}
		}
	}
	return date.Unix(a.now)
}

// until returns the seconds from the answer to t, in seconds since 1970; 0
// where t has passed.
func (a answer) until(t float64) float64 { return max(t-a.sent(), 0) }

// orUntil returns a number of seconds, or the wait until then where it is one of seconds
// or milliseconds since 1970 that is near enough to mean that.
func (a answer) orUntil(v float64) float64 {
	const near = 400 * 86400
	switch {
	case v >= 1e9 && math.Abs(v-a.sent()) < near:
		return a.until(v)
	case v >= 1e12 && math.Abs(v/1000-a.sent()) < near:
		return a.until(v / 1000)
	}
	return v
}

// inMilliseconds reads a header that counts milliseconds.
func inMilliseconds(a answer, w *wait) (stated, bool) {
	v, ok := a.numberIn(w.field)
	return stated{v / 1000, w.field.name}, ok
}

// inSecondsOrDate reads Retry-After (RFC 9110, section 10.2.3): seconds, with
// the fraction that some providers add, or an HTTP-date.
func inSecondsOrDate(a answer, w *wait) (stated, bool) {
	for _, value := range a.values(w.field) {
		value = trim(value)
		if v, ok := number(value); ok {
			return stated{a.orUntil(v), w.field.name}, true
		}
		if t, ok := date.HTTP(value, a.now); ok {
			return stated{a.until(date.Unix(t)), w.field.name}, true
		}
	}
	return stated{}, false
}

// asReset reads a header that says when a limit is reset, in any of the forms
// that have been seen.
func asReset(a answer, w *wait) (stated, bool) {
	for _, value := range a.values(w.field) {
		if v, ok := a.reset(trim(value), 1); ok {
			return stated{v, w.field.name}, true
		}
	}
	return stated{}, false
}

// reset reads one value of a reset header: a number of units of scale seconds,
// or a number too large for that: seconds or milliseconds since 1970; a
// duration; a date.
func (a answer) reset(value string, scale float64) (seconds float64, ok bool) {
	if v, ok := number(value); ok {
		switch {
		case v >= 1e12:
			return a.until(v / 1000), true
		case v >= 1e9:
			return a.until(v), true
		default:
			return v * scale, true
		}
	}
	if v, ok := duration(value); ok {
		return v, true
	}
	if t, ok := date.Timestamp(value, a.now); ok {
		return a.until(t), true
	}
	return 0, false
}

// inRetryInfo reads google.rpc.RetryInfo: a duration such as "34.4s" or, field
// by field, seconds and nanoseconds.
func inRetryInfo(a answer, w *wait) (stated, bool) {
	if text := string(a.body.values[isRetryDelay]); text != "" {
		v, ok := duration(trim(text))
		if !ok {
			v, ok = number(trim(text))
		}
		return stated{v, w.source}, ok
	}
	seconds, ok := number(string(a.body.values[isRetrySeconds]))
	nanos, hasNanos := number(string(a.body.values[isRetryNanos]))
	return stated{seconds + nanos/1e9, w.source}, (ok || hasNanos) && finite(seconds+nanos/1e9)
}

// inValue reads a value of the body that says when a limit is reset, in any of
// the forms that headers have.
func inValue(a answer, w *wait) (stated, bool) {
	v, ok := a.reset(trim(string(a.body.values[w.value])), 1)
	return stated{v, w.source}, ok
}

package ttl

import (
	"slices"
	"strings"

	"github.com/keycycler/keycycler/ttl/date"
)

// rule recognises one class by the status and by any one piece of evidence; a
// rule that asks for no evidence needs the status alone. In a dialect's table
// the first rule that fits decides.
type rule struct {
	row      int // in its dialect's table, from 1
	class    Class
	statuses []int // nil: all from 400 to 599

	// codes are compared whole with the error's code and type. They are the
	// best evidence: a client cannot influence them.
	codes []string
	// base are MiniMax's codes.
	base []string
	// begins are the starts of messages, in lower case. Providers quote what
	// the client sent in the middle of a message ("Invalid value: '…'"), and
	// who may choose those words must not be able to cool keys with them. So
	// statuses that a client can provoke, above all 400, take this one.
	begins []string
	// phrases are parts of messages, in lower case.
	phrases []string
	// fields are headers and their values.
	fields []fieldIs
	// oversized asks for a message that says that more was requested than the
	// limit allows.
	oversized bool
	// noLimit asks for a message that says that the limit is 0.
	noLimit bool
	// standing asks for an error that speaks of the key's money or standing.
	standing bool
}

// fieldIs asks for a header: with this value or, if value is "", with any that
// is not empty.
type fieldIs struct {
	field field
	value string
}

// Evidence is what a rule has recognised an answer by.
type Evidence struct {
	Row  int    // of the dialect's rules, from 1; 0: none fits
	Kind string // "status" alone, "code", "message", "header" or "limit"
	Word string // the code, the words or the header's name that the rule looks for
}

// match tells whether the rule fits, and by what.
func (r *rule) match(status int, a answer) (kind, word string) {
	switch {
	case !r.covers(status):
		return "", ""
	case r.bare():
		return "status", ""
	case a.body != &noBody:
		if word = r.code(a.body); word != "" {
			return "code", word
		}
		if word = r.words(status, a.body); word != "" {
			return "message", word
		}
		if r.fitsLimit(a.body) {
			return "limit", ""
		}
	}
	if word = r.header(a); word != "" {
		return "header", word
	}
	return "", ""
}

func (r *rule) covers(status int) bool {
	if r.statuses == nil {
		return status >= 400 && status <= 599
	}
	return slices.Contains(r.statuses, status)
}

func (r *rule) bare() bool {
	return r.codes == nil && r.base == nil && r.begins == nil && r.phrases == nil && r.fields == nil && !r.oversized && !r.noLimit && !r.standing
}

// code compares without regard to case: some write INSUFFICIENT_BALANCE.
func (r *rule) code(e *errorBody) string {
	for _, code := range e.codes.list() {
		for _, want := range r.codes {
			if len(code) == len(want) && strings.EqualFold(string(code), want) {
				return want
			}
		}
	}
	if i := slices.Index(r.base, e.base); e.base != "" && i >= 0 {
		return r.base[i]
	}
	return ""
}

func (r *rule) words(status int, e *errorBody) string {
	for _, want := range r.begins {
		if strings.HasPrefix(e.message, want) {
			return want
		}
	}
	if word := part(e.message, r.phrases); word != "" || !r.standing {
		return word
	}
	return wordOfStanding(status, e)
}

func (r *rule) fitsLimit(e *errorBody) bool {
	return r.oversized && oversized(e.message) ||
		r.noLimit && (e.values[isLimit] != nil || limitedToNothing(e.message))
}

func (r *rule) header(a answer) string {
	for _, want := range r.fields {
		for _, value := range a.values(want.field) {
			value = trim(value)
			if value != "" && (want.value == "" || value == want.value) {
				return want.field.name
			}
		}
	}
	return ""
}

// oversized tells whether a message such as "Limit 7000, Used 0, Requested
// ~12903" says that the request alone exceeds the limit. A limit of 0 is
// another matter: that account has no allowance, others may have.
func oversized(message string) bool {
	limit, _, ok := nextFigure(message, "limit")
	if !ok || limit == 0 {
		return false
	}
	requested, _, ok := nextFigure(message, "requested")
	return ok && requested > limit
}

// limitedToNothing tells whether a message names a limit of 0, as in "limit: 0,
// model: gemini-x". A message may name several limits.
func limitedToNothing(message string) bool {
	for {
		limit, rest, ok := nextFigure(message, "limit")
		if !ok {
			return false
		}
		if limit == 0 && (len(rest) < 2 || rest[0] != '.' || !date.IsDigit(rest[1])) { // not 0.5
			return true
		}
		message = rest
	}
}

// nextFigure returns the number after the first label that has one, and what
// stands after the number.
func nextFigure(text, label string) (value float64, rest string, ok bool) {
	for {
		_, after, found := strings.Cut(text, label)
		if !found {
			return 0, "", false
		}
		text = strings.TrimLeft(after, ": ~")
		if v, n := grouped(text); n > 0 {
			return v, text[n:], true
		}
	}
}

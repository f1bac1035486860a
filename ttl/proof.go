package ttl

import (
	"regexp"

	"github.com/keycycler/keycycler/ttl/date"
)

// proven tells whether the answer itself proves that the key has nothing left: a limit
// with nothing remaining and its reset, figures that are used up, or a plan whose time is
// stated.
func (a answer) proven(class Class, timed bool) bool {
	if class != RateLimited && class != QuotaExhausted {
		return false
	}
	a.lengths &^= dateField.length() // until when does not matter
	_, spent := a.first(spentWaits)
	if spent || a.body == &noBody {
		return spent
	}
	return usedUp(a.body.message) || timed && planEnds.code(a.body) != ""
}

// planEnds is said of a plan with its end.
var planEnds = rule{codes: []string{"usage_limit_reached", "usage_limit_exceeded"}}

// figures finds a limit and what of it is used, as OpenAI writes them: "Limit 30000, Used
// 30000, Requested 512", and others: "limit: 20, used: 20". All is in lower case.
var figures = regexp.MustCompile(`\blimit:? (\d{1,15})[,;/ ]{1,3}(?:used|current):? (\d{1,15})\b`)

// usedUp tells whether figures in the message say that all is used.
func usedUp(message string) bool {
	m := figures.FindStringSubmatch(message)
	return m != nil && date.Whole(m[1]) > 0 && date.Whole(m[2]) >= date.Whole(m[1])
}

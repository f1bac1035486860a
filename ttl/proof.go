package ttl

import (
	"regexp"
	"strconv"
)

// proven tells whether the answer itself proves that the key has nothing left: a limit
// with nothing remaining and its reset, figures that are used up, or a plan whose time is
// stated.
func (a answer) proven(class Class, timed bool) bool {
	if class != RateLimited && class != QuotaExhausted {
		return false
	}
	_, spent := a.first(spentWaits)
	return spent || usedUp(a.body.message) || timed && planEnds.code(a.body) != ""
}

// planEnds is said of a plan with its end.
var planEnds = rule{codes: []string{"usage_limit_reached", "usage_limit_exceeded"}}

// figures finds a limit and what of it is used, as OpenAI writes them: "Limit 30000, Used
// 30000, Requested 512", and others: "limit: 20, used: 20".
var figures = regexp.MustCompile(`(?i)\blimit:? (\d{1,15})[,;/ ]{1,3}(?:used|current):? (\d{1,15})\b`)

// usedUp tells whether figures in the message say that all is used.
func usedUp(message string) bool {
	m := figures.FindStringSubmatch(message)
	if m == nil {
		return false
	}
	limit, err := strconv.ParseInt(m[1], 10, 64)
	used, err2 := strconv.ParseInt(m[2], 10, 64)
	return err == nil && err2 == nil && limit > 0 && used >= limit
}

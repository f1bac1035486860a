package ttl

import "strings"

// inPolicies reads the RateLimit header of draft-ietf-httpapi-ratelimit-headers-10,
// a list of policies such as "burst";r=90;t=10, "daily";r=0;t=36000: of those
// with nothing remaining (r), the one whose reset (t, in seconds) is last. A
// policy that is not well-formed is left out. The draft's seventh edition has
// one limit in the header: limit=100, remaining=0, reset=50.
func inPolicies(a answer, w *wait) (stated, bool) {
	latest, found := 0.0, false
	var old oldPolicy
	for _, line := range a.values(w.field) {
		for line != "" {
			var policy string
			policy, line = cutUnquoted(line, ',')
			if v, ok := policyReset(policy); ok {
				latest, found = max(latest, v), true
			}
			old.read(policy)
		}
	}
	if old.spent && old.stated {
		latest, found = max(latest, old.reset), true
	}
	return stated{latest, w.field.name}, found
}

// oldPolicy is the limit of the draft's seventh edition.
type oldPolicy struct {
	spent, stated bool
	reset         float64
}

func (p *oldPolicy) read(member string) {
	member, _ = cutUnquoted(member, ';')
	name, value, _ := strings.Cut(trim(member), "=")
	v, valid := number(value)
	switch name {
	case "remaining":
		p.spent = valid && v == 0
	case "reset":
		p.reset, p.stated = v, valid
	}
}

// policyReset returns the reset of one policy that has nothing remaining.
func policyReset(policy string) (seconds float64, ok bool) {
	_, params := cutUnquoted(policy, ';')
	spent := false
	for params != "" {
		var param string
		param, params = cutUnquoted(params, ';')
		name, value, _ := strings.Cut(trim(param), "=")
		v, valid := number(value)
		switch name {
		case "r":
			spent = valid && v == 0
		case "t":
			seconds, ok = v, valid
		}
	}
	return seconds, ok && spent
}

// cutUnquoted cuts s around the first separator outside a quoted string (RFC
// 9651, section 3.3.3).
func cutUnquoted(s string, separator byte) (before, after string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == separator && !quoted:
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

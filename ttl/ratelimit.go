package ttl

import "strings"

// inPolicies reads the RateLimit header of draft-ietf-httpapi-ratelimit-headers,
// a list of policies such as "burst";r=90;t=10, "daily";r=0;t=36000: of those
// with nothing remaining (r), the one whose reset (t, in seconds) is last. A
// policy that is not well-formed is left out.
func inPolicies(a answer, w *wait) (stated, bool) {
	latest, found := 0.0, false
	for _, line := range a.values(w.field) {
		for line != "" {
			var policy string
			policy, line = cutUnquoted(line, ',')
			if v, ok := policyReset(policy); ok {
				latest, found = max(latest, v), true
			}
		}
	}
	return stated{latest, w.field.name}, found
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

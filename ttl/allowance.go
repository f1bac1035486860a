package ttl

import "strings"

// Allowance is one of a key's limits, as an answer states it.
type Allowance struct {
	// Of is what is limited, by the header's name or a policy's: requests, tokens,
	// input-tokens, … It may be a part of a header.
	Of string
	// Limit is above 0, and Remaining 0 to Limit.
	Limit, Remaining float64
	// Seconds is how long it takes from the time of receipt until all of it is
	// available again: finite, at least 0.
	Seconds float64
}

// Speaks tells of a response with this status and header whether Allowances could find
// something, and whether Ahead could: every success takes this way, and hardly any goes
// further. header has canonical keys, as in net/http.
func (d *Dialect) Speaks(status int, header map[string][]string) (states, spent bool) {
	if status < 200 || status > 299 {
		return false, false
	}
	for key, values := range header {
		if d.signs.have(key) {
			states = true
			for _, value := range values {
				spent = spent || mayBeSpent(value)
			}
		}
	}
	return states, spent
}

// Allowances appends to list what the headers state in full of limits: how much there is, how
// much is left, and when all of it will be. The body and the status do not count. It allocates
// nothing but room in the list.
func (d *Dialect) Allowances(list []Allowance, r Response) []Allowance {
	a := answer{header: r.Header, lengths: lengthsOf(r.Header), now: r.Now, body: &noBody}
	for i := range d.ahead {
		for j := range d.ahead[i].windows {
			list = a.allowance(list, &d.ahead[i].windows[j])
		}
		for _, line := range a.values(d.ahead[i].field) {
			list = a.policies(list, line)
		}
	}
	return list
}

// allowance appends what is stated of a window that counts.
func (a answer) allowance(list []Allowance, w *window) []Allowance {
	if w.of == "" || len(a.values(w.remaining)) == 0 {
		return list
	}
	limit, limited := a.numberIn(w.limit)
	remaining, remains := a.numberIn(w.remaining)
	seconds, ok := a.windowReset(w)
	return stating(list, Allowance{w.of, limit, remaining, seconds}, limited && remains && ok)
}

// stating appends what is stated in full, and can be so.
func stating(list []Allowance, s Allowance, full bool) []Allowance {
	if full && s.Limit > 0 && s.Remaining <= s.Limit {
		list = append(list, s)
	}
	return list
}

// numberIn returns the number in a header.
func (a answer) numberIn(f field) (v float64, ok bool) {
	for _, value := range a.values(f) {
		if v, ok = number(trim(value)); ok {
			break
		}
	}
	return v, ok
}

// policyField tells how much there is of what the RateLimit header tells the rest of.
var policyField = named("ratelimit-policy")

// policies appends what a line of RateLimit states together with RateLimit-Policy (see
// inPolicies): "burst";r=90;t=10, and "burst";q=100;w=60.
func (a answer) policies(list []Allowance, line string) []Allowance {
	for line != "" {
		var policy string
		policy, line = cutUnquoted(line, ',')
		name, params := cutUnquoted(policy, ';')
		remaining, remains := parameter(params, "r")
		seconds, ok := parameter(params, "t")
		limit, limited := a.quota(trim(name))
		list = stating(list, Allowance{strings.Trim(name, "\" \t"), limit, remaining, seconds}, limited && remains && ok)
	}
	return list
}

// quota returns how much the policy of that name allows.
func (a answer) quota(name string) (float64, bool) {
	for _, line := range a.values(policyField) {
		for line != "" {
			var policy string
			policy, line = cutUnquoted(line, ',')
			if of, params := cutUnquoted(policy, ';'); trim(of) == name {
				return parameter(params, "q")
			}
		}
	}
	return 0, false
}

// parameter returns the number that a policy has by that name.
func parameter(params, name string) (float64, bool) {
	for params != "" {
		var param string
		param, params = cutUnquoted(params, ';')
		if value, ok := strings.CutPrefix(trim(param), name+"="); ok {
			return number(value)
		}
	}
	return 0, false
}

package keycycler

import (
	"slices"
	"time"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/ttl"
)

// action is what happens after a response.
type action uint8

const (
	actionNone     action = iota
	actionPass            // the client gets the response
	actionRetry           // the next key, and nothing for this one
	actionCooldown        // this key cools, then the next key
)

// actions are the options' names for them.
var actions = map[string]action{"pass": actionPass, "retry": actionRetry, "cooldown": actionCooldown}

const actionNames = "cooldown, retry or pass"

// defaultActions is what a class means where the config says nothing: what no
// other key cures is passed on.
var defaultActions = [...]action{
	ttl.OK:              actionPass,
	ttl.RateLimited:     actionCooldown,
	ttl.QuotaExhausted:  actionCooldown,
	ttl.InvalidKey:      actionCooldown,
	ttl.RequestTooLarge: actionPass,
	ttl.Overloaded:      actionPass,
}

// echoStatuses are those whose bodies are known to repeat the key: they are held
// back to be masked even where nothing is judged by them.
var echoStatuses = []int{400, 401, 403}

// rule says what one kind of response means for the key that met it.
type rule struct {
	status   []int  // 400 to 599, 4 and 5 for all of 4xx and 5xx; or
	class    string // by its name
	action   string // by its name
	duration time.Duration
}

// ruling is what a rule of the config, or a default, says.
type ruling struct {
	action action
	fixed  time.Duration // with actionCooldown: 0 means what the response states
}

// verdict is what one response means.
type verdict struct {
	class    ttl.Class
	action   action
	cooldown time.Duration // with actionCooldown
	source   string        // where the duration comes from
	spent    bool          // it is a success that leaves nothing
}

// reason is how the engine keeps the class.
func (v verdict) reason() rotator.Reason {
	if v.spent {
		return reasonSpent
	}
	return rotator.Reason(v.class)
}

// judge says what responses mean: the provider's dialect, and the config's rules
// before it. It is immutable.
type judge struct {
	dialect *ttl.Dialect
	policy  ttl.Policy

	// Whether a success that leaves nothing of the key's allowance cools it.
	looksAhead bool

	classes  [len(defaultActions)]ruling // of the config; actionNone where it has no rule
	statuses map[int]ruling              // of the config; 4 and 5 stand for 4xx and 5xx
	held     [200]bool                   // status − 400: whether its responses are held back
}

func newJudge(dialect *ttl.Dialect, policy ttl.Policy, rules []rule) *judge {
	j := &judge{dialect: dialect, policy: policy, statuses: make(map[int]ruling)}
	for _, r := range rules {
		says := ruling{actions[r.action], r.duration}
		if class, ok := ttl.ParseClass(r.class); ok {
			j.classes[class] = says
		}
		for _, s := range r.status {
			j.statuses[s] = says
		}
	}
	for i := range j.held {
		j.held[i] = j.mayReject(400+i) || slices.Contains(echoStatuses, 400+i)
	}
	return j
}

// mayReject tells whether a response of that status can be anything but passed on.
func (j *judge) mayReject(status int) bool {
	if says := j.forStatus(status).action; says == actionRetry || says == actionCooldown {
		return true
	}
	if !j.dialect.Judges(status) {
		return false
	}
	for class := ttl.RateLimited; class <= ttl.Overloaded; class++ {
		if j.rule(class, status).action != actionPass {
			return true
		}
	}
	return false
}

// holds tells whether a response of that status is held back until it is judged.
func (j *judge) holds(status int) bool {
	return status >= 400 && status < 600 && j.held[status-400]
}

// rule returns what applies: the config's rule for the class, its rule for the
// status, the class's default.
func (j *judge) rule(class ttl.Class, status int) ruling {
	if says := j.classes[class]; says.action != actionNone {
		return says
	}
	if says := j.forStatus(status); says.action != actionNone {
		return says
	}
	return ruling{action: defaultActions[class]}
}

func (j *judge) forStatus(status int) ruling {
	if says, ok := j.statuses[status]; ok {
		return says
	}
	return j.statuses[status/100]
}

// judge says what the response means. random is in [0, 1).
func (j *judge) judge(response ttl.Response, random float64) verdict {
	stated := j.dialect.Judge(response)
	says := j.rule(stated.Class, response.Status)
	if says.action == actionCooldown && stated.Class == ttl.OK {
		// A rule of the config says that this status cools the key: then what the
		// response states counts, as it does for a rate limit.
		stated = j.dialect.Reset(response)
	}
	return j.verdict(stated, says, random)
}

// judgeEvent says what an error means that stands in the body of a response of
// this status. random is in [0, 1).
func (j *judge) judgeEvent(status int, body []byte, now time.Time, random float64) verdict {
	stated := j.dialect.JudgeEvent(body, now)
	if stated.Class == ttl.OK {
		return verdict{action: actionPass}
	}
	return j.verdict(stated, j.rule(stated.Class, status), random)
}

// mayBeSpent tells whether ahead could say something: only then it needs the time.
func (j *judge) mayBeSpent(status int, header map[string][]string) bool {
	return j.looksAhead && j.dialect.MayBeSpent(status, header)
}

// ahead says how long the key shall rest after a success that leaves nothing of its
// allowance. Neither the bounds nor the jitter count: the time is exact.
func (j *judge) ahead(status int, header map[string][]string, now time.Time) (verdict, bool) {
	seconds, source, ok := j.dialect.Ahead(ttl.Response{Status: status, Header: header, Now: now})
	if !ok || seconds <= 0 {
		return verdict{}, false
	}
	longest := j.policy.Max.Seconds()
	return verdict{
		class: ttl.RateLimited, action: actionCooldown, source: source, spent: true,
		cooldown: time.Duration(min(seconds, longest) * float64(time.Second)),
	}, true
}

func (j *judge) verdict(stated ttl.Verdict, says ruling, random float64) verdict {
	v := verdict{class: stated.Class, action: says.action}
	switch {
	case says.action != actionCooldown:
	case says.fixed > 0:
		v.cooldown, v.source = j.policy.Fixed(says.fixed, random), sourceConfig
	default:
		v.cooldown, v.source = j.policy.Cooldown(stated, random), stated.Source
		if !stated.Stated || stated.Class == ttl.InvalidKey { // which cools for max, whatever is stated
			v.source = sourceDefault
		}
	}
	return v
}

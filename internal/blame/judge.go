package blame

import (
	"slices"
	"strings"
	"time"

	"github.com/keycycler/keycycler/internal/reason"
	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/ttl"
)

// Action is what happens after a response.
type Action uint8

const (
	ActionNone     Action = iota
	ActionPass            // the client gets the response
	actionRetry           // the next key, and nothing for this one
	ActionCooldown        // this key cools, then the next key
	ActionAway            // a key of another address, and nothing for this one; if there is none, ActionPass
)

// Actions are the options' names for them.
var Actions = map[string]Action{"pass": ActionPass, "retry": actionRetry, "cooldown": ActionCooldown}

const ActionNames = "cooldown, retry or pass"

// Faults are the errors of the connection that rules may be about.
var Faults = []string{faultConnect, "timeout", "reset"}

// faultConnect is that nothing went upstream.
const faultConnect = "connect"

// defaultActions is what a class means where the config says nothing: what no
// other key cures is passed on.
var defaultActions = [...]Action{
	ttl.OK:              ActionPass,
	ttl.RateLimited:     ActionCooldown,
	ttl.QuotaExhausted:  ActionCooldown,
	ttl.InvalidKey:      ActionCooldown,
	ttl.RequestTooLarge: ActionPass,
	ttl.Overloaded:      ActionPass,
	ttl.Unknown:         ActionCooldown,
}

// DefaultPolicy is how keys cool where the config says nothing.
var DefaultPolicy = Policy{Default: time.Minute, Min: 30 * time.Second, Max: 24 * time.Hour, Jitter: 10}

// echoStatuses are those whose bodies are known to repeat the key: they are held
// back to be masked even where nothing is judged by them.
var echoStatuses = []int{400, 401, 403}

// Rule says what one kind of response means for the key that met it.
type Rule struct {
	Status   []int    // 400 to 599, 4 and 5 for all of 4xx and 5xx; or
	Class    string   // by its name; or
	Fault    []string // errors of the connection, by their names
	Text     string   // "", or what the body must contain, in upper or lower case
	Action   string   // by its name
	Duration time.Duration
}

// ruling is what a rule of the config, or a default, says.
type ruling struct {
	action Action
	fixed  time.Duration // with ActionCooldown: 0 means what the response states
	own    bool          // it is the config's
}

// Verdict is what one response means.
type Verdict struct {
	Class    ttl.Class
	Action   Action
	Cooldown time.Duration // with ActionCooldown
	Stated   time.Duration // for how long the response says that the key is refused; 0: it does not
	Proven   bool          // it is the key's own fault, whatever becomes of the request
	Source   string        // where the duration comes from
	Spent    bool          // it is a success that leaves nothing
}

// Reason is how the engine keeps the class.
func (v Verdict) Reason() rotator.Reason {
	if v.Spent {
		return reason.Spent
	}
	return rotator.Reason(v.Class)
}

// Judge says what responses mean: the provider's dialect, and the config's rules
// before it. It is immutable.
type Judge struct {
	dialect *ttl.Dialect
	Policy  Policy

	// Whether a success that leaves nothing of the key's allowance cools it.
	LooksAhead bool

	// Whether a key that was refused cools to the letter of the config, whatever becomes
	// of the request, and is not used before its time.
	ToTheLetter bool

	// Whether keys have upstreams of their own: then answers of one that is not available
	// go to another, if no rule is about them.
	spread bool

	faults   map[string]Action           // of the config
	classes  [len(defaultActions)]ruling // of the config; ActionNone where it has no rule
	statuses map[int]ruling              // of the config; 4 and 5 stand for 4xx and 5xx
	texts    []textRule                  // of the config, in its order: they come first
	held     [200]bool                   // Status − 400: whether its responses are held back
}

func NewJudge(dialect *ttl.Dialect, policy Policy, rules []Rule) *Judge {
	j := &Judge{dialect: dialect, Policy: policy, statuses: make(map[int]ruling), faults: make(map[string]Action)}
	for _, r := range rules {
		says := ruling{action: Actions[r.Action], fixed: r.Duration, own: true}
		if r.Text != "" {
			class, _ := ttl.ParseClass(r.Class)
			j.texts = append(j.texts, textRule{r.Status, class, strings.ToLower(r.Text), says})
			continue
		}
		if class, ok := ttl.ParseClass(r.Class); ok {
			j.classes[class] = says
		}
		for _, s := range r.Status {
			j.statuses[s] = says
		}
		for _, f := range r.Fault {
			j.faults[f] = says.action
		}
	}
	j.holdBack()
	return j
}

// holdBack finds out which responses are held back.
func (j *Judge) holdBack() {
	for i := range j.held {
		j.held[i] = j.mayReject(400+i) || slices.Contains(echoStatuses, 400+i)
	}
}

// Spread tells the judge that keys have upstreams of their own, before it is used.
func (j *Judge) Spread() {
	j.spread = true
	j.holdBack()
}

// mayReject tells whether a response of that status can be anything but passed on.
func (j *Judge) mayReject(status int) bool {
	if j.rule(ttl.OK, status).action != ActionPass {
		return true
	}
	if slices.ContainsFunc(j.texts, func(t textRule) bool { return t.isAbout(status) }) {
		return true
	}
	if !j.dialect.Judges(status) {
		return false
	}
	for class := ttl.RateLimited; class <= ttl.Unknown; class++ {
		if j.rule(class, status).action != ActionPass {
			return true
		}
	}
	return false
}

// Holds tells whether a response of that status is held back until it is judged.
func (j *Judge) Holds(status int) bool {
	return status >= 400 && status < 600 && j.held[status-400]
}

// textRule is a rule for what a body contains.
type textRule struct {
	status []int
	class  ttl.Class // or OK
	text   string    // in lower case
	says   ruling
}

func (t *textRule) isAbout(status int) bool {
	return slices.Contains(t.status, status) || slices.Contains(t.status, status/100)
}

// ruleFor returns what applies to a response with this body: the first rule for a text
// that it contains, or what applies to any.
func (j *Judge) ruleFor(class ttl.Class, status int, body []byte) ruling {
	for i := range j.texts {
		t := &j.texts[i]
		if (t.isAbout(status) || class != ttl.OK && t.class == class) && ttl.Contains(body, t.text) {
			return t.says
		}
	}
	return j.rule(class, status)
}

// Rule returns what applies: the config's rule for the class, its rule for the
// status, the class's default.
func (j *Judge) rule(class ttl.Class, status int) ruling {
	if says := j.classes[class]; says.action != ActionNone {
		return says
	}
	if says := j.forStatus(status); says.action != ActionNone {
		return says
	}
	says := ruling{action: defaultActions[class]}
	if says.action == ActionPass && j.spread && isAway(status) {
		says.action = ActionAway
	}
	return says
}

// The statuses that package http names so.
const (
	badGateway         = 502
	serviceUnavailable = 503
)

// isAway tells whether an answer says that the upstream has not taken the request: what
// another one does is not done twice.
func isAway(status int) bool {
	return status == badGateway || status == serviceUnavailable
}

// HeedsFaults tells whether anything follows from errors of the connection.
func (j *Judge) HeedsFaults() bool { return j.spread || len(j.faults) > 0 }

// MovesOn tells whether another key is tried after an error of the connection, by its
// name; status is one of which the error speaks, 0 for none. away tells whether there is
// another address, and the request may go there.
func (j *Judge) MovesOn(fault string, status int, away bool) bool {
	says := j.faults[fault]
	if says == ActionNone && status > 0 {
		says = j.forStatus(status).action
	}
	if says == ActionNone {
		return away && (fault == faultConnect || isAway(status))
	}
	return says != ActionPass
}

func (j *Judge) forStatus(status int) ruling {
	if says, ok := j.statuses[status]; ok {
		return says
	}
	return j.statuses[status/100]
}

// Judge says what the response means. random is in [0, 1).
func (j *Judge) Judge(response ttl.Response, random float64) Verdict {
	stated := j.dialect.Judge(response)
	says := j.ruleFor(stated.Class, response.Status, response.Body)
	if says.action == ActionCooldown && stated.Class == ttl.OK {
		// A rule of the config says that this status cools the key: then what the
		// response states counts, as it does for a rate limit.
		stated = j.dialect.Reset(response)
	}
	return j.verdict(stated, says, random)
}

// JudgeEvent says what an error means that stands in the body of a response of
// this status. random is in [0, 1).
func (j *Judge) JudgeEvent(status int, body []byte, now time.Time, random float64) Verdict {
	stated := j.dialect.JudgeEvent(body, now)
	if stated.Class == ttl.OK {
		return Verdict{Action: ActionPass}
	}
	return j.verdict(stated, j.ruleFor(stated.Class, status, body), random)
}

// Speaks tells whether a success may state something of the key's limits, and whether Ahead
// could say something: only then these need the time.
func (j *Judge) Speaks(status int, header map[string][]string) (states, spent bool) {
	states, spent = j.dialect.Speaks(status, header)
	return states, spent && j.LooksAhead
}

// Ahead says how long the key shall rest after a success that leaves nothing of its
// allowance. Neither the bounds nor the jitter count: the time is exact.
func (j *Judge) Ahead(status int, header map[string][]string, now time.Time) (Verdict, bool) {
	seconds, source, ok := j.dialect.Ahead(ttl.Response{Status: status, Header: header, Now: now})
	if !ok || seconds <= 0 {
		return Verdict{}, false
	}
	longest := j.Policy.Max.Seconds()
	return Verdict{
		Class: ttl.RateLimited, Action: ActionCooldown, Source: source, Spent: true,
		Cooldown: time.Duration(min(seconds, longest) * float64(time.Second)), Proven: true,
	}, true
}

func (j *Judge) verdict(stated ttl.Verdict, says ruling, random float64) Verdict {
	v := Verdict{Class: stated.Class, Action: says.action}
	switch {
	case says.action != ActionCooldown:
		return v
	case says.fixed > 0:
		v.Cooldown, v.Source = j.Policy.Fixed(says.fixed, random), reason.SourceConfig
	default:
		v.Cooldown, v.Source = j.Policy.Cooldown(stated, random), stated.Source
		if !stated.Stated {
			v.Source = reason.SourceDefault
		}
	}
	v.Proven = says.own || stated.Proven || j.ToTheLetter
	if stated.Stated && !says.own && !j.ToTheLetter {
		v.Stated = time.Duration(min(stated.Seconds, j.Policy.Max.Seconds()) * float64(time.Second))
	}
	return v
}

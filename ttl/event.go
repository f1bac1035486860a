package ttl

import (
	"bytes"
	"strings"
	"time"

	"github.com/keycycler/keycycler/ttl/walk"
)

// JudgeEvent returns what an error means that comes in an answer of status 200:
// in an event of its stream, as Anthropic and OpenAI send it once the answer has
// begun, or as the whole body, as OpenRouter does. data is the event's payload,
// what stands after "data:", or that body; it is only read, and not kept.
//
// Only an object that is an error itself counts: whatever a healthy payload
// says in its text, in arguments of tools or in what it repeats of the request,
// is OK. A payload without an error in it costs one search for the word.
func (d *Dialect) JudgeEvent(data []byte, now time.Time) (v Verdict) {
	if mentionsError(data) {
		v, _ = d.explainEvent(data, now)
	}
	return v
}

func (d *Dialect) explainEvent(data []byte, now time.Time) (Verdict, Evidence) {
	e, isError := readEvent(data)
	if !isError {
		return Verdict{}, Evidence{}
	}
	a := answer{now: now, body: e}
	class, why := d.classifyEvent(a)
	return d.verdict(class, a), why
}

// mentionsError tells whether there is an "error" in the data, as a member or as
// a value, other than the member that is null in every healthy response of
// OpenAI's; or MiniMax's member for errors.
func mentionsError(data []byte) bool {
	for all := data; ; {
		_, after, found := bytes.Cut(data, []byte(`"error"`))
		if !found {
			return bytes.Contains(all, []byte(`"base_resp"`)) // MiniMax
		}
		value, isMember := bytes.CutPrefix(walk.TrimSpace(after), []byte(":"))
		if !isMember || !bytes.HasPrefix(walk.TrimSpace(value), []byte("null")) {
			return true
		}
		data = after
	}
}

// classifyEvent classifies by the status that the error would have had as an
// answer of its own, and by the codes whatever the status.
func (d *Dialect) classifyEvent(a answer) (Class, Evidence) {
	status := eventStatus(&a.body.codes)
	for i := range d.rules {
		r := &d.rules[i]
		if word := r.code(a.body); word != "" {
			return r.class, Evidence{r.row, "code", word}
		}
		if kind, word := r.match(status, a); kind != "" {
			return r.class, Evidence{r.row, kind, word}
		}
	}
	return OK, Evidence{}
}

// eventRoles are the roles of what stands in an error object.
var eventRoles = func() map[string]role {
	within := map[string]role{}
	for path, r := range roles {
		if strings.HasPrefix(path, ".error.") || strings.HasPrefix(path, ".base_resp.") {
			within[path] = r
		}
	}
	return within
}()

// readEvent reads the error in an event and tells whether there is one: an
// object in the member "error", beside or without the parts of an answer; the
// event itself, if it says that it is an error; the "error" of a response that
// has failed.
func readEvent(data []byte) (*errorBody, bool) {
	e := new(errorBody)
	kind := eventKind(data)
	switch kind {
	case "error":
		e.read(data, "", roles)
	case "response.failed":
		e.read(data, ".response", eventRoles)
	case "response.done": // OpenAI's realtime API
		e.read(data, ".response.status_details", eventRoles)
	default:
		e.read(data, "", eventRoles)
	}
	message := e.rawMessage()
	e.message = plain(unescape(message))
	e.findCodes()
	return e, e.codes.n > 0 || e.base != "" || e.values[isMessage] != nil || message != nil && kind == "error"
}

// eventKind returns what an event calls itself, where that matters: Anthropic
// and OpenAI have it in "type", Mistral and vLLM "error" in "object".
func eventKind(data []byte) (kind string) {
	w := walk.Walker{Rest: data, Path: make([]byte, 0, maxPath)}
	w.Leaf = func(path, value []byte, quoted bool) {
		isType := string(path) == ".type"
		switch {
		case !quoted || kind != "":
		case string(value) == "error" && (isType || string(path) == ".object"):
			kind = "error"
		case isType && (string(value) == "response.failed" || string(value) == "response.done"):
			kind = string(value)
		}
	}
	w.Value(0)
	return kind
}

// eventStatuses are the statuses that go with the codes of errors outside of
// streams.
var eventStatuses = map[string]int{
	"rate_limit_error":         429, // Anthropic
	"model_cooldown":           429, // CLIProxyAPI
	"too_many_requests_error":  429, // Cerebras
	"Throttling":               429, // DashScope
	"ThrottlingException":      429, // AWS
	"rate_limit_exceeded":      429, // OpenAI
	"rate_limit_reached_error": 429, // Moonshot
	"rate_limited":             429, // Mistral
	"too_many_requests":        429,
	"TooManyRequests":          429, // Volcengine
	"requests":                 429, // OpenAI's types of rate limits
	"tokens":                   429,
	"insufficient_quota":       429,
	"usage_limit_reached":      429,
	"RESOURCE_EXHAUSTED":       429, // Gemini
	"RateLimitReached":         429, // GitHub Models
	"overloaded_error":         529, // Anthropic
	"server_is_overloaded":     503,
	"slow_down":                503,
	"UNAVAILABLE":              503,
	"request_too_large":        413,
	"permission_error":         403,
	"PERMISSION_DENIED":        403,
	"billing_error":            402,
	"authentication_error":     401,
	"invalid_api_key":          401,
	"UNAUTHENTICATED":          401,
}

// eventStatus returns the status that an error with these codes has, or names
// itself; 400 where they tell nothing.
func eventStatus(codes *codeList) int {
	for _, code := range codes.list() {
		if len(code) == 3 && digits(string(code)) == 3 && code[0] >= '4' && code[0] <= '5' {
			return int(whole(string(code)))
		}
	}
	for _, code := range codes.list() {
		if status, ok := eventStatuses[string(code)]; ok {
			return status
		}
	}
	return 400
}

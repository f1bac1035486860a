package ttl

import (
	"bytes"
	"strings"
	"time"

	"github.com/keycycler/keycycler/ttl/date"
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

// mentionsError tells whether there is an error in the data, as a member or as a value,
// other than the member that is null in every healthy response of OpenAI's; or a member
// with which some tell that they have failed.
func mentionsError(data []byte) bool {
	if bytes.Contains(data, []byte(`"base_resp"`)) || bytes.Contains(data, []byte(`"success"`)) {
		return true
	}
	for {
		_, after, found := bytes.Cut(data, []byte("rror"))
		if !found {
			return false
		}
		if quote := data[:len(data)-len(after)-len("rror")]; beginsError(quote) && endsError(after) {
			return true
		}
		data = after
	}
}

// beginsError tells whether a text ends with the beginning of "error", "Error" or "error_code".
func beginsError(text []byte) bool {
	return bytes.HasSuffix(text, []byte(`"e`)) || bytes.HasSuffix(text, []byte(`"E`))
}

// endsError tells whether a text begins with the end of one, and it is not null.
func endsError(text []byte) bool {
	after, found := bytes.CutPrefix(bytes.TrimPrefix(text, []byte("_code")), []byte(`"`))
	value, isMember := bytes.CutPrefix(walk.TrimSpace(after), []byte(":"))
	return found && !(isMember && bytes.HasPrefix(walk.TrimSpace(value), []byte("null")))
}

// classifyEvent classifies by the status that the error would have had as an
// answer of its own, and by the codes whatever the status.
func (d *Dialect) classifyEvent(a answer) (Class, Evidence) {
	status, told := eventStatus(&a.body.codes)
	if !told {
		status, a.body = 500, a.body.ownWords()
	}
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

// ownWords returns the error without what may be the client's in its message.
func (e *errorBody) ownWords() *errorBody {
	own := *e
	own.message = providersOwn(e.message)
	return &own
}

// eventRoles are the roles of what stands in an error object, and of what stands for one:
// a text, or Baidu's members.
var eventRoles = func() map[string]role {
	within := spelled(map[string]role{".error": isMessage3, ".error_code": isCode, ".error_msg": isMessage2})
	for path, r := range roles {
		if strings.HasPrefix(path, ".error.") || strings.HasPrefix(path, ".baseresp.") {
			within[path] = r
		}
	}
	return within
}()

// readEvent reads the error in an event and tells whether there is one: an
// object or a text in the member "error", beside or without the parts of an answer; the
// event itself, if it says that it is an error; the "error" of a response that
// has failed.
func readEvent(data []byte) (*errorBody, bool) {
	e := new(errorBody)
	kind := eventKind(data)
	switch kind {
	case "error":
		e.read(data, "", roles)
	case "response.failed", "Response": // OpenAI's event, Tencent's envelope
		e.read(data, "."+strings.TrimSuffix(kind, ".failed"), eventRoles)
	case "response.done": // OpenAI's realtime API
		e.read(data, ".response.status_details", eventRoles)
	default:
		e.read(data, "", eventRoles)
	}
	message := e.rawMessage()
	e.message = plain(unescape(message))
	e.findCodes()
	isError := e.codes.n > 0 || e.base != "" || e.values[isMessage] != nil || e.values[isMessage3] != nil
	return e, isError || message != nil && kind == "error"
}

// eventKind returns what an event calls itself, where that matters: Anthropic
// and OpenAI have it in "type", Mistral and vLLM "error" in "object"; others tell that
// they have had no success.
func eventKind(data []byte) (kind string) {
	w := walk.Walker{Rest: data, Path: make([]byte, 0, maxPath)}
	w.Leaf = func(path, value []byte, quoted bool) {
		if kind == "" {
			kind = kindOf(string(path), string(value), quoted)
		}
	}
	w.Value(0)
	return kind
}

// kindOf returns what a member tells of the kind of its event, "" for nothing.
func kindOf(path, value string, quoted bool) string {
	switch path {
	case ".type", ".object":
		if quoted && (value == "error" || path == ".type" && (value == "response.failed" || value == "response.done")) {
			return value
		}
	case ".success":
		if !quoted && value == "false" {
			return "error"
		}
	case ".Response.Error.Code":
		return "Response"
	}
	return ""
}

// eventStatuses are the statuses that go with the codes of errors outside of
// streams.
var eventStatuses = map[string]int{
	"rate_limit_error":         429, // Anthropic
	"model_cooldown":           429, // CLIProxyAPI
	"too_many_requests_error":  429, // Cerebras
	"Throttling":               429, // DashScope
	"1302":                     429, // Zhipu
	"1303":                     429,
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

// eventStatus returns the status that an error with these codes has, or names itself;
// 400 where a code is a word that tells nothing. Without one nothing is told: a number
// may mean anything, and "error" is what all of them are.
func eventStatus(codes *codeList) (status int, told bool) {
	for _, code := range codes.list() {
		if len(code) == 3 && date.Digits(string(code)) == 3 && code[0] >= '4' && code[0] <= '5' {
			return int(date.Whole(string(code))), true
		}
		told = told || date.Digits(string(code)) < len(code) && string(code) != "error"
	}
	for _, code := range codes.list() {
		if status, ok := eventStatuses[string(code)]; ok {
			return status, true
		}
	}
	return 400, told
}

package ttl

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/keycycler/keycycler/ttl/date"
	"github.com/keycycler/keycycler/ttl/walk"
)

// role is what a value in an error body is good for.
type role uint8

const (
	isCode role = iota + 1
	// Messages come in ranks; the first rank that a body has is its message.
	isMessage // from here on
	isMessage2
	isMessage3
	isMessage4
	isMessage5
	// Times, and what belongs to them.
	isRetryDelay // from here on
	isRetrySeconds
	isRetryNanos
	isResetsAt
	isResetsIn
	isResetSeconds
	isResetAt
	isHeaderReset
	isRetryAfter
	// What a limit amounts to, kept only where that is nothing.
	isLimit
	// Which limit it is, kept only where it is a day's.
	isQuotaID
	// MiniMax's own code, 0 in every success.
	isBaseCode
	lastRole
)

// roles tells, by the path in the body, where errors keep their code, their message and
// their times. Everything else in a body may be an echo of what the client sent. Case and
// underscores make no difference: it is Message or message, resetAt or reset_at.
var roles = spelled(map[string]role{
	".error.code":               isCode, // OpenAI; a number at OpenRouter and Gemini
	".error.type":               isCode,
	".error.status":             isCode, // Gemini
	".error.reason":             isCode,
	".error.details.reason":     isCode, // google.rpc.ErrorInfo
	".error.details.error_code": isCode, // Anthropic
	".details.reason":           isCode, // a google.rpc.Status without its envelope
	".code":                     isCode, // Mistral, xAI, sub2api
	".type":                     isCode,
	".__type":                   isCode, // AWS
	".reason":                   isCode, // Novita
	".error_code":               isCode, // Cloudflare, Baidu
	".errors.code":              isCode, // Cloudflare's API, JSON:API
	".detail.code":              isCode,
	".response.error.code":      isCode, // Tencent
	".base_resp.status_code":    isBaseCode,

	"":                        isMessage, // a bare string, as at Cerebras
	".error.message":          isMessage, // AWS: Message
	".errors.message":         isMessage,
	".message":                isMessage2, // Mistral; others put the status text in "error" then
	".msg":                    isMessage2,
	".error_msg":              isMessage2, // Baidu
	".error_message":          isMessage2,
	".base_resp.status_msg":   isMessage2, // MiniMax
	".response.error.message": isMessage2, // Tencent
	".error":                  isMessage3, // xAI
	".errors":                 isMessage3,
	".detail":                 isMessage4, // FastAPI; RFC 9457
	".detail.message":         isMessage4,
	".detail.error":           isMessage4, // DeepInfra
	".title":                  isMessage5, // RFC 9457

	// google.rpc.RetryInfo: a string in JSON, an object where somebody prints
	// the message field by field. The details stand in any order, and their
	// type is not asked for: none of the others has a member of this name, and
	// "@type" has been seen misspelt.
	".error.details.retrydelay":         isRetryDelay,
	".error.details.retrydelay.seconds": isRetrySeconds,
	".error.details.retrydelay.nanos":   isRetryNanos,
	".details.retrydelay":               isRetryDelay,
	".details.retrydelay.seconds":       isRetrySeconds,
	".details.retrydelay.nanos":         isRetryNanos,

	".error.details.violations.quotavalue": isLimit,   // google.rpc.QuotaFailure
	".error.details.violations.quotaid":    isQuotaID, // likewise

	".error.resets_at":          isResetsAt, // OpenAI's Codex
	".error.resets_in_seconds":  isResetsIn,
	".error.reset_seconds":      isResetSeconds, // CLIProxyAPI
	".reset_seconds":            isResetSeconds,
	".error.reset_at":           isResetAt,
	".error.reset_time":         isResetAt,
	".error.metadata.reset_at":  isResetAt,
	".error.details.reset_at":   isResetAt,
	".error.details.reset_time": isResetAt,
	".reset_at":                 isResetAt,
	".resets_at":                isResetAt,
	".reset_time":               isResetAt,
	// OpenRouter hands on the headers of the limit in the body.
	".error.metadata.headers.x-ratelimit-reset": isHeaderReset,
	".error.metadata.headers.retry-after":       isRetryAfter,
	".error.metadata.retry_after":               isRetryAfter,
	".error.metadata.retry_after_seconds":       isRetryAfter,
	".error.retry_after":                        isRetryAfter,
	".error.retry_after_seconds":                isRetryAfter,
	".retry_after":                              isRetryAfter, // Cloudflare
	".retry_after_seconds":                      isRetryAfter,
})

// spelled returns the roles by their paths as appendSpelled has them.
func spelled(roles map[string]role) map[string]role {
	out := make(map[string]role, len(roles))
	for path, r := range roles {
		out[string(appendSpelled(nil, []byte(path)))] = r
	}
	return out
}

// maxPath is no less than the longest key of roles has, and a little more for
// what stands around it in an event.
const maxPath = 64

// codeList holds the codes of an error, as they stand in the body.
type codeList struct {
	codes [8][]byte
	n     int
}

func (c *codeList) list() [][]byte { return c.codes[:c.n] }

func (c *codeList) add(code []byte) {
	if c.n < len(c.codes) {
		c.codes[c.n] = code
		c.n++
	}
}

// errorBody is what an error's body says.
type errorBody struct {
	message string // in lower case, every kind of white space a space
	codes   codeList
	chinese bool             // the message is
	base    string           // MiniMax's code: its numbers mean other things elsewhere
	values  [lastRole][]byte // of the other roles, as they stand in the body
}

// noBody is the body of an answer without one. It is only read.
var noBody errorBody

// readError returns what an error body says. The message of a body that is not
// JSON, or too broken to have one, is the whole body.
func readError(body []byte) *errorBody {
	body = bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
	e := new(errorBody)
	isJSON := looksLikeJSON(body)
	complete := isJSON && e.read(body, "", roles)
	defer e.findCodes()
	switch message := e.rawMessage(); {
	case message != nil:
		e.message = plain(unescape(message))
	case isJSON && !complete:
		e.message = withoutEdge(plain(body))
	case !complete:
		e.message = plain(body)
	}
	return e
}

// findCodes finds codes in the message: MiniMax's, unless it has a member of its own, at
// its end, "insufficient balance (1008)"; Zhipu's at its beginning, "[1308][Usage limit …".
func (e *errorBody) findCodes() {
	if m := e.message; len(m) > 6 && m[0] == '[' && date.Digits(m[1:]) == 4 && m[5] == ']' {
		e.codes.add([]byte(m[1:5]))
	}
	e.chinese = inChinese(e.message)
	e.base = string(e.values[isBaseCode])
	message := strings.TrimRight(e.message, " .")
	open := strings.LastIndexByte(message, '(')
	if e.base != "" || open < 0 || message[len(message)-1] != ')' {
		return
	}
	if code := message[open+1 : len(message)-1]; len(code) == 4 && date.Digits(code) == 4 {
		e.base = code
	}
}

// withoutEdge takes off the end of a text that is cut off, where that may be
// half a time: "try again in 5" of 58 seconds, "in 900m" of 900 milliseconds. A
// text without quotes is no JSON that is cut off, but a text.
func withoutEdge(text string) string {
	if strings.IndexByte(text, '"') < 0 {
		return text
	}
	number := strings.TrimRight(strings.TrimSuffix(text, "m"), "0123456789.")
	if date.IsDigit(text[len(text)-1]) || len(number) < len(text)-1 {
		return number
	}
	return text
}

// read collects what the JSON text says at the paths that begin with prefix and
// go on as in roles. It tells whether the text is whole.
func (e *errorBody) read(body []byte, prefix string, roles map[string]role) bool {
	w := walk.Walker{Rest: body, Path: make([]byte, 0, maxPath)}
	w.Leaf = func(path, value []byte, quoted bool) {
		var lower [maxPath]byte
		if len(path) <= maxPath && len(value) > 0 && len(path) >= len(prefix) && string(path[:len(prefix)]) == prefix {
			e.take(roles[string(appendSpelled(lower[:0], path[len(prefix):]))], value, quoted)
		}
	}
	return w.Value(0) && len(bytes.TrimSpace(w.Rest)) == 0
}

// take keeps a value: every code, and the first of anything else.
func (e *errorBody) take(r role, value []byte, quoted bool) {
	switch {
	case r == 0:
	case r < isRetryDelay && r >= isMessage && !quoted: // a message is a text
	case !quoted && !date.IsDigit(value[0]): // true, false, null and negative numbers say nothing
	case r == isCode && string(value) == "0": // it went well
	case r == isCode:
		e.codes.add(value)
	case r == isLimit && string(value) != "0":
	case r == isQuotaID && !bytes.Contains(value, []byte("PerDay")):
	case r == isBaseCode && string(value) == "0":
	case e.values[r] == nil:
		e.values[r] = value
	}
}

// appendSpelled appends a path in lower case and without underscores.
func appendSpelled(to, path []byte) []byte {
	for _, c := range path {
		switch {
		case 'A' <= c && c <= 'Z':
			to = append(to, c|0x20)
		case c != '_':
			to = append(to, c)
		}
	}
	return to
}

// rawMessage returns the message as it stands in the body, nil where there is
// none.
func (e *errorBody) rawMessage() []byte {
	for _, m := range e.values[isMessage:isRetryDelay] {
		if m != nil {
			return m
		}
	}
	return nil
}

func looksLikeJSON(body []byte) bool {
	body = walk.TrimSpace(body)
	return len(body) > 0 && (body[0] == '{' || body[0] == '[' || body[0] == '"')
}

// Contains tells whether a body contains the text, which is in lower case: as it stands
// there or as its JSON strings say it, in upper or lower case, whatever kind of white space
// is between the words.
func Contains(body []byte, text string) bool {
	return strings.Contains(plain(body), text) || strings.Contains(plain(unescape(body)), text)
}

// plain returns the text in the form that words are looked for in: in lower
// case, and every kind of white space a space, since texts break lines anywhere.
func plain(text []byte) string {
	text = bytes.Clone(text)
	for i, c := range text {
		if c == '\n' || c == '\r' || c == '\t' {
			text[i] = ' '
		}
	}
	return strings.ToLower(string(text))
}

// unescape undoes the escapes of a JSON string, every kind of white space
// becoming a space: words are looked for in the result. A surrogate becomes a
// replacement character, and an escape that is none stays as it is.
func unescape(s []byte) []byte {
	i := bytes.IndexByte(s, '\\')
	if i < 0 {
		return s
	}
	out := append(make([]byte, 0, len(s)), s[:i]...)
	for s = s[i:]; len(s) > 1; {
		if s[0] != '\\' {
			out = append(out, s[0])
			s = s[1:]
			continue
		}
		var n int
		out, n = appendEscaped(out, s)
		s = s[n:]
	}
	return append(out, s...)
}

// appendEscaped appends what the escape that s begins with stands for, and
// returns the escape's length.
func appendEscaped(out, s []byte) ([]byte, int) {
	switch s[1] {
	case 'n', 't', 'r', 'f', 'b':
		return append(out, ' '), 2
	case '"', '\\', '/':
		return append(out, s[1]), 2
	case 'u':
		if len(s) >= 6 {
			if r, err := strconv.ParseUint(string(s[2:6]), 16, 16); err == nil {
				return utf8.AppendRune(out, rune(r)), 6
			}
		}
	}
	return append(out, s[0]), 1
}

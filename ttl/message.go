package ttl

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"
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
	lastRole
)

// roles tells, by the path in the body, where errors keep their code and their
// message. Everything else in a body may be an echo of what the client sent.
var roles = map[string]role{
	".error.code":   isCode, // OpenAI; a number at OpenRouter and Gemini
	".error.type":   isCode,
	".error.status": isCode,
	".code":         isCode, // Mistral, xAI
	".type":         isCode,
	".error_code":   isCode, // Cloudflare

	"":               isMessage, // a bare string, as at Cerebras
	".error.message": isMessage,
	".message":       isMessage2, // Mistral; others put the status text in "error" then
	".error":         isMessage3, // xAI
	".detail":        isMessage4, // FastAPI; RFC 9457
	".title":         isMessage5, // RFC 9457
}

// maxPath is more than the longest key of roles has.
const maxPath = 32

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

// readError returns what an error body says: its message in lower case, and
// its codes. The message of a body that is not JSON, or too broken to have one,
// is the whole body.
func readError(body []byte) (message string, codes codeList) {
	body = bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
	var messages [lastRole][]byte
	w := walker{rest: body, path: make([]byte, 0, 2*maxPath)}
	w.leaf = func(path, value []byte, quoted bool) {
		if len(path) > maxPath || len(value) == 0 {
			return
		}
		switch r := roles[string(path)]; {
		case r == isCode && (quoted || isDigit(value[0])):
			codes.add(value)
		case r >= isMessage && quoted && messages[r] == nil:
			messages[r] = value
		}
	}
	complete := looksLikeJSON(body) && w.value(0) && len(bytes.TrimSpace(w.rest)) == 0
	for _, m := range messages[isMessage:] {
		if m != nil {
			return strings.ToLower(string(unescape(m))), codes
		}
	}
	if complete {
		return "", codes
	}
	return strings.ToLower(string(body)), codes
}

func looksLikeJSON(body []byte) bool {
	body = bytes.TrimLeft(body, " \t\r\n")
	return len(body) > 0 && (body[0] == '{' || body[0] == '[' || body[0] == '"')
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

package credential

import (
	"bytes"
	"net/http"
	"net/url"
	"strconv"

	"github.com/keycycler/keycycler/internal/peek"
)

// maskByte stands for every byte of a key that an upstream echoed.
const maskByte = '*'

// Mask blots a key out of a body that is about to be passed on, and out
// of the header. The lengths stay, unless the body was compressed: then the
// client gets it decoded, if the body is whole; the beginning of one that goes on
// cannot be changed.
func Mask(h http.Header, body []byte, whole bool, secret string) []byte {
	MaskHeader(h, secret)
	coding := h.Get("Content-Encoding")
	if coding == "" {
		maskBytes(body, []byte(secret))
		return body
	}
	if !whole {
		return body
	}
	reader := peek.Decoder(coding, body)
	if reader == nil {
		maskBytes(body, []byte(secret))
		return body
	}
	decoded := peek.ReadSome(reader)
	if !maskBytes(decoded, []byte(secret)) {
		return body
	}
	h.Del("Content-Encoding")
	h.Set("Content-Length", strconv.Itoa(len(decoded)))
	return decoded
}

// MaskHeader blots a key out of the values.
func MaskHeader(h http.Header, secret string) {
	for _, values := range h {
		for i, v := range values {
			b := []byte(v)
			if maskBytes(b, []byte(secret)) {
				values[i] = string(b)
			}
		}
	}
}

// maskBytes overwrites the secret wherever it stands: whole, as it stands in a URL, or as
// providers shorten it (`sk-de***************mo-1`). It reports whether it did.
func maskBytes(text, secret []byte) bool {
	if len(secret) == 0 {
		return false
	}
	masked := maskWhole(text, secret)
	if escaped := url.QueryEscape(string(secret)); escaped != string(secret) {
		masked = maskWhole(text, []byte(escaped)) || masked
	}
	return maskShortened(text, secret) || masked
}

func maskWhole(text, secret []byte) (masked bool) {
	for at := 0; ; {
		i := bytes.Index(text[at:], secret)
		if i < 0 {
			return masked
		}
		at += i
		blot(text[at : at+len(secret)])
		at += len(secret)
		masked = true
	}
}

// maskShortened overwrites words that begin as the secret does and go on with a
// run of asterisks or dots.
func maskShortened(text, secret []byte) bool {
	const known = 3 // what every key of a provider begins with says nothing
	if len(secret) <= known {
		return false
	}
	masked := false
	for at := 0; ; {
		i := bytes.Index(text[at:], secret[:known])
		if i < 0 {
			return masked
		}
		at += i
		word := text[at : at+wordLength(text[at:])]
		inside := at > 0 && peek.IsAlphanumeric(text[at-1]) // as in "task-based..."
		if !inside && (bytes.Contains(word, []byte("***")) || bytes.Contains(word, []byte("..."))) {
			blot(word)
			masked = true
		}
		at += max(len(word), known)
	}
}

func wordLength(text []byte) int {
	if i := bytes.IndexAny(text, " \t\r\n\"'<>,;()"); i >= 0 {
		return i
	}
	return len(text)
}

func blot(b []byte) {
	for i := range b {
		b[i] = maskByte
	}
}

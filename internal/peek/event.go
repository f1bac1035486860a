package peek

import (
	"bytes"
	"net/http"
	"strings"
)

// First returns the first value of the header with this canonical name, "" if there
// is none: as Get does for names that are not known to be canonical.
func First(h http.Header, canonical string) string {
	if values := h[canonical]; len(values) > 0 {
		return values[0]
	}
	return ""
}

func IsEventStream(media string) bool { return strings.HasPrefix(media, "text/event-stream") }

// LooksLikeError tells whether a body's first bytes are the beginning of an error,
// or could be: bytes that say nothing yet are not held for it.
func LooksLikeError(stream bool, p []byte) bool {
	if !stream {
		for len(p) > 0 && isSpace(p[0]) {
			p = p[1:] // OpenRouter sends some, to keep the connection alive
		}
		return beginsAny(p, `{"error"`, `[{"error"`, `{"type":"error"`, "{\n  \"error\"", "[{\n  \"error\"")
	}
	first, rest, _ := bytes.Cut(p, []byte("\n"))
	if name, named := bytes.CutPrefix(first, []byte("event:")); named {
		name = bytes.TrimSpace(name)
		return string(name) == "error" || string(name) == "response.failed" || beginsAny(rest, `data: {"type":"error"`, `data: {"error"`)
	}
	return beginsAny(p, `data: {"error"`, `data:{"error"`, `data: {"type":"error"`, `data:{"type":"error"`)
}

func beginsAny(p []byte, prefixes ...string) bool {
	for _, prefix := range prefixes {
		if bytes.HasPrefix(p, []byte(prefix)) {
			return true
		}
	}
	return false
}

// FirstEvent returns the payload of a stream's first event, and whether the event
// is complete (https://html.spec.whatwg.org/multipage/server-sent-events.html).
func FirstEvent(stream []byte) (payload []byte, whole bool) {
	for len(stream) > 0 {
		var line []byte
		line, stream, whole = bytes.Cut(stream, []byte("\n"))
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) == 0 && whole {
			return payload, true
		}
		if data, ok := bytes.CutPrefix(line, []byte("data:")); ok {
			payload = append(payload, bytes.TrimPrefix(data, []byte(" "))...)
		}
	}
	return payload, false
}

package peek

import (
	"bytes"
	"iter"
	"net/http"
)

// First returns the first value of the header with this canonical name, "" if there
// is none: as Get does for names that are not known to be canonical.
func First(h http.Header, canonical string) string {
	if values := h[canonical]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// Said returns what an answer's body says, at most MaxRejection bytes: without its coding, and
// of a stream the first event.
func Said(h http.Header, body []byte) []byte {
	body = Decode(h.Get("Content-Encoding"), body)
	if IsEventStream(h.Get("Content-Type")) {
		if data, _ := FirstEvent(body); data != nil {
			return data
		}
	}
	return body
}

// Beginning is what a body begins with, as far as it has come.
type Beginning uint8

const (
	Undecided Beginning = iota // nothing yet, or a piece that may still be an error
	Healthy                    // something that is no error
	Suspect                    // something that says it is an error: whoever knows the provider may judge
)

// maxDocument is how much of a JSON document is looked at, in bytes: one that is an error
// says so within that, and what is larger is an answer.
const maxDocument = 4 << 10

// maxEnvelope is how long a document can be that tells of an error by having no "success".
const maxEnvelope = 1 << 10

// Begins tells what a success's body begins with: a stream by its first event that has
// data, whatever comments and other lines come before it; a JSON document by itself.
func Begins(stream bool, p []byte) Beginning {
	if !stream {
		return documentBegins(p)
	}
	for {
		e, rest, whole := nextEvent(p)
		switch {
		case whole && e.isError(), whole && mentionsError(e.data):
			return Suspect
		case whole && e.data != nil, !whole && !e.mayBeError():
			return Healthy
		case !whole:
			return Undecided
		}
		p = rest
	}
}

func documentBegins(p []byte) Beginning {
	p = trimDocument(p)
	switch {
	case len(p) == 0:
		return Undecided
	case p[0] != '{' && p[0] != '[':
		return Healthy
	case len(p) < maxDocument && !isWhole(p):
		return Undecided
	}
	if p = p[:min(len(p), maxDocument)]; mentionsError(p) || len(p) < maxEnvelope && bytes.Contains(p, []byte(`"success"`)) {
		return Suspect
	}
	return Healthy
}

// trimDocument takes off what may stand before a document: a byte order mark, and space,
// which OpenRouter sends to keep the connection alive.
func trimDocument(p []byte) []byte {
	p = bytes.TrimPrefix(p, []byte("\xef\xbb\xbf"))
	for len(p) > 0 && isSpace(p[0]) {
		p = p[1:]
	}
	return p
}

// isWhole tells whether a JSON object or array, which p begins with, ends within p.
func isWhole(p []byte) bool {
	document := jsonModel{state: jsonNested, depth: 1}
	document.skipNested(p[1:])
	return document.state == jsonComma
}

// mentionsError tells whether there is an "error", "Error" or "error_code" in the JSON text
// that is not null, as it is in every healthy response of OpenAI's, or a status of MiniMax's
// that is not 0.
func mentionsError(p []byte) bool {
	if bytes.Contains(p, []byte("base_resp")) && bytes.Contains(p, []byte(`"base_resp"`)) {
		return true
	}
	for {
		i := bytes.Index(p, partOfError)
		if i < 0 {
			return false
		}
		after := p[i+len(partOfError):]
		if i > 1 && p[i-1]|0x20 == 'e' && p[i-2] == '"' && namesError(after) {
			return true
		}
		p = after
	}
}

// namesError tells whether a text begins with the end of such a name, or value, and does
// not go on with null.
func namesError(text []byte) bool {
	after, ends := bytes.CutPrefix(bytes.TrimPrefix(text, []byte("_code")), []byte(`"`))
	if !ends {
		return false
	}
	value, isMember := bytes.CutPrefix(bytes.TrimLeft(after, " \t\r\n"), []byte(":"))
	return !isMember || !bytes.HasPrefix(bytes.TrimLeft(value, " \t\r\n"), []byte("null"))
}

// partOfError and partOfFailed are in "error" and in "response.failed", and begin with letters
// that are rare: in most texts they are looked for at the speed of bytes.IndexByte.
var partOfError, partOfFailed = []byte("rror"), []byte(".failed")

// event is an event of a stream, as far as it has come
// (https://html.spec.whatwg.org/multipage/server-sent-events.html).
type event struct {
	name string // what matters of it
	data []byte // nil: none yet
}

// isError tells whether the event says so by its name, and what of.
func (e *event) isError() bool { return e.name != "" && e.data != nil }

// mayBeError tells of an event whose end is missing that it can still turn out to be one.
func (e *event) mayBeError() bool {
	data := bytes.TrimLeft(e.data, " \t")
	return e.name != "" || len(data) == 0 || data[0] == '{' || data[0] == '['
}

// nextEvent reads what the stream begins with up to the next blank line, and tells whether
// that is there.
func nextEvent(stream []byte) (e event, rest []byte, whole bool) {
	for len(stream) > 0 {
		var line []byte
		line, stream, whole = cutLine(stream)
		if len(line) == 0 && whole {
			return e, stream, true
		}
		e.take(line, whole)
	}
	return e, nil, false
}

// take reads a line of the event.
func (e *event) take(line []byte, whole bool) {
	if data, ok := bytes.CutPrefix(line, []byte("data:")); ok {
		data = bytes.TrimPrefix(data, []byte(" "))
		if e.data == nil {
			e.data = data[:len(data):len(data)]
		} else {
			e.data = append(e.data, data...)
		}
	}
	if name, ok := bytes.CutPrefix(line, []byte("event:")); ok && whole {
		switch string(bytes.TrimSpace(name)) {
		case "error":
			e.name = "error"
		case "response.failed":
			e.name = "response.failed"
		}
	}
}

// cutLine cuts a line off, which ends with LF, CR or both.
func cutLine(p []byte) (line, rest []byte, whole bool) {
	i := bytes.IndexAny(p, "\r\n")
	if i < 0 {
		return p, nil, false
	}
	rest = p[i+1:]
	if p[i] == '\r' && len(rest) > 0 && rest[0] == '\n' {
		rest = rest[1:]
	}
	return p[:i], rest, true
}

// FirstEvent returns the data of a stream's first event that has any, and whether the
// event is complete. The data of one that is an error by its name alone says so as well.
func FirstEvent(stream []byte) (data []byte, whole bool) {
	for {
		e, rest, whole := nextEvent(stream)
		if e.data != nil || !whole {
			return e.said(), whole
		}
		stream = rest
	}
}

// said returns the event's data. Where an event is called an error, DashScope's has no
// "error" in what it says.
func (e *event) said() []byte {
	data := bytes.TrimLeft(e.data, " \t")
	if e.name != "error" || len(data) < 2 || data[0] != '{' || mentionsError(data) {
		return e.data
	}
	return append([]byte(`{"type":"error",`), data[1:]...)
}

// Watch looks for an error in what follows a stream's beginning. The zero value watches
// nothing.
type Watch struct {
	On       bool
	tail     []byte    // an event that has not come to its end
	inflater *Inflater // nil: the stream has no content coding
	said     []byte    // the errors in what the inflater has read of a piece
}

// Begin makes the watch ready for a stream in this content coding, "" for none. Stop it.
func (w *Watch) Begin(coding string) {
	w.On, w.tail = true, w.tail[:0]
	w.inflater = NewInflater(coding, w.inflated)
}

// Stop ends it. It may be called twice.
func (w *Watch) Stop() {
	if w.inflater != nil {
		w.inflater.Stop()
	}
	w.On, w.inflater, w.said = false, nil, nil
}

// Write looks at a piece of the stream, and returns the events that say they are errors,
// nil if there are none. It keeps nothing of p but an event that is not whole yet.
func (w *Watch) Write(p []byte) []byte {
	if w.inflater == nil {
		return w.look(p)
	}
	w.said = nil
	w.inflater.Write(p)
	return w.said
}

// inflated takes what the inflater has read.
func (w *Watch) inflated(p []byte) {
	w.said = append(w.said, w.look(p)...)
}

// look is Write for what has no content coding.
func (w *Watch) look(p []byte) []byte {
	seen := max(len(w.tail)-len("\r\n\r"), 0) // no event ends before
	if len(w.tail) > 0 {
		w.tail = append(w.tail, p...)
		p = w.tail
	}
	end := lastEvent(p, seen)
	found := suspectIn(p[:end])
	switch rest := p[end:]; {
	case len(rest) > MaxRejection: // nobody's error
		w.tail = w.tail[:0]
	default:
		w.tail = append(w.tail[:0], rest...)
	}
	return found
}

// lastEvent returns where the last whole event of p ends, 0 where none ends behind from.
func lastEvent(p []byte, from int) int {
	blanks := []string{"\n\n", "\r\n\r\n", "\r\r"}
	if bytes.IndexByte(p[from:], '\r') < 0 {
		blanks = blanks[:1] // who would look for the others would look at every byte
	}
	end := 0
	for _, blank := range blanks {
		if i := bytes.LastIndex(p[from:], []byte(blank)); i >= 0 {
			end = max(end, from+i+len(blank))
		}
	}
	return end
}

// suspectIn returns those of the events that say they are errors. A copy: what they stand in
// may be written over.
func suspectIn(events []byte) (found []byte) {
	if !bytes.Contains(events, partOfError) && !bytes.Contains(events, partOfFailed) {
		return nil
	}
	for len(events) > 0 {
		e, rest, _ := nextEvent(events)
		if e.isError() || e.data != nil && mentionsError(e.data) {
			found = append(found, events[:len(events)-len(rest)]...)
		}
		events = rest
	}
	return found
}

// Events returns what each whole event of a stream says, as FirstEvent has it.
func Events(stream []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for {
			e, rest, whole := nextEvent(stream)
			if !whole || e.data != nil && !yield(e.said()) {
				return
			}
			stream = rest
		}
	}
}

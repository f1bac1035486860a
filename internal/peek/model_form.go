package peek

import (
	"bytes"
	"strings"
)

const (
	// maxBoundary is the longest boundary, in bytes (RFC 2046 §5.1.1).
	maxBoundary = 70
	// maxFormHeader is the longest header of a part that is looked at, in bytes.
	// That of a field has some 50.
	maxFormHeader  = 512
	plainEncodings = "7bit 8bit binary" // of a part's data that stands for itself
)

// formModel finds the field "model" of a multipart/form-data body (RFC 7578). A
// file of that name is none. Of several fields the last counts, as for Starlette
// and FastAPI, which most servers with OpenAI's API are written with; Go's
// FormValue would take the first.
type formModel struct {
	state     formState
	delimiter string // CRLF, two dashes and the boundary
	newline   int    // where in the delimiter a newline begins: at 1 where that is LF
	matched   int    // bytes from there on that the data ends with

	preamble bool // no part has begun
	opening  bool // the part's data is at its beginning: its delimiter may lack the newline
	wanted   bool // the part is the field

	header  [maxFormHeader]byte // with its continuation lines
	length  int                 // of it; more than there is room when it is too long
	newLine bool                // at the beginning of a line of a header
	blank   bool                // nothing on this line so far
	bare    bool                // behind a CR
	placed  bool                // the part has a Content-Disposition
	encoded bool                // its data does not stand for itself

	name modelName
}

// formState is where in the body the next byte is.
type formState uint8

const (
	formData    formState = iota // in a part's data, or in the preamble
	formTail                     // behind a delimiter
	formReturn                   // behind a delimiter and CR
	formDash                     // behind a delimiter and a dash
	formHeaders                  // in a part's headers
	formDone                     // behind the last delimiter
)

// newFormModel returns nil when the Content-Type's parameters have no boundary.
func newFormModel(parameters string) *formModel {
	boundary := ""
	for rest := []byte(parameters); len(rest) > 0; {
		var name, value []byte
		name, value, rest = cutParameter(rest)
		if bytes.EqualFold(name, []byte("boundary")) {
			boundary = string(value)
		}
	}
	if boundary == "" || len(boundary) > maxBoundary || strings.ContainsAny(boundary, "\\\r\n") {
		return nil
	}
	// The body begins as if behind a newline. In the preamble LF is enough.
	return &formModel{delimiter: "\r\n--" + boundary, newline: 1, matched: 1, preamble: true}
}

// write takes the body's next piece.
func (f *formModel) write(p []byte) {
	m := f.name.marks()
	m.begin(p)
	for len(p) > 0 {
		was := f.state
		switch {
		case f.state == formDone:
			f.heed(p) // some go on behind the end
			return
		case f.state == formData && f.matched == 0:
			p = f.skipData(p)
		case f.state == formHeaders:
			f.headerByte(p[0])
			p = p[1:]
		case f.delimiterByte(p[0]):
			p = p[1:]
		default:
			// What looked like a delimiter is data, and may stand before one.
			f.state, f.matched, f.opening = formData, 0, false
		}
		if m != nil && f.state != was {
			f.mark(m, was, m.at(p))
		}
	}
}

// mark notes where a part's data begins and ends, if the part is the field.
func (f *formModel) mark(m *marks, was formState, at int64) {
	switch {
	case was == formHeaders && f.wanted:
		m.open(at)
	case f.state == formTail:
		m.end = at - int64(len(f.delimiter)-f.newline)
	case f.state == formHeaders, f.state == formDone:
		m.close(m.end)
	}
}

// skipData hops to what may be a delimiter. The byte it begins with is nowhere else
// in it: after a mismatch there is no need to look back.
func (f *formModel) skipData(p []byte) []byte {
	first, second := f.delimiter[f.newline], f.delimiter[f.newline+1]
	for next := 0; ; {
		i := bytes.IndexByte(p[next:], first)
		if i < 0 {
			f.add(p)
			return nil
		}
		next += i + 1
		if next == len(p) || p[next] == second {
			f.add(p[:next-1])
			f.matched = 1
			return p[next:]
		}
	}
}

// add takes a piece of a part's data. What stands before any part is nothing, but where a body is
// said to be a form, and is JSON.
func (f *formModel) add(p []byte) {
	switch {
	case f.wanted:
		f.name.add(p)
	case f.preamble && bytes.IndexByte(p, '{') >= 0:
		f.name.stray()
	}
	f.heed(p)
}

// heed looks for the boundary in data: some take it for a delimiter wherever it stands.
func (f *formModel) heed(p []byte) {
	if f.name.heeded() && f.name.more.meets(f.delimiter[len("\r\n"):], p) {
		f.name.stray()
	}
}

// delimiterByte takes a byte of a delimiter or of the rest of its line, and
// reports whether it is one.
func (f *formModel) delimiterByte(c byte) bool {
	switch {
	case f.state == formData:
		return f.match(c)
	case f.state == formTail && c == '-':
		f.state = formDash
	case f.state == formTail && c == '\r':
		f.state = formReturn
	case f.state == formTail && (c == ' ' || c == '\t'):
		// Padding that a transport has added (RFC 2046 §5.1.1).
	case f.state == formTail && c == '\n', f.state == formReturn && c == '\n':
		f.beginPart()
	case f.state == formDash && c == '-':
		f.endPart()
		f.state = formDone
	default:
		f.name.junk = true // a line of a name's
		f.name.stray()
		return false
	}
	return true
}

// match takes the delimiter's next byte.
func (f *formModel) match(c byte) bool {
	at := f.newline + f.matched
	if c != f.delimiter[at] {
		if f.opening {
			f.add([]byte(f.delimiter[len("\r\n"):at]))
		} else {
			f.add([]byte(f.delimiter[f.newline:at]))
		}
		return false
	}
	f.matched++
	if at+1 == len(f.delimiter) {
		f.state = formTail
	}
	return true
}

// beginPart takes the end of a delimiter's line.
func (f *formModel) beginPart() {
	if f.preamble && f.state == formReturn {
		f.newline = 0 // the lines of this body end as they should
	}
	f.endPart()
	f.state, f.preamble = formHeaders, false
	f.length, f.newLine, f.blank = 0, true, true
	f.bare, f.placed, f.encoded = false, false, false
}

func (f *formModel) endPart() {
	if f.wanted {
		f.name.end()
	}
	f.wanted = false
	if f.name.heeded() {
		f.name.more.tail = f.name.more.tail[:0]
	}
}

// headerByte takes a byte of a part's headers. A header is complete when the next
// line does not continue it.
func (f *formModel) headerByte(c byte) {
	if f.newLine && c != ' ' && c != '\t' {
		f.endHeader()
	}
	if f.bare && c != '\n' {
		f.name.stray() // a line ends here for some
	}
	f.newLine, f.bare = c == '\n', c == '\r'
	switch {
	case c == '\n' && f.blank:
		f.beginData()
		return
	case c == '\n':
		f.blank = true
	case c != '\r':
		f.blank = false
	}
	if f.length < len(f.header) {
		f.header[f.length] = c
	}
	f.length = min(f.length+1, len(f.header)+1)
}

// endHeader notes whether the header makes the part the field.
func (f *formModel) endHeader() {
	name, value, _ := bytes.Cut(f.header[:min(f.length, len(f.header))], []byte(":"))
	switch name = bytes.TrimSpace(name); {
	case bytes.EqualFold(name, []byte("Content-Disposition")):
		f.place(value, f.length <= len(f.header))
	case bytes.EqualFold(name, []byte("Content-Transfer-Encoding")):
		f.encoded = f.encoded || !strings.Contains(plainEncodings, strings.ToLower(string(bytes.TrimSpace(value))))
	}
	f.length = 0
}

// place takes the value of a Content-Disposition.
func (f *formModel) place(value []byte, whole bool) {
	heeded := f.name.heeded()
	f.wanted = whole && isModelField(value, heeded)
	if heeded && (f.placed || !whole || !f.wanted && mayBeModelField(value)) {
		f.name.stray()
	}
	f.placed = true
}

// beginData takes the blank line behind a part's headers.
func (f *formModel) beginData() {
	f.state, f.opening = formData, true
	f.matched = len("\r\n") - f.newline
	if f.wanted {
		// Whatever its value is, an earlier one does not count any more.
		f.name.start()
		if f.encoded {
			f.name.stray()
		}
	}
}

// isModelField tells whether the value of a Content-Disposition is that of a field
// named model, not of a file. RFC 7578 §4.2 forbids filename* and knows no name*. Some do not
// tell upper from lower case, or take a file without a name for none: loose.
func isModelField(disposition []byte, loose bool) bool {
	kind, rest, _ := bytes.Cut(disposition, []byte(";"))
	if !bytes.EqualFold(bytes.TrimSpace(kind), []byte("form-data")) {
		return false
	}
	field := false
	for len(rest) > 0 {
		var name, value []byte
		name, value, rest = cutParameter(rest)
		switch {
		case bytes.EqualFold(name, []byte("name")):
			field = string(value) == jsonMember || loose && bytes.EqualFold(value, []byte(jsonMember))
		case bytes.EqualFold(name, []byte("filename")), bytes.EqualFold(name, []byte("filename*")):
			if !loose || len(value) > 0 {
				return false
			}
		}
	}
	return field
}

// mayBeModelField tells whether the part may be the field for some all the same: it is a file or
// of another kind, its name is quoted otherwise, or in RFC 2231's coding.
func mayBeModelField(disposition []byte) bool {
	quotes := func(r rune) rune {
		if strings.ContainsRune(" \t\r\n\"'\\", r) {
			return -1
		}
		return r
	}
	plain := ";" + strings.ToLower(strings.Map(quotes, string(disposition))) + ";"
	return strings.Contains(plain, ";name*") || strings.Contains(plain, ";name="+jsonMember+";")
}

// cutParameter cuts the first of a header's parameters off. A quoted value comes
// without the quotes and with its backslashes: what is looked for needs none.
func cutParameter(s []byte) (name, value, rest []byte) {
	i := bytes.IndexAny(s, "=;")
	if i < 0 || s[i] == ';' {
		name, rest, _ = bytes.Cut(s, []byte(";"))
		return bytes.TrimSpace(name), nil, rest
	}
	name, s = bytes.TrimSpace(s[:i]), bytes.TrimSpace(s[i+1:])
	if len(s) > 0 && s[0] == '"' {
		if end := stringEnd(s[1:]); end > 0 {
			_, rest, _ = bytes.Cut(s[1+end:], []byte(";"))
			return name, s[1:end], rest
		}
	}
	value, rest, _ = bytes.Cut(s, []byte(";"))
	return name, bytes.TrimSpace(value), rest
}

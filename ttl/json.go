package ttl

import "bytes"

// maxDepth is how deep a body may nest. Real errors nest five levels; past the
// limit a body counts as broken.
const maxDepth = 32

// walker goes through a JSON text once and hands its strings and numbers to
// leaf. encoding/json is no help here: it returns nothing at all from a text
// that is cut off or slightly wrong, and bodies of rejections are both. The
// walker hands over what comes before the fault, takes raw line breaks in
// strings and commas too many, and allocates nothing but a long path.
type walker struct {
	rest []byte
	// path names the value at hand by the keys on the way to it, each after a
	// dot. Arrays leave no trace in it, so that an error wrapped in an array
	// has the same path as a bare one.
	path []byte
	leaf func(path, value []byte, quoted bool)
}

// value walks one value and tells whether it was whole.
func (w *walker) value(depth int) bool {
	w.space()
	switch {
	case len(w.rest) == 0 || depth > maxDepth:
		return false
	case w.rest[0] == '{':
		return w.object(depth)
	case w.rest[0] == '[':
		return w.array(depth)
	case w.rest[0] == '"':
		s, ok := w.quoted()
		if ok {
			w.leaf(w.path, s, true)
		}
		return ok
	default:
		return w.token()
	}
}

func (w *walker) object(depth int) bool {
	outer := len(w.path)
	for w.rest = w.rest[1:]; ; {
		if w.skip('}') {
			return true
		}
		key, ok := w.quoted()
		if !ok || !w.skip(':') {
			return false
		}
		w.path = append(append(w.path, '.'), bytes.TrimSpace(key)...) // " retryDelay" has been seen
		if !w.value(depth + 1) {
			return false
		}
		w.path = w.path[:outer]
		if !w.skip(',') {
			return w.skip('}')
		}
	}
}

func (w *walker) array(depth int) bool {
	for w.rest = w.rest[1:]; ; {
		if w.skip(']') {
			return true
		}
		if !w.value(depth + 1) {
			return false
		}
		if !w.skip(',') {
			return w.skip(']')
		}
	}
}

// quoted reads a string and returns what stands between the quotes, as it
// stands there.
func (w *walker) quoted() ([]byte, bool) {
	if len(w.rest) == 0 || w.rest[0] != '"' {
		return nil, false
	}
	for i := 1; i < len(w.rest); i++ {
		switch w.rest[i] {
		case '\\':
			i++
		case '"':
			s := w.rest[1:i]
			w.rest = w.rest[i+1:]
			return s, true
		}
	}
	return nil, false
}

// token reads a number, true, false or null. What looks at all like a number
// will do; at the end of the text it may be cut off and is none.
func (w *walker) token() bool {
	n := bytes.IndexAny(w.rest, ",:]}\" \t\r\n")
	if n < 0 {
		return false
	}
	switch t := w.rest[:n]; {
	case n > 0 && (isDigit(t[0]) || t[0] == '-'):
	case string(t) == "true", string(t) == "false", string(t) == "null":
	default:
		return false
	}
	w.leaf(w.path, w.rest[:n], false)
	w.rest = w.rest[n:]
	return true
}

// skip skips c and the space around it, if it comes next.
func (w *walker) skip(c byte) bool {
	w.space()
	if len(w.rest) == 0 || w.rest[0] != c {
		return false
	}
	w.rest = w.rest[1:]
	w.space()
	return true
}

func (w *walker) space() {
	w.rest = trimSpace(w.rest)
}

// trimSpace returns text without JSON's white space at its beginning. bytes.TrimLeft
// would make a set of these characters each time.
func trimSpace(text []byte) []byte {
	for len(text) > 0 && (text[0] == ' ' || text[0] == '\t' || text[0] == '\r' || text[0] == '\n') {
		text = text[1:]
	}
	return text
}
